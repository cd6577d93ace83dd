import Evaluation
import Sweeps

/// Variants that may be compared at equal cost: one setting, and one density asked for, or densities that lie close.
struct DensityBand: Sendable, Hashable {
  /// Asked for, or else the mean of those measured over calls that a plan made sparse.
  var density: Double
  var isTarget: Bool
  var setting: Setting
  /// Indices of methods and baselines among the summaries.
  var members: [Int]

  /// Densities within this ratio count as equal where none was asked for.
  static let tolerance = 1.15

  var label: String { NumberText.fixed(density, 2) }

  /// Bands by setting, then from the highest density to the lowest. A variant that was not solved for a density joins
  /// the nearest one that others were solved for, if it is near; the rest are cut into bands of close densities.
  static func bands(_ variants: [VariantSummary]) -> [DensityBand] {
    let measured = variants.indices.filter { [.method, .baseline].contains(variants[$0].variant.role) }
    let settings = measured.map { Setting(variants[$0].variant) }
    var order: [Setting] = []
    for setting in settings where !order.contains(setting) { order.append(setting) }
    return order.flatMap { setting in
      bands(variants, zip(measured, settings).filter { $0.1 == setting }.map(\.0), setting)
    }
  }

  private static func bands(_ variants: [VariantSummary], _ indices: [Int], _ setting: Setting) -> [DensityBand] {
    let targets = Set(indices.compactMap { variants[$0].variant.targetDensity }).sorted(by: >)
    var result = targets.map { DensityBand(density: $0, isTarget: true, setting: setting, members: []) }
    var rest: [Int] = []
    for index in indices {
      let variant = variants[index]
      func distance(_ target: Double) -> Double {
        target > 0 && variant.sparseDensity > 0
          ? max(target / variant.sparseDensity, variant.sparseDensity / target) : .infinity
      }
      let place = variant.variant.targetDensity.flatMap { targets.firstIndex(of: $0) }
      let nearest = targets.indices.min { distance(targets[$0]) < distance(targets[$1]) }
      if let place {
        result[place].members.append(index)
      } else if let nearest, distance(targets[nearest]) <= tolerance {
        result[nearest].members.append(index)
      } else {
        rest.append(index)
      }
    }
    rest.sort { variants[$0].sparseDensity > variants[$1].sparseDensity }
    while let first = rest.first {
      let close = rest.filter { variants[first].sparseDensity <= variants[$0].sparseDensity * tolerance }
      let density = close.map { variants[$0].sparseDensity }.mean
      result.append(
        DensityBand(density: density, isTarget: false, setting: setting, members: close.isEmpty ? [first] : close))
      rest.removeAll { close.contains($0) || $0 == first }
    }
    return result.sorted { $0.density > $1.density }
  }
}

/// Which variant of a band is best by a metric, and how sure that is.
struct Verdict: Sendable, Hashable {
  struct Rival: Sendable, Hashable {
    /// The best variant of another family, among the summaries.
    var variant: Int
    /// The best variant against it.
    var comparison: PairedComparison
    /// Whether both equal the reference everywhere.
    var isEqual: Bool
  }

  var metric: SweepResults.Header.Metric
  /// The best method, among the summaries.
  var best: Int
  /// Methods of other families, the best first.
  var rivals: [Rival]
  /// The random baseline of the band, where there is one.
  var baseline: Rival?
  /// Where there is one: every family's best variant against it, the best first.
  var chance: [Chance] = []

  /// A method against blocks kept at random.
  struct Chance: Sendable, Hashable {
    /// Among the summaries.
    var variant: Int
    /// The method against the baseline.
    var comparison: PairedComparison
  }

  /// - Parameter cells: of each summary.
  init?(
    _ band: DensityBand, _ metric: SweepResults.Header.Metric, _ variants: [VariantSummary], cells: [[CellResult]],
    bootstrap: Bootstrap
  ) {
    func value(_ index: Int) -> Double? { variants[index].metric(metric.name)?.mean.estimate }
    let ranked = band.members.filter { value($0) != nil }.sorted { a, b in
      metric.direction.isBetter(value(a) ?? .nan, than: value(b) ?? .nan)
    }
    guard let best = ranked.first(where: { variants[$0].variant.role == .method }) else { return nil }
    func rival(_ index: Int) -> Rival {
      Rival(
        variant: index,
        comparison: PairedComparison(cells[best], cells[index], metric: metric, bootstrap: bootstrap),
        isEqual: value(best) == value(index) && value(best)?.isFinite == false)
    }
    var families: Set<String> = [variants[best].variant.family], others: [Int] = []
    for index in ranked where variants[index].variant.role == .method {
      if families.insert(variants[index].variant.family).inserted { others.append(index) }
    }
    (self.metric, self.best) = (metric, best)
    rivals = others.map(rival)
    let random = ranked.first { variants[$0].variant.role == .baseline }
    baseline = random.map(rival)
    chance =
      random.map { random in
        ([best] + others).map { index in
          Chance(
            variant: index,
            comparison: PairedComparison(cells[index], cells[random], metric: metric, bootstrap: bootstrap))
        }
      } ?? []
  }

  /// Methods that blocks kept at random are significantly better than.
  var beatenByChance: [Int] {
    chance.filter { $0.comparison.outcome == .significant && !Findings.beats($0.comparison, metric) }.map(\.variant)
  }

  /// Rivals that the best is not shown to be better than.
  var level: [Rival] { rivals.filter { $0.comparison.outcome != .significant } }
}
