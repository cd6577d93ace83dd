import Evaluation
import Foundation
import Media
import Sweeps
import Testing

@testable import Reports

@Suite struct ReportPageTests {
  static let quick = Bootstrap(resamples: 200)

  private func temporary() -> URL {
    FileManager.default.temporaryDirectory.appendingPathComponent("tessera-report-\(UInt64.random(in: 0 ... .max))")
  }

  @Test func aSweepOfPicturesIsOnePage() throws {
    let folder = temporary()
    defer { try? FileManager.default.removeItem(at: folder) }
    var sweep = SyntheticSweep()
    (sweep.side, sweep.prompts) = (16, Array(sweep.prompts.prefix(6)))
    let html = try ReportPage(sweep.written(to: folder), bootstrap: Self.quick).html()
    let page = PageChecks(html)
    page.expectSelfContained(html)
    // Four prompts: dense, and four variants of four families with their differences.
    #expect(page.values("src").count == 4 * (1 + 2 * 16))
    #expect(page.text.contains("draft has the best mean of 3 methods at all 4 densities"))
    #expect(page.text.contains("whose plans keep everything equal dense exactly"))
    #expect(page.text.contains("--attention radial:keep=0.2"))
    #expect(page.elements.count { $0 == "section" } == 7)
  }

  @Test func aSweepOfClipsHasSlidersAndCurves() throws {
    let folder = temporary()
    defer { try? FileManager.default.removeItem(at: folder) }
    var sweep = SyntheticSweep()
    (sweep.side, sweep.frames, sweep.prompts, sweep.densities) = (16, 5, ["a", "b"], [0.3])
    let results = try sweep.written(to: folder)
    let page = PageChecks(try ReportPage(results, bootstrap: Self.quick).html())
    #expect(page.problems == [])
    #expect(page.values("data-frame-labels") == ["0 1 2 3 4", "0 1 2 3 4"])
    #expect(page.text.contains("PSNR along clips at density 0.30"))
    // Five frames below each other in one picture.
    let uri = try #require(page.values("src").first)
    let bytes = try #require(Data(base64Encoded: String(uri.dropFirst("data:image/png;base64,".count))))
    let film = try PNGFile.decode(Array(bytes)).frame
    #expect(film.width == 16 && film.height == 80)
    let last = try PNGFile.decode(
      Array(Data(contentsOf: folder.appendingPathComponent(results.cells[0].folder + "/4.png")))
    ).frame
    #expect(Array(film.pixels.suffix(last.pixels.count)) == last.pixels)
  }

  @Test func plansWithTwoNamesAreNamed() throws {
    var results = SyntheticSweep().results
    #expect(try !ReportPage(results, bootstrap: Self.quick).html().contains("one plan under two names"))
    let radial = results.cells.filter { $0.variant.family == "radial" && $0.variant.targetDensity == 0.2 }
    for index in results.cells.indices
    where results.cells[index].variant.family == "sliding-tile" && results.cells[index].variant.targetDensity == 0.2 {
      let cell = results.cells[index]
      results.cells[index].metrics = try #require(radial.first { $0.prompt == cell.prompt && $0.seed == cell.seed })
        .metrics
    }
    let page = PageChecks(try ReportPage(results, bootstrap: Self.quick).html())
    #expect(page.text.contains("one plan under two names: sliding-tile 0.20 and radial 0.20."))
  }

