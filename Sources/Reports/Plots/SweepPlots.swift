import Evaluation
import Sweeps

/// The plots of a sweep, for its page and as files.
public struct SweepPlots: Sendable {
  /// What quality is set against.
  public enum Cost: String, Sendable, CaseIterable {
    case density, attention, step

    var name: String {
      switch self {
      case .density: "Density of the run"
      case .attention: "Speed-up of attention"
      case .step: "Speed-up of a step"
      }
    }

    /// Of the axis.
    var axisName: String {
      self == .density ? "share of query-key pairs kept in the run" : "\(name.lowercased()), times dense"
    }
    var direction: MetricDirection { self == .density ? .lower : .higher }

    func value(_ summary: VariantSummary) -> (estimate: Double, range: ClosedRange<Double>?)? {
      func of(_ spread: Spread?) -> (Double, ClosedRange<Double>?)? {
        spread.map { ($0.median, $0.count > 1 ? $0.lowerQuartile...$0.upperQuartile : nil) }
      }
      return switch self {
      case .density: summary.runDensity.isFinite ? (summary.runDensity, nil) : nil
      case .attention: of(summary.attentionSpeedup)
      case .step: of(summary.stepSpeedup)
      }
    }
  }

  public let analysis: SweepAnalysis
  /// Families of methods; baselines are grey.
  let colored: [String]

  public init(_ analysis: SweepAnalysis) { self.init(analysis, after: []) }

  /// - Parameter families: that have the first colours, whether the sweep has them or not.
  init(_ analysis: SweepAnalysis, after families: [String]) {
    self.analysis = analysis
    let own = analysis.families.filter { family in
      analysis.variants.contains { $0.variant.family == family && $0.variant.role == .method }
    }
    colored = (families + own).uniqued()
  }

  // MARK: Colours and markers

  /// Of a family, or of one setting of it.
  func entry(_ variant: Variant, named name: String? = nil) -> LegendEntry {
    let settings = analysis.settings.uniqued(), setting = Setting(variant), label = setting.label(among: settings)
    let place = colored.firstIndex(of: variant.family)
    let shapes = MarkerShape.allCases, turn = (place ?? 0) / Ink.familyCount
    var entry = LegendEntry(
      name: name ?? (label.isEmpty ? variant.family : "\(variant.family), \(label)"),
      ink: place.map { .family($0) } ?? .baseline, marker: shapes[((place ?? 0) + 3 * turn) % shapes.count])
    entry.isHollow = place == nil
    let dashes: [[Double]] = [[], [6, 3], [2, 3], [8, 3, 2, 3], [12, 4]]
    let used = settings.filter { setting in
      analysis.variants.contains { $0.variant.role == .method && Setting($0.variant) == setting }
    }
    entry.dashes = dashes[(used.firstIndex(of: setting) ?? 0) % dashes.count]
    return entry
  }

  /// Families and settings of methods and baselines, as plots name them.
  var legend: [LegendEntry] { lines.map(\.entry) }

  /// Variants that are joined by a line, from high density to low.
  private var lines: [(entry: LegendEntry, members: [Int])] {
    let entries = analysis.measured.map { entry(analysis.variants[$0].variant) }
    return entries.uniqued().map { entry in
      (entry, zip(analysis.measured, entries).filter { $0.1 == entry }.map(\.0))
    }
  }

  // MARK: Plots

  /// Quality by a metric against a cost.
  public func pareto(_ metric: SweepResults.Header.Metric, against cost: Cost) -> ParetoPlot {
    Self.pareto(metric, against: cost, series(metric, cost))
  }

  static func pareto(
    _ metric: SweepResults.Header.Metric, against cost: Cost, _ series: [ParetoPlot.Series]
  ) -> ParetoPlot {
    ParetoPlot(
      title: "\(metric.title) against \(cost.name.lowercased())",
      x: .init(name: cost.axisName, direction: cost.direction, includes: cost == .density ? [] : [1]),
      y: .init(
        name: "\(metric.titleWithUnit) (\(metric.higherIsBetter ? "higher" : "lower") is better)",
        direction: metric.direction), series: series)
  }

  /// A series a line; variants that lack the value are left out.
  func series(_ metric: SweepResults.Header.Metric, _ cost: Cost) -> [ParetoPlot.Series] {
    lines.map { entry, members in
      ParetoPlot.Series(
        entry: entry,
        points: members.compactMap { point(analysis.variants[$0], metric, cost) }.sorted { $0.x < $1.x })
    }
  }

  private func point(
    _ summary: VariantSummary, _ metric: SweepResults.Header.Metric, _ cost: Cost
  ) -> ParetoPlot.Point? {
    guard let value = summary.metric(metric.name), let x = cost.value(summary) else { return nil }
    let range = value.hasInterval ? value.mean.lower...value.mean.upper : nil
    return ParetoPlot.Point(
      x: x.estimate, y: value.mean.estimate, xRange: x.range, yRange: range,
      title: Self.title(summary, metric, value))
  }

  private static func title(
    _ summary: VariantSummary, _ metric: SweepResults.Header.Metric, _ value: VariantSummary.Metric
  ) -> String {
    func speed(_ name: String, _ spread: Spread?) -> String {
      let quartiles = NumberText.quartiles(spread, 3).map { " quartiles " + $0 } ?? ""
      return "\(name): " + (spread.map { NumberText.fixed($0.median, 3) + "x" + quartiles } ?? "not paired")
    }
    let interval = value.hasInterval ? " " + NumberText.interval(value.mean, metric.decimals + 1) : ""
    return [
      summary.name, "\(metric.title): \(NumberText.fixed(value.mean.estimate, metric.decimals + 1))\(interval)",
      "density: \(NumberText.fixed(summary.sparseDensity, 4)) of sparse calls, "
        + "\(NumberText.fixed(summary.runDensity, 4)) of the run",
      speed("attention", summary.attentionSpeedup), speed("step", summary.stepSpeedup),
      "\(NumberText.count(summary.cells, "cell")) of \(NumberText.count(summary.prompts, "prompt"))",
    ].joined(separator: "\n")
  }

