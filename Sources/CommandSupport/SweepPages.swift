import DiffusionPipelines
import Foundation
import Reports
import Sweeps

/// What is written beside a sweep's cells: tables, the report, and its plots.
struct SweepPages {
  let folder: SweepFolder
  let environment: CommandEnvironment

  /// Writes `results.csv`, `results.jsonl`, `report.html` and `plots/`.
  /// - Returns: the summary for people, and the report's path.
  func write() throws -> (summary: String, report: String) {
    let results = try folder.results(), analysis = SweepAnalysis(results), tables = ReportTables(results)
    try write(tables.csv(), "results.csv")
    try write(tables.jsonLines(), "results.jsonl")
    for (name, plot) in SweepPlots(analysis).files() {
      try write(plot.svg(), "plots/\(name).svg")
      try environment.writeFile(plot.png(), path("plots/\(name).png"))
    }
    try write(ReportPage(analysis).html(), "report.html")
    return (SummaryTable(analysis).text, path("report.html"))
  }

  private func path(_ name: String) -> String { folder.url.appendingPathComponent(name).relativePath }

  private func write(_ text: String, _ name: String) throws {
    try environment.writeFile(Array(text.utf8), path(name))
  }
}
