import Evaluation
import Sweeps

/// A sweep's cells by variant, with everything that pages, tables and plots say of them. Made once: the bootstrap takes
/// a while.
public struct SweepAnalysis: Sendable {
  public let results: SweepResults
  /// References, controls, methods, baselines; within them by family as they come, and from high density to low.
  public let variants: [VariantSummary]
  /// Of each variant, in the order of the results.
  let cells: [[CellResult]]
  /// Of methods and baselines, as they come: their places are their colours and markers.
  let families: [String]
  /// Settings of methods and baselines.
  let settings: [Setting]
  let bands: [DensityBand]
  /// For each band, one for each metric that has one, in the header's order.
  let verdicts: [[Verdict]]
  let pairing: Pairing
  let bootstrap: Bootstrap

  public init(_ results: SweepResults, bootstrap: Bootstrap = Bootstrap()) {
    self.results = results
    self.bootstrap = bootstrap
    let pairing = Pairing(results.cells)
    self.pairing = pairing
    let groups = Self.groups(results.cells)
    let cells = groups.map(\.cells)
    settings = groups.map(\.variant).filter { [.method, .baseline].contains($0.role) }.map(Setting.init)
    let names = Self.names(groups.map(\.variant), cells)
    let variants = zip(groups, names).map { group, name in
      VariantSummary(group.variant, name: name, group.cells, results.header, pairing, bootstrap)
    }
    // A control says how exact the machinery is, not how good a method: it has no family of its own.
    families = variants.filter { [.method, .baseline].contains($0.variant.role) }.map(\.variant.family).uniqued()
    bands = DensityBand.bands(variants)
    verdicts = bands.map { band in
      results.header.metrics.compactMap { metric in
        Verdict(band, metric, variants, cells: cells, bootstrap: bootstrap)
      }
    }
    self.cells = cells
    self.variants = variants
  }

  /// Variants with their cells, in the order they are shown.
  private static func groups(_ cells: [CellResult]) -> [(variant: Variant, cells: [CellResult])] {
    let groups = Dictionary(grouping: cells, by: \.variant), order = cells.map(\.variant).uniqued()
    let families = order.map(\.family).uniqued(), roles: [Variant.Role] = [.dense, .control, .method, .baseline]
    func key(_ place: Int) -> [Double] {
      let variant = order[place], cells = groups[variant] ?? []
      let density = variant.targetDensity ?? cells.map(\.densities.sparseCalls).mean
      return [
        Double(roles.firstIndex(of: variant.role) ?? 0), Double(families.firstIndex(of: variant.family) ?? 0),
        -density, Double(place),
      ]
    }
    let keyed = order.indices.map { (place: $0, key: key($0)) }
    return keyed.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map {
      (order[$0.place], groups[order[$0.place]] ?? [])
    }
  }

  /// Family and density; then what differs between settings; then, where two are still called the same, the options.
  /// Dense and controls are told from their like only: dense steps mean nothing to them.
  private static func names(_ variants: [Variant], _ cells: [[CellResult]]) -> [String] {
    func kind(_ variant: Variant) -> Int { variant.role == .dense ? 0 : variant.role == .control ? 1 : 2 }
    let settings = Dictionary(grouping: variants, by: kind).mapValues { $0.map(Setting.init) }
    var names = zip(variants, cells).map { variant, cells in
      let density = variant.targetDensity ?? cells.map(\.densities.sparseCalls).mean
      let label = Setting(variant).label(among: settings[kind(variant)] ?? [])
      let base =
        [.dense, .control].contains(variant.role) ? variant.family : "\(variant.family) \(NumberText.fixed(density, 2))"
      return label.isEmpty ? base : "\(base), \(label)"
    }
    for name in Set(names) where names.count(where: { $0 == name }) > 1 {
      for index in names.indices where names[index] == name { names[index] += ", \(variants[index].attention)" }
    }
    return names
  }

  // MARK: What others ask

