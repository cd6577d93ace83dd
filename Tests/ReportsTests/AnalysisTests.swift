import Evaluation
import Foundation
import Sweeps
import Testing

@testable import Reports

@Suite struct AnalysisTests {
  static let quick = Bootstrap(resamples: 500)

  private func variant(_ analysis: SweepAnalysis, _ name: String) throws -> VariantSummary {
    try #require(analysis.variants.first { $0.name == name })
  }

  @Test func summariesAreMeansOverPrompts() throws {
    let results = SyntheticSweep().results, analysis = SweepAnalysis(results, bootstrap: Self.quick)
    let draft = try variant(analysis, "draft 0.30"), cells = results.cells.filter { $0.variant == draft.variant }
    #expect(draft.cells == 16 && draft.prompts == 8 && draft.seeds == 2)
    let psnr = try #require(draft.metric("psnr")), expected = cells.compactMap { $0.metrics["psnr"] }.mean
    #expect(abs(psnr.mean.estimate - expected) < 1e-12)
    #expect(psnr.mean.lower < expected && psnr.mean.upper > expected && psnr.hasInterval)
    #expect(abs(draft.runDensity - (0.25 + 0.75 * 0.3)) < 1e-12)
    #expect(try variant(analysis, "control").metric("psnr")?.mean.estimate == .infinity)
    #expect(analysis.variants.map(\.variant.role).first == .dense)
  }