  @Test func hostileTextStaysText() throws {
    var sweep = SyntheticSweep()
    let hostile = "</script><script>alert(1)</script> \"quotes\" & 'more' <b onload=x> 日本語 \u{202e}rtl \u{0}\r\n$(rm)"
    sweep.prompts = [hostile]
    sweep.families = [.init(name: "dra<ft>\"&'", offset: 1), .init(name: "radial", offset: 0)]
    var results = sweep.results
    results.header.pipeline = "pipelines/<img src=x>"
    results.header.metrics.append(.init(name: "<i>metric</i>", higherIsBetter: false))
    for index in results.cells.indices { results.cells[index].metrics["<i>metric</i>"] = 0.5 }
    let html = try ReportPage(results, bootstrap: Self.quick).html()
    let page = PageChecks(html)
    page.expectSelfContained(html)
    #expect(page.elements.count { $0 == "script" } == 1 && !page.elements.contains("b") || !html.contains("<b onload"))
    #expect(!html.contains("<script>alert") && !html.contains("<img src=x") && !html.contains("<i>"))
    #expect(page.text.contains("&lt;/script&gt;&lt;script&gt;alert(1)") && page.text.contains("日本語"))
    #expect(!html.contains("\u{0}"))
    let other = try ComparisonPage(results, results, bootstrap: Self.quick).html()
    PageChecks(other).expectSelfContained(other)
    for file in SweepPlots(SweepAnalysis(results, bootstrap: Self.quick)).files() {
      #expect(PageChecks(try file.plot.svg(), isPage: false).problems == [])
      #expect(file.name.allSatisfy { $0.isLetter || $0.isNumber || $0 == "-" })
    }
  }

  @Test func infiniteAndMissingValuesAreSaidAsSuch() throws {
    var sweep = SyntheticSweep()
    (sweep.hasRecall, sweep.hasTargets, sweep.hasControl) = (false, false, false)
    var results = sweep.results
    for index in results.cells.indices where results.cells[index].variant.family == "draft" {
      results.cells[index].metrics["psnr"] = .infinity
    }
    for index in results.cells.indices where results.cells[index].variant.family == "radial" {
      if index % 3 == 0 { results.cells[index].metrics["psnr"] = .infinity }
      results.cells[index].metrics["flip"] = nil
      results.cells[index].metrics["ssim"] = .nan
    }
    let html = try ReportPage(results, bootstrap: Self.quick).html()
    let page = PageChecks(html)
    page.expectSelfContained(html)
    #expect(page.text.contains("inf") && page.text.contains("inf left out"))
    #expect(page.text.contains("Recall was not measured") && page.text.contains("no control cells"))
  }

  @Test func onePromptClaimsNothing() throws {
    var sweep = SyntheticSweep()
    sweep.prompts = ["a red sphere"]
    let page = PageChecks(try ReportPage(sweep.results, bootstrap: Self.quick).html())
    #expect(page.text.contains("1 prompt is too few to tell it from radial"))
    #expect(page.text.contains("too few prompts to tell"))
    #expect(!page.text.contains("ahead of all"))
    let unpaired = SweepAnalysis(sweep.results, bootstrap: Self.quick).variants.flatMap(\.metrics)
    #expect(unpaired.allSatisfy { !$0.hasInterval })
  }

  @Test func timesOfOtherProcessesAreNotPaired() throws {
    var sweep = SyntheticSweep()
    sweep.process = { prompt, role in "\(prompt)-\(role)" }
    let results = sweep.results
    let page = PageChecks(try ReportPage(results, bootstrap: Self.quick).html())
    #expect(page.text.contains("Not paired: no cell ran in one process") && page.text.contains("not paired"))
    #expect(SweepAnalysis(results, bootstrap: Self.quick).variants.allSatisfy { $0.stepSpeedup == nil })
  }

