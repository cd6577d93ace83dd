import Foundation
import Sweeps
import Testing

@testable import Evaluation
@testable import Reports

/// Sweeps whose cells were judged: dense obeys in all, methods the less the fewer pairs they keep.
@Suite struct AdherencePageTests {
  static let quick = Bootstrap(resamples: 200)

  private var results: SweepResults {
    var results = SyntheticSweep().results
    results.header.metrics.append(.init(name: CellMetrics.adherence, higherIsBetter: true))
    for index in results.cells.indices {
      let cell = results.cells[index], density = cell.densities.sparseCalls
      let colours = density == 1 ? 3 : density >= 0.5 ? 3 - Int(cell.seed % 2) : 1
      let adherence = Adherence(counts: [
        "colour": .init(right: colours, wanted: 3), "floor": .one(true), "both": .init(right: 0, wanted: 3),
      ])
      let thing = ExpectedScene.Thing(shape: "cube", colour: "red")
      results.cells[index].adherence = .init(
        judge: "j", expected: ExpectedScene(things: [thing, thing, thing], floor: "grey"),
        seen: Sighting(things: [], floor: "grey", background: "light"), counts: adherence.counts)
      results.cells[index].metrics[CellMetrics.adherence] = adherence.share
    }
    return results
  }

  @Test func denseStandsBesideMethods() throws {
    let html = try ReportPage(SweepAnalysis(results, bootstrap: Self.quick), pictures: PictureOptions(prompts: 0))
      .html()
    let page = PageChecks(html)
    page.expectSelfContained(html)
    #expect(page.text.contains("Obeying prompts") && page.text.contains("All metrics but adherence compare"))
    // A control need not obey everything to equal dense.
    #expect(page.text.contains("whose plans keep everything equal dense exactly"))
    let section = try #require(html.components(separatedBy: "<section id=\"adherence\">").last)
    let rows = section.components(separatedBy: "<tr>").map { PageChecks($0, isPage: false).text }
    func row(_ name: String) throws -> String { try #require(rows.first { $0.hasPrefix(name) }) }
    #expect(try row("Variant").contains("All of it mean over prompts Less dense&#39;s paired Colour right Floor right"))
    #expect(try row("dense") == "dense 1.000 [1.000, 1.000] - 100.0% 48 of 48 100.0% 16 of 16")
    #expect(try row("draft 0.50").contains("-0.125 [-0.125, -0.125] 83.3% 40 of 48 100.0% 16 of 16"))
    #expect(try row("radial 0.10").contains("-0.500 [-0.500, -0.500] 33.3% 16 of 48"))
    #expect(!section.contains("Both"))
  }

  @Test func countsAreInTables() throws {
    let lines = ReportTables(results).csv().components(separatedBy: "\r\n")
    #expect(lines[0].contains(",adherence,adherence_colour_right,adherence_colour_wanted,adherence_floor_right,"))
    #expect(lines[1].contains(",1,3,3,1,1,"))
    let table = SummaryTable(SweepAnalysis(results, bootstrap: Self.quick), metrics: ["adherence"])
    #expect(table.rows.count == 17 && table.rows[16][0] == "dense" && table.rows[16][3] == "1.000 [1.000, 1.000]")
    #expect(!ReportTables(SyntheticSweep().results).csv().contains("adherence"))
  }
}
