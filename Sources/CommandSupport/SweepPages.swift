import DiffusionPipelines
import Foundation
import Reports
import Sweeps
import Synchronization

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
    let plots = SweepPlots(analysis).files()
    for ((name, plot), png) in zip(plots, Self.pictures(of: plots.map(\.plot))) {
      try write(plot.svg(), "plots/\(name).svg")
      try environment.writeFile(png.get(), path("plots/\(name).png"))
    }
    try write(ReportPage(analysis).html(), "report.html")
    return (SummaryTable(analysis).text, path("report.html"))
  }

  /// Plots as PNG files, drawn on all cores: most of the time goes into packing them.
  private static func pictures(of plots: [any Plot]) -> [Result<[UInt8], any Error>] {
    let drawn = Mutex<[Int: Result<[UInt8], any Error>]>([:])
    DispatchQueue.concurrentPerform(iterations: plots.count) { index in
      let picture = Result { try plots[index].png() }
      drawn.withLock { $0[index] = picture }
    }
    return drawn.withLock { drawn in plots.indices.compactMap { drawn[$0] } }
  }

  private func path(_ name: String) -> String { folder.url.appendingPathComponent(name).relativePath }

  private func write(_ text: String, _ name: String) throws {
    try environment.writeFile(Array(text.utf8), path(name))
  }
}