  /// A metric along the clips, one plot a band with the mean over cells of each variant; empty where no cell has a
  /// curve of it.
  public func curves(_ metric: SweepResults.Header.Metric) -> [CurvePlot] {
    let bands = analysis.bands.map { band in
      (
        band,
        band.members.compactMap { index -> CurvePlot.Series? in
          let variant = analysis.variants[index]
          return meanCurve(metric.name, analysis.cells[index]).map {
            CurvePlot.Series(entry: entry(variant.variant, named: variant.name), values: $0)
          }
        }
      )
    }
    let all = bands.flatMap { $0.1.flatMap(\.values) }.filter(\.isFinite)
    return bands.filter { !$0.1.isEmpty }.map { band, series in
      let setting = band.setting.label(among: analysis.settings)
      return CurvePlot(
        title: "\(metric.title) along clips at density \(band.label)" + (setting.isEmpty ? "" : ", \(setting)"),
        xName: "frame", yName: metric.titleWithUnit, series: series,
        alsoReaches: [all.min(), all.max()].compactMap { $0 })
    }
  }

  /// Over the cells whose curves are as long as the first's, of finite values; NaN where there is none.
  private func meanCurve(_ name: String, _ cells: [CellResult]) -> [Double]? {
    let curves = cells.compactMap { $0.curves[name] }.filter { !$0.isEmpty }
    guard let length = curves.first?.count else { return nil }
    let equal = curves.filter { $0.count == length }
    return (0..<length).map { index in equal.map { $0[index] }.filter(\.isFinite).mean }
  }

  // MARK: Heat maps

  /// What a heat map shows.
  enum Map: CaseIterable {
    case density, recall, error, recallByHead

    var name: String {
      switch self {
      case .density: "density"
      case .recall: "recall of softmax mass"
      case .error: "relative L2 of the output"
      case .recallByHead: "recall by head"
      }
    }

    /// `[layer][step]`, or `[layer][head]`.
    func matrix(_ cell: CellResult) -> [[Double]]? {
      switch self {
      case .density: cell.densities.byStepAndLayer.transposed
      case .recall: cell.recall?.recallByStepAndLayer.transposed
      case .error: cell.recall?.errorByStepAndLayer.transposed
      case .recallByHead: cell.recall?.recallByLayerAndHead
      }
    }
  }

  /// Means over cells, by variant, of what its cells have. Colours compare over all variants: densities go from 0 to 1,
  /// recall from the least to 1, errors from 0 to the most.
  func heatMaps() -> [Int: [(map: Map, plot: HeatMapPlot)]] {
    var result: [Int: [(map: Map, plot: HeatMapPlot)]] = [:]
    for map in Map.allCases {
      let means = analysis.measured.compactMap { index in mean(map, index).map { (index, $0) } }
      let finite = means.flatMap { $0.1.joined().filter(\.isFinite) }
      let isRecall = map == .recall || map == .recallByHead
      let range = (isRecall ? min(finite.min() ?? 0, 0.99) : 0)...(map == .error ? max(finite.max() ?? 1, 1e-6) : 1)
      for (index, values) in means {
        let plot = HeatMapPlot(
          title: "\(map.name) of \(analysis.variants[index].name)", values: values, range: range, rowName: "layer",
          columnName: map == .recallByHead ? "head" : "step")
        result[index, default: []].append((map, plot))
      }
    }
    return result
  }

  private func mean(_ map: Map, _ index: Int) -> [[Double]]? {
    let matrices = analysis.cells[index].compactMap(map.matrix)
    guard let first = matrices.first, let columns = first.first?.count, columns > 0,
      first.allSatisfy({ $0.count == columns })
    else { return nil }
    let equal = matrices.filter { $0.count == first.count && $0.allSatisfy { $0.count == columns } }
    return first.indices.map { row in
      (0..<columns).map { column in equal.map { $0[row][column] }.filter(\.isFinite).mean }
    }
  }

  // MARK: Files

  /// What goes beside a report, by the file's name without its ending: a Pareto plot for each metric and cost that has
  /// points, and curves along clips.
  public func files() -> [(name: String, plot: any Plot)] {
    var result: [(String, any Plot)] = []
    for metric in analysis.metrics {
      for cost in Cost.allCases {
        let plot = pareto(metric, against: cost)
        if !plot.isEmpty { result.append(("pareto-\(Self.fileName(metric.name))-\(cost.rawValue)", plot)) }
      }
    }
    for metric in analysis.metrics {
      for (index, plot) in curves(metric).enumerated() {
        result.append(("curve-\(Self.fileName(metric.name))-\(index + 1)", plot))
      }
    }
    return result
  }

  private static func fileName(_ text: String) -> String {
    String(text.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" })
  }
}

extension [[Double]] {
  /// Rows for columns; `nil` where rows differ in length or there is nothing.
  fileprivate var transposed: [[Double]]? {
    guard let first, !first.isEmpty, allSatisfy({ $0.count == first.count }) else { return nil }
    return first.indices.map { column in map { $0[column] } }
  }
}