  @Test func picturesThatAreMissingAreNamed() throws {
    let page = PageChecks(try ReportPage(SyntheticSweep().results, bootstrap: Self.quick).html())
    #expect(page.values("src").isEmpty)
    #expect(
      page.text.contains("Pictures of 4 cells could not be read and are left out, the first: cells/p0-s1/dense-1.0."))
  }

  @Test func manyPicturesAreMadeSmall() throws {
    let folder = temporary()
    defer { try? FileManager.default.removeItem(at: folder) }
    var sweep = SyntheticSweep()
    (sweep.side, sweep.frames, sweep.prompts, sweep.seeds) = (200, 3, ["a", "b"], [1])
    sweep.densities = [0.5, 0.2]
    let analysis = SweepAnalysis(try sweep.written(to: folder), bootstrap: Self.quick)
    func films(_ book: PictureBook) -> [PictureBook.Film] {
      book.exhibits.flatMap { $0.groups.flatMap { $0 } }.flatMap { [$0.film, $0.difference].compactMap { $0 } }
    }
    func size(_ book: PictureBook) -> Int { films(book).reduce(0) { $0 + $1.uri.utf8.count } }
    let whole = try PictureBook(analysis, PictureOptions())
    #expect(whole.notes.isEmpty && films(whole).count == 2 * (1 + 2 * 8) && films(whole)[0].frames == 3)
    for share in [2, 10, 40] {
      let book = try PictureBook(analysis, PictureOptions(bytes: size(whole) / share))
      #expect(!films(book).isEmpty && size(book) <= size(whole) / share)
      #expect(book.notes.first?.hasPrefix("To keep this page small it shows") == true)
    }
  }

  @Test func anEmptySweepIsAPageAsWell() throws {
    var results = SyntheticSweep().results
    results.cells = []
    let html = try ReportPage(results, bootstrap: Self.quick).html()
    PageChecks(html).expectSelfContained(html)
    #expect(html.contains("No method has been measured yet."))
  }

  @Test func brokenControlsAreAnAlert() throws {
    var results = SyntheticSweep().results
    let index = try #require(results.cells.firstIndex { $0.variant.role == .control })
    results.cells[index].metrics["psnr"] = 60
    let page = PageChecks(try ReportPage(results, bootstrap: Self.quick).html())
    #expect(page.text.contains("Control failed: 1 of 16 cells") && page.text.contains(results.cells[index].folder))
  }

  /// For looking at: writes pages and plots where the environment says.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["TESSERA_REPORT_SAMPLES"] != nil))
  func samples() throws {
    let path = try #require(ProcessInfo.processInfo.environment["TESSERA_REPORT_SAMPLES"])
    let folder = URL(fileURLWithPath: path)
    var sweep = SyntheticSweep()
    sweep.families += [
      .init(name: "sliding-tile, calibrated", offset: 0.8), .init(name: "paro", offset: 2.0),
      .init(name: "svg2", offset: -0.5),
      .init(name: "sparge", offset: 1.2), .init(name: "xattention", offset: -1.5),
    ]
    sweep.prompts = (0..<16).map {
      "a \(["red", "blue", "green", "yellow"][$0 % 4]) \(["cube", "sphere"][$0 % 2]) on a table, number \($0)"
    }
    (sweep.frames, sweep.layers, sweep.steps) = (5, 12, 16)
    sweep.metrics.insert(.init(name: "ms-ssim", higherIsBetter: true), at: 2)
    sweep.metrics.append(.init(name: "latents-l2", higherIsBetter: false))
    let results = try sweep.written(to: folder)
    let analysis = SweepAnalysis(results)
    try Data(ReportPage(analysis).html().utf8).write(to: folder.appendingPathComponent("report.html"))
    for file in SweepPlots(analysis).files() where file.name.contains("psnr") {
      try Data(file.plot.svg().utf8).write(to: folder.appendingPathComponent(file.name + ".svg"))
      try Data(file.plot.png()).write(to: folder.appendingPathComponent(file.name + ".png"))
    }
    try Data(SummaryTable(analysis).text.utf8).write(to: folder.appendingPathComponent("summary.txt"))
    var other = sweep
    other.families = sweep.families.map {
      .init(name: $0.name, offset: $0.offset + ($0.name == "radial" ? 0.7 : -0.02), role: $0.role)
    }
    try Data(ComparisonPage(results, other.results).html().utf8).write(
      to: folder.appendingPathComponent("compare.html"))
  }
}
