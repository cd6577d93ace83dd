import Kernels
import Tensors

/// What one head of one self-attention call lost to its plan, on sampled queries.
public struct AttentionQuality: Sendable, Hashable, Codable {
  public var step: Int, branch: Int, layer: Int, head: Int
  /// Whether a plan dropped anything.
  public var isSparse: Bool
  /// Share of the softmax mass of dense attention that lies on keys the plan keeps, 0...1: mean over the sampled
  /// queries, and the least of them.
  public var recall: Double, minimumRecall: Double
  /// `|output - dense| / |dense|` in L2 over the sampled queries and all channels.
  public var relativeL2: Double
}

/// Measures what a planned engine loses against dense attention, on a few queries of each call, and leaves its result as
/// it is.
///
/// Queries are sampled one from each of as many equal stretches of the tokens, at a place that depends on the seed
/// alone: so every head, layer and step is asked about the same ones. With `n` of `N` queries the dense part costs about
/// `n / N` of a dense call in Float32 and the packing of the keys, which is counted in nobody's seconds.
public final class AttentionProbe: AttentionEngine {
  /// One a call and head, in order of the calls.
  public private(set) var records: [AttentionQuality] = []
  private let engine: PlannedAttention
  private let dense: any AttentionExecutor
  private let queryCount: Int, seed: UInt64
  private let isWatched: (AttentionSite) -> Bool

  /// - Parameters:
  ///   - engine: computes the result.
  ///   - dense: computes what outputs are compared with; that of the engine's own precision leaves only the plan's loss.
  ///   - queryCount: queries sampled a call; all where there are no more.
  ///   - isWatched: which calls are measured.
  public init(
    _ engine: PlannedAttention, dense: any AttentionExecutor = BlockSparseExecutor(.float32), queryCount: Int = 64,
    seed: UInt64 = 0, isWatched: @escaping (AttentionSite) -> Bool = { _ in true }
  ) {
    precondition(queryCount > 0, "\(queryCount) sampled queries")
    (self.engine, self.dense, self.queryCount, self.seed) = (engine, dense, queryCount, seed)
    self.isWatched = isWatched
  }

  public func callAsFunction(_ q: Tensor, _ k: Tensor, _ v: Tensor, at site: AttentionSite) throws -> Tensor {
    guard isWatched(site) else { return try engine(q, k, v, at: site) }
    let watching = engine.onPlan, before = engine.statistics.records.count
    var made: [BlockPlan] = []
    engine.onPlan = { site, plan in
      watching?(site, plan)
      made.append(plan)
    }
    defer { engine.onPlan = watching }
    let result = try engine(q, k, v, at: site)
    // The engine leaves one record for all samples, or one each; those whose plan keeps everything come without one.
    var next = made.makeIterator()
    let plans = engine.statistics.records[before...].map { $0.isSparse ? next.next() : nil }
    try measure(q, k, v, result, plans, at: site)
    return result
  }

  /// - Parameter plans: one for each sample, or one for all.
  private func measure(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, _ result: Tensor, _ plans: [BlockPlan?], at site: AttentionSite
  ) throws {
    let samples = q.shape[0], heads = q.shape[1], queries = sampledQueries(of: q.shape[2])
    let scale = 1 / Float(q.shape[3]).squareRoot(), asked = q.taking(queries, axis: 2)
    let found = result.taking(queries, axis: 2)
    let expected = try dense.attend(asked, k, v, plan: nil, scale: scale)
    for head in 0..<heads {
      var recalls: [Double] = [], difference = 0.0, norm = 0.0
      for sample in 0..<samples {
        if let plan = plans[plans.count == 1 ? 0 : sample] {
          let map = attentionProbabilities(
            asked[at: sample].slice(head..<head + 1), k[at: sample].slice(head..<head + 1), scale: scale)
          recalls += plan.recalls(head: head, queries: queries, of: map[at: 0])
        } else {
          recalls += queries.map { _ in 1 }
        }
        for (a, b) in zip(found[at: sample][at: head].elements, expected[at: sample][at: head].elements) {
          difference += (Double(a) - Double(b)) * (Double(a) - Double(b))
          norm += Double(b) * Double(b)
        }
      }
      records.append(
        AttentionQuality(
          step: site.call.step, branch: site.call.branch, layer: site.layer, head: head,
          isSparse: plans.contains { $0 != nil }, recall: recalls.reduce(0, +) / Double(recalls.count),
          minimumRecall: recalls.min()!, relativeL2: difference == 0 ? 0 : (difference / norm).squareRoot()))
    }
  }

  /// Ascending, one from each of equal stretches.
  func sampledQueries(of count: Int) -> [Int] {
    guard count > queryCount else { return Array(0..<count) }
    return (0..<queryCount).map { index in
      let start = index * count / queryCount, end = (index + 1) * count / queryCount
      let word = philox4x32(
        counter: SIMD4(UInt32(truncatingIfNeeded: index), 0, 0, 0),
        key: SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
      ).x
      return start + Int((UInt64(word) * UInt64(end - start)) >> 32)
    }
  }
}

extension BlockPlan {
  /// Share of each query's mass that lies on keys the plan keeps.
  /// - Parameters:
  ///   - queries: tokens in model order.
  ///   - map: `[queries, M]`, probabilities of dense attention over keys in model order.
  func recalls(head index: Int, queries: [Int], of map: Tensor) -> [Double] {
    let head = heads[index], pattern = patterns[head.pattern]
    let positions = orders[head.queryOrder].inverse, keys = orders[head.keyOrder].tokens
    return queries.enumerated().map { row, query in
      let probabilities = map[at: row].elements
      let block = pattern.queryStarts.lastIndex { $0 <= positions[query] }!
      var kept = 0.0
      for column in pattern.keptColumns(block) {
        for position in pattern.keyStarts[column]..<pattern.keyStarts[column + 1] {
          kept += Double(probabilities[Int(keys[Int(position)])])
        }
      }
      return kept / probabilities.reduce(0) { $0 + Double($1) }
    }
  }
}