  @Test func speedupsArePairedWithinAProcess() throws {
    var sweep = SyntheticSweep()
    var results = sweep.results
    let index = try #require(results.cells.firstIndex { $0.variant.family == "draft" })
    let cell = results.cells[index]
    let dense = try #require(
      results.cells.first { $0.variant.role == .dense && $0.prompt == cell.prompt && $0.seed == cell.seed })
    let pairing = Pairing(results.cells)
    let expected = dense.cost.attentionSeconds / (cell.cost.attentionSeconds + cell.cost.planSeconds)
    #expect(pairing.speedup(cell, \.attentionAndPlanSeconds) == expected)
    // Every step counts, the first one too.
    let steps = dense.cost.stepSeconds.reduce(0, +) / cell.cost.stepSeconds.reduce(0, +)
    #expect(abs(try #require(pairing.speedup(cell, \.secondsPerStep)) - steps) < 1e-12)
    results.cells[index].cost.process = "elsewhere"
    #expect(Pairing(results.cells).speedup(results.cells[index], \.attentionAndPlanSeconds) == nil)
    #expect(pairing.speedup(dense, \.secondsPerStep) == nil)
    // Of all cells of the variant one is no longer paired.
    let summary = try variant(SweepAnalysis(results, bootstrap: Self.quick), "draft 0.50")
    #expect(summary.attentionSpeedup?.count == 15 && summary.cells == 16)
    // Another arithmetic has another reference.
    sweep.prompts = ["one"]
    results = sweep.results
    for index in results.cells.indices where results.cells[index].variant.role == .dense {
      results.cells[index].variant.dtype = "bfloat16"
    }
    #expect(
      SweepAnalysis(results, bootstrap: Self.quick).variants.allSatisfy {
        $0.keptFLOPs == nil || $0.variant.role == .dense
      })
  }

  @Test func memoryIsTheLeastBound() throws {
    let results = SyntheticSweep().results
    let draft = try variant(SweepAnalysis(results, bootstrap: Self.quick), "draft 0.50")
    let cells = results.cells.filter { $0.variant == draft.variant }
    #expect(draft.peakMemoryBytes == cells.compactMap(\.cost.peakMemoryBytes).min())
  }

  @Test func bandsHoldWhatMayBeCompared() throws {
    var sweep = SyntheticSweep()
    let asked = SweepAnalysis(sweep.results, bootstrap: Self.quick)
    #expect(asked.bands.map(\.density) == [0.5, 0.3, 0.2, 0.1] && asked.bands.allSatisfy { $0.members.count == 4 })
    sweep.hasTargets = false
    let measured = SweepAnalysis(sweep.results, bootstrap: Self.quick)
    #expect(measured.bands.map(\.label) == ["0.50", "0.30", "0.20", "0.10"])
    #expect(measured.bands.allSatisfy { !$0.isTarget && $0.members.count == 4 })
    // One that was not asked for a density joins a near one, or has its own.
    sweep.hasTargets = true
    var results = sweep.results
    for index in results.cells.indices where results.cells[index].variant.family == "radial" {
      results.cells[index].variant.targetDensity = nil
      results.cells[index].densities.sparseCalls *= results.cells[index].densities.sparseCalls == 0.1 ? 0.5 : 1.1
    }
    let mixed = SweepAnalysis(results, bootstrap: Self.quick).bands
    #expect(mixed.map(\.members.count) == [4, 4, 4, 3, 1] && mixed.last?.label == "0.05")
    // Other arithmetic is not mixed in.
    for index in results.cells.indices where results.cells[index].variant.family == "draft" {
      results.cells[index].variant.dtype = "bfloat16"
    }
    let split = SweepAnalysis(results, bootstrap: Self.quick)
    #expect(Set(split.bands.map(\.setting.dtype)) == ["float32", "bfloat16"])
    #expect(split.variants.contains { $0.name == "draft 0.30, bfloat16" })
  }

  @Test func verdictsSayWhoWinsAndHowSurely() throws {
    let analysis = SweepAnalysis(SyntheticSweep().results, bootstrap: Self.quick)
    let psnr = try #require(analysis.verdicts.first?.first { $0.metric.name == "psnr" })
    #expect(analysis.variants[psnr.best].name == "draft 0.50")
    // Radial is 0.3 dB behind on average, sliding tile 2.2, with a spread of 0.3 dB over cells.
    let outcomes = Dictionary(
      uniqueKeysWithValues: psnr.rivals.map { (analysis.variants[$0.variant].variant.family, $0.comparison) })
    #expect(outcomes["sliding-tile"]?.outcome == .significant)
    #expect(try #require(outcomes["sliding-tile"]?.difference).mean.estimate > 1.5)
    #expect(psnr.baseline?.comparison.outcome == .significant && outcomes["random"] == nil)
    // By a metric whose lower values are better it is the same one.
    let flip = try #require(analysis.verdicts.first?.first { $0.metric.name == "flip" })
    #expect(analysis.variants[flip.best].variant.family == "draft")
    #expect(Findings.beats(try #require(flip.baseline).comparison, flip.metric))
  }

  @Test func findingsNameWhatChanceBeatsAndWhatMissedItsDensity() throws {
    var sweep = SyntheticSweep()
    sweep.families[0].offset = 1
    var results = sweep.results
    for index in results.cells.indices
    where results.cells[index].variant.family == "radial" && results.cells[index].variant.targetDensity == 0.1 {
      results.cells[index].densities.sparseCalls = 0.049
    }
    let analysis = SweepAnalysis(results, bootstrap: Self.quick), findings = Findings(analysis).paragraph
    #expect(findings.contains("Blocks kept at random are significantly better than sliding-tile at density 0.50;"))
    #expect(findings.contains("Not at the density asked for: radial 0.10 ran at 0.049;"))
    #expect(findings.contains("at 0.50 (draft)") && findings.contains("at 0.10 (draft)"))
    let psnr = try #require(analysis.verdicts[0].first)
    #expect(
      psnr.chance.count == 3 && psnr.beatenByChance.map { analysis.variants[$0].variant.family } == ["sliding-tile"])
    let plain = Findings(SweepAnalysis(SyntheticSweep().results, bootstrap: Self.quick)).paragraph
    #expect(!plain.contains("significantly better than sliding-tile at") && !plain.contains("Not at the density"))
  }

  @Test func recallIsOfSparseCalls() throws {
    let results = SyntheticSweep().results, analysis = SweepAnalysis(results, bootstrap: Self.quick)
    let draft = try variant(analysis, "draft 0.30"),
      cell = try #require(results.cells.first { $0.variant == draft.variant })
    let recall = try #require(cell.recall).recallByStepAndLayer
    // Two of eight steps are dense, and would count as 1.
    #expect(abs(try #require(cell.sparseRecall) - Array(recall[2...].joined()).mean) < 1e-12)
    #expect(try #require(draft.recall) < recall.joined().mean)
  }

  @Test func denseStepsTellOnlyMethodsApart() {
    var results = SyntheticSweep().results
    for index in results.cells.indices where results.cells[index].variant.role == .method {
      results.cells[index].variant.denseSteps = 5
    }
    for index in results.cells.indices where results.cells[index].variant.role == .baseline {
      results.cells[index].variant.denseSteps = 5
    }
    let names = SweepAnalysis(results, bootstrap: Self.quick).variants.map(\.name)
    #expect(names.contains("draft 0.30") && names.contains("dense") && names.contains("control"))
  }

  @Test(arguments: [(5, PairedComparison.Outcome.tooFewPrompts), (6, .significant)])
  func significanceNeedsPrompts(_ prompts: Int, _ expected: PairedComparison.Outcome) {
    var sweep = SyntheticSweep()
    sweep.prompts = Array(sweep.prompts.prefix(prompts))
    let cells = Dictionary(grouping: sweep.results.cells, by: \.variant.family)
    let comparison = PairedComparison(
      cells["draft"] ?? [], cells["random"] ?? [], metric: sweep.metrics[0], bootstrap: Self.quick)
    #expect(comparison.outcome == expected && comparison.prompts == prompts)
  }

  @Test func infinitePairsAreLeftOutAndCounted() {
    let results = SyntheticSweep().results
    var a = results.cells.filter { $0.variant.family == "draft" && $0.densities.sparseCalls == 0.5 }
    let b = results.cells.filter { $0.variant.family == "radial" && $0.densities.sparseCalls == 0.5 }
    a[0].metrics["psnr"] = .infinity
    let some = PairedComparison(a, b, metric: results.header.metrics[0], bootstrap: Self.quick)
    #expect(some.pairs == 15 && some.infinitePairs == 1 && some.prompts == 8)
    for index in a.indices { a[index].metrics["psnr"] = .infinity }
    let none = PairedComparison(a, b, metric: results.header.metrics[0], bootstrap: Self.quick)
    #expect(none.outcome == .nothingShared && none.infinitePairs == 16)
  }

  @Test func comparisonsMatchVariants() throws {
    let first = SyntheticSweep()
    var second = first
    second.families.removeLast()
    second.families[1].offset += 1
    second.families.append(.init(name: "paro", offset: 1))
    let comparison = SweepComparison(
      SweepAnalysis(first.results, bootstrap: Self.quick), SweepAnalysis(second.results, bootstrap: Self.quick))
    #expect(comparison.rows.count == 12 && comparison.onlyA.count == 4 && comparison.onlyB.count == 4)
    let (better, worse, open) = comparison.verdict(first.metrics[0])
    #expect(better.count == 4 && worse.isEmpty && open.count == 8)
    let draft = comparison.rows[better[0]].differences[0].comparison
    #expect(abs(try #require(draft.difference).mean.estimate - 1) < 1e-9)
    let html = try ComparisonPage(first.results, second.results, names: ("a", "b"), bootstrap: Self.quick).html()
    let page = PageChecks(html)
    page.expectSelfContained(html)
    #expect(page.text.contains("B is significantly better in 4, significantly worse in 0"))
    #expect(page.text.contains("Only in B, or without a single partner: paro 0.50"))
  }

  @Test(arguments: [
    (1.005, 2, "1.00"), (-0.004, 2, "0.00"), (Double.infinity, 2, "inf"), (-.infinity, 1, "-inf"), (.nan, 3, "-"),
    (12.3456, 3, "12.346"), (0, 0, "0"), (-2.5, 1, "-2.5"), (1e300, 1, "1e+300"),
  ])
  func numbersAreReadable(_ value: Double, _ decimals: Int, _ expected: String) {
    #expect(NumberText.fixed(value, decimals) == expected)
  }
}
