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
    return ([overall(metric)] + verdicts.prefix(8).map { sentence($0.band, $0.verdict) } + [speed, chance])
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

  private var chance: String {
    let compared = verdicts.compactMap { item in item.verdict.baseline.map { (item.band, $0) } }
    guard !compared.isEmpty else { return "" }
    let open = compared.filter { !Self.beats($0.1.comparison, metric) }
    guard !open.isEmpty else {
      let extent = compared.count == 1 ? "that density" : "every density"
      return "Blocks kept at random are significantly worse than the best method at \(extent)."
    }
    let few = open.allSatisfy { $0.1.comparison.outcome == .tooFewPrompts }
    let places = NumberText.list(open.map { label($0.0) })
    return few
      ? "Too few prompts to tell the best method from blocks kept at random."
      : "At density \(places) the best method is not shown to be better than blocks kept at random."
  }

  private var speed: String {
    guard let last = verdicts.last else { return "" }
    let summary = analysis.variants[last.verdict.best]
    guard let attention = summary.attentionSpeedup, let step = summary.stepSpeedup else {
      return "No speed-up is given where no cell ran in one process with its dense reference."
    }
    return "There, at density \(label(last.band)), attention of \(family(last.verdict.best)) runs "
      + "\(NumberText.fixed(attention.median, 2)) times as fast as dense, planning included, and a whole step "
      + "\(NumberText.fixed(step.median, 2)) times (medians)."
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