  var metrics: [SweepResults.Header.Metric] { results.header.metrics }
  var isClip: Bool { results.cells.contains { $0.frames > 1 } }
  var measured: [Int] { variants.indices.filter { [.method, .baseline].contains(variants[$0].variant.role) } }
  var prompts: [String] { results.cells.map(\.prompt).uniqued() }
  var seeds: [UInt64] { Set(results.cells.map(\.seed)).sorted() }

  /// Cells against the dense references of the same prompts and seeds.
  func againstDense(_ cells: [CellResult], _ metric: SweepResults.Header.Metric) -> PairedComparison {
    PairedComparison(cells, cells.compactMap(pairing.reference), metric: metric, bootstrap: bootstrap)
  }

  /// Cells of controls, and those among them that do not equal their reference by every metric.
  var controls: (all: [CellResult], broken: [CellResult]) {
    let all = results.cells.filter { $0.variant.role == .control }
    let broken = all.filter { cell in
      cell.metrics.isEmpty
        || metrics.contains { metric in
          metric.comparesWithReference && cell.metrics[metric.name].map { !metric.isPerfect($0) } ?? false
        }
    }
    return (all, broken)
  }
}

extension VariantSummary {
  fileprivate init(
    _ variant: Variant, name: String, _ cells: [CellResult], _ header: SweepResults.Header, _ pairing: Pairing,
    _ bootstrap: Bootstrap
  ) {
    self.variant = variant
    self.name = name
    let byPrompt = Dictionary(grouping: cells, by: \.prompt).sorted { $0.key < $1.key }.map(\.value)
    (self.cells, prompts, seeds) = (cells.count, byPrompt.count, Set(cells.map(\.seed)).count)
    (sparseDensity, runDensity) = (cells.map(\.densities.sparseCalls).mean, cells.map(\.densities.run).mean)
    metrics = header.metrics.compactMap { metric in
      let values = byPrompt.map { $0.compactMap { $0.metrics[metric.name] }.filter { !$0.isNaN } }
      return Metric(metric.name, byPrompt: values, bootstrap: bootstrap)
    }
    let attention = cells.compactMap { pairing.speedup($0, \.attentionAndPlanSeconds) }
    let step = cells.compactMap { pairing.speedup($0, \.secondsPerStep) }
    attentionSpeedup = attention.isEmpty ? nil : Spread(attention)
    stepSpeedup = step.isEmpty ? nil : Spread(step)
    let shares = cells.compactMap(\.cost.planningShare)
    planningShare = shares.isEmpty ? nil : shares.median
    let kept = cells.compactMap { cell in
      pairing.reference(of: cell).map { cell.cost.denoiseFLOPs / $0.cost.denoiseFLOPs }
    }.filter(\.isFinite)
    keptFLOPs = kept.isEmpty ? nil : kept.mean
    peakMemoryBytes = cells.compactMap(\.cost.peakMemoryBytes).min()
    func meanOfAll(_ mean: (CellResult) -> Double?) -> Double? {
      let means = cells.compactMap(mean)
      return means.isEmpty ? nil : means.mean
    }
    recall = meanOfAll(\.sparseRecall)
    attentionError = meanOfAll(\.sparseError)
  }
}

extension CellResult {
  /// Share of the softmax mass kept, and relative L2 of attention's output, over the steps and layers that a plan made
  /// sparse; over all where none was.
  var sparseRecall: Double? { recall.flatMap { sparseMean($0.recallByStepAndLayer) } }
  var sparseError: Double? { recall.flatMap { sparseMean($0.errorByStepAndLayer) } }

  private func sparseMean(_ matrix: [[Double]]) -> Double? {
    let values = zip(matrix, densities.byStepAndLayer).flatMap { row, densities in
      zip(row, densities).filter { $0.1 < 1 }.map(\.0)
    }.filter(\.isFinite)
    let used = values.isEmpty ? matrix.joined().filter(\.isFinite) : values
    return used.isEmpty ? nil : used.mean
  }
}

extension Array where Element: Hashable {
  /// Without repetitions, in order of first appearance.
  func uniqued() -> [Element] {
    var seen: Set<Element> = []
    return filter { seen.insert($0).inserted }
  }
}
