import Evaluation
import Sweeps

/// Two sweeps, variant by variant: of one family, density and arithmetic.
public struct SweepComparison: Sendable {
  /// A variant that both sweeps ran.
  struct Row: Sendable {
    /// Among the summaries of each sweep.
    var a: Int, b: Int
    /// The second less the first, for each metric that both measured, over the prompts and seeds that both ran.
    var differences: [(metric: SweepResults.Header.Metric, comparison: PairedComparison)]
  }

  let a: SweepAnalysis, b: SweepAnalysis
  /// In the order of the first sweep.
  let rows: [Row]
  /// Metrics of the first sweep that the second has too.
  let metrics: [SweepResults.Header.Metric]
  /// Names of variants that only one sweep has, or that fit several of the other's.
  let onlyA: [String], onlyB: [String]

  private struct Key: Hashable {
    var family: String, density: Double?, dtype: String
    /// Tells variants without a density asked for apart.
    var attention: String?

    init(_ variant: Variant) {
      (family, density, dtype) = (variant.family, variant.targetDensity, variant.dtype)
      attention = variant.targetDensity == nil ? variant.attention : nil
    }
  }

  public init(_ a: SweepAnalysis, _ b: SweepAnalysis) {
    (self.a, self.b) = (a, b)
    let metrics = a.metrics.filter { b.metrics.contains($0) }
    self.metrics = metrics
    let candidates = Dictionary(grouping: b.measured) { Key(b.variants[$0].variant) }
    let own = Dictionary(grouping: a.measured) { Key(a.variants[$0].variant) }
    func partner(_ index: Int) -> Int? {
      let variant = a.variants[index].variant, key = Key(variant), found = candidates[key] ?? []
      if found.count == 1, own[key]?.count == 1 { return found[0] }
      // Several differ in more than the key: those that are the same in all are partners.
      return found.first { Setting(b.variants[$0].variant) == Setting(variant) && b.variants[$0].variant == variant }
    }
    let pairs = a.measured.compactMap { index in partner(index).map { (index, $0) } }
    rows = pairs.map { first, second in
      Row(
        a: first, b: second,
        differences: metrics.map { metric in
          (metric, PairedComparison(b.cells[second], a.cells[first], metric: metric, bootstrap: a.bootstrap))
        })
    }
    onlyA = a.measured.filter { index in !pairs.contains { $0.0 == index } }.map { a.variants[$0].name }
    onlyB = b.measured.filter { index in !pairs.contains { $0.1 == index } }.map { b.variants[$0].name }
  }

  /// Rows where the second sweep is better, worse, and neither, by a metric.
  func verdict(_ metric: SweepResults.Header.Metric) -> (better: [Int], worse: [Int], open: [Int]) {
    var result: (better: [Int], worse: [Int], open: [Int]) = ([], [], [])
    for index in rows.indices {
      guard let item = rows[index].differences.first(where: { $0.metric == metric }) else { continue }
      if item.comparison.outcome != .significant {
        result.open.append(index)
      } else if Findings.beats(item.comparison, metric) {
        result.better.append(index)
      } else {
        result.worse.append(index)
      }
    }
    return result
  }
}
