import Evaluation
import Sweeps

/// What a sweep found, in plain words made from its numbers.
struct Findings: Sendable {
  let analysis: SweepAnalysis
  private let metric: SweepResults.Header.Metric?
  /// Of the first metric, with their bands.
  private let verdicts: [(band: DensityBand, verdict: Verdict)]

  init(_ analysis: SweepAnalysis) {
    self.analysis = analysis
    metric = analysis.metrics.first
    verdicts = zip(analysis.bands, analysis.verdicts).compactMap { band, verdicts in
      verdicts.first { $0.metric == analysis.metrics.first }.map { (band, $0) }
    }
  }

  /// One paragraph: who wins at each density by the first metric, how surely, against chance, and what it gains.
  var paragraph: String {
    guard let metric, !verdicts.isEmpty else { return "No method has been measured yet." }
    return ([overall(metric)] + verdicts.prefix(8).map { sentence($0.band, $0.verdict) } + [chance, missed, speed])
      .filter { !$0.isEmpty }.joined(separator: " ")
  }

  // MARK: Sentences

  private func overall(_ metric: SweepResults.Header.Metric) -> String {
    let winners = verdicts.map { family($0.verdict.best) }.uniqued()
    let methods = Set(
      analysis.measured.map { analysis.variants[$0].variant }.filter { $0.role == .method }.map(\.family))
    let judged =
      "By \(metric.title) against dense attention from the same noise, over "
      + NumberText.count(analysis.prompts.count, "prompt") + " and " + NumberText.count(analysis.seeds.count, "seed")
    guard methods.count > 1 else { return "\(judged), one method was measured: \(NumberText.list(winners))." }
    let sure = verdicts.count { !$0.verdict.rivals.isEmpty && $0.verdict.level.isEmpty }
    let extent = verdicts.count == 1 ? "at the one density measured" : "at all \(verdicts.count) densities"
    if winners.count == 1 {
      let surely =
        verdicts.count == 1
        ? (sure == 1 ? ", significantly" : ", but not significantly")
        : sure == verdicts.count
          ? ", each time significantly" : sure == 0 ? ", never significantly" : ", significantly at \(sure) of them"
      return "\(judged), \(winners[0]) has the best mean of \(methods.count) methods \(extent)\(surely)."
    }
    let parts = winners.map { winner in
      let places = verdicts.filter { family($0.verdict.best) == winner }.map { label($0.band) }
      return "\(winner) at \(NumberText.list(places))"
    }
    return "\(judged), no one of \(methods.count) methods is best at every density: the best mean has "
      + NumberText.list(parts) + "."
  }

  private func sentence(_ band: DensityBand, _ verdict: Verdict) -> String {
    let metric = verdict.metric
    guard let value = analysis.variants[verdict.best].metric(metric.name) else { return "" }
    let estimate = NumberText.fixed(value.mean.estimate, metric.decimals) + (metric.unit.map { " " + $0 } ?? "")
    let interval = value.hasInterval ? " " + NumberText.interval(value.mean, metric.decimals) : ""
    let start = "At density \(label(band)) \(family(verdict.best)) reaches \(estimate)\(interval)"
    guard let rival = verdict.level.first ?? verdict.rivals.first else { return start + ", alone there." }
    let name = family(rival.variant)
    guard !rival.isEqual else { return start + ", as does \(name): both equal dense." }
    let gap = rival.comparison.difference.map { Self.advantage($0, metric) } ?? ""
    return switch rival.comparison.outcome {
    case .significant: start + ", significantly better than \(name), the next (by \(gap))" + more(verdict, rival) + "."
    case .notSignificant: start + ", not significantly better than \(name) (by \(gap))" + more(verdict, rival) + "."
    case .tooFewPrompts:
      start + "; \(NumberText.count(rival.comparison.prompts, "prompt")) "
        + "\(rival.comparison.prompts == 1 ? "is" : "are") too few to tell it from \(name) (by \(gap))."
    case .nothingShared: start + "; it shares no finite value with \(name)."
    }
  }

  /// What the best keeps more than a rival.
  func more(_ verdict: Verdict, _ rival: Verdict.Rival) -> String {
    let own = analysis.variants[verdict.best].runDensity, other = analysis.variants[rival.variant].runDensity
    guard other > 0, own / other > 1.1 else { return "" }
    return ", but it also kept \(NumberText.fixed(own / other, 2)) times as many pairs"
  }

  /// The best method against blocks kept at random, and methods that do worse than those.
  private var chance: String {
    let compared = verdicts.compactMap { item in item.verdict.baseline.map { (item.band, $0) } }
    guard !compared.isEmpty else { return "" }
    let open = compared.filter { !Self.beats($0.1.comparison, metric) }
    var sentences: [String] = []
    if open.isEmpty {
      let extent = compared.count == 1 ? "that density" : "every density"
      sentences.append("Blocks kept at random are significantly worse than the best method at \(extent).")
    } else {
      sentences.append(
        open.allSatisfy { $0.1.comparison.outcome == .tooFewPrompts }
          ? "Too few prompts to tell the best method from blocks kept at random."
          : "At density \(NumberText.list(open.map { label($0.0) })) the best method is not shown to be better than "
            + "blocks kept at random.")
    }
    let beaten = verdicts.filter { !$0.verdict.beatenByChance.isEmpty }.map { band, verdict in
      "\(NumberText.list(verdict.beatenByChance.map(family))) at density \(label(band))"
    }
    if !beaten.isEmpty {
      sentences.append("Blocks kept at random are significantly better than \(beaten.joined(separator: "; ")).")
    }
    return sentences.joined(separator: " ")
  }

  /// Variants that could not be solved for the density asked for.
  private var missed: String {
    let names = analysis.measured.map { analysis.variants[$0] }.filter(\.missesTarget).map {
      "\($0.name) ran at \(NumberText.fixed($0.sparseDensity, 3))"
    }
    return names.isEmpty ? "" : "Not at the density asked for: \(NumberText.list(names)); compare those with care."
  }

  /// What the best methods gain, density by density.
  private var speed: String {
    let timed = verdicts.compactMap { band, verdict -> (place: String, text: String)? in
      let summary = analysis.variants[verdict.best]
      guard let attention = summary.attentionSpeedup, let step = summary.stepSpeedup else { return nil }
      return (
        "\(label(band)) (\(family(verdict.best)))",
        "\(NumberText.fixed(attention.median, 2)) and \(NumberText.fixed(step.median, 2))"
      )
    }
    guard !timed.isEmpty else {
      return "No speed-up is given where no cell ran in one process with its dense reference."
    }
    return "Attention of the best, planning included, and a whole step run so many times as fast as dense (medians): "
      + timed.map { "\($0.text) at \($0.place)" }.joined(separator: ", ") + "."
  }

  /// How well dense obeys prompts, and which methods obey significantly less; `nil` where nothing was judged.
  var obedience: String? {
    guard let metric = analysis.metrics.first(where: { $0.name == CellMetrics.adherence }),
      let dense = analysis.variants.first(where: { $0.variant.role == .dense })?.metric(metric.name)
    else { return nil }
    let start =
      "Dense itself fulfils \(NumberText.percent(dense.mean.estimate, 1)) of what prompts promise, as a detector "
      + "trained on renders sees it"
    let less = analysis.measured.filter { index in
      let cells = analysis.cells[index], comparison = analysis.againstDense(cells, metric)
      return comparison.outcome == .significant && !Self.beats(comparison, metric)
    }
    guard !less.isEmpty else { return start + "; no variant is shown to fulfil less." }
    let families = less.map { analysis.variants[$0].variant.family }.uniqued().map { family in
      let places = less.filter { analysis.variants[$0].variant.family == family }
        .map { NumberText.fixed(analysis.variants[$0].density, 2) }.uniqued()
      return "\(family) at \(NumberText.list(places))"
    }
    return start + "; significantly less do \(families.joined(separator: "; "))."
  }

  // MARK: Words

  private func family(_ index: Int) -> String { analysis.variants[index].variant.family }

  func label(_ band: DensityBand) -> String {
    let setting = band.setting.label(among: analysis.settings)
    return setting.isEmpty ? band.label : "\(band.label) (\(setting))"
  }

  /// By how much a setting is better, whatever the metric's direction, with its interval.
  static func advantage(_ difference: PairedDifference, _ metric: SweepResults.Header.Metric) -> String {
    let mean = difference.mean, sign = metric.higherIsBetter ? 1.0 : -1.0, digits = metric.decimals
    let ends = [mean.lower * sign, mean.upper * sign].sorted()
    let unit = metric.unit == "dB" ? " dB" : ""
    return NumberText.fixed(mean.estimate * sign, digits) + unit
      + " [\(NumberText.fixed(ends[0], digits)), \(NumberText.fixed(ends[1], digits))]"
  }

  /// Whether a comparison shows the setting to be better.
  static func beats(_ comparison: PairedComparison, _ metric: SweepResults.Header.Metric?) -> Bool {
    guard comparison.outcome == .significant, let difference = comparison.difference, let metric else { return false }
    return metric.direction.isBetter(difference.mean.estimate, than: 0)
  }
}
