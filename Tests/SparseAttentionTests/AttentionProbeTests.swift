import Foundation
import Kernels
import Tensors
import TestSupport
import Testing

@testable import SparseAttention

/// A band of blocks around the diagonal of shuffled positions, wider for later heads: so that orders, patterns and heads
/// all matter.
private struct ShuffledBand: GeometricPlanner {
  static let information = MethodInformation(name: "shuffled-band", summary: "", source: "these tests", options: [])
  var block = 5

  init(_ options: inout OptionReader, context: MethodContext) throws {}
  init() {}

  func position(_ token: Int, of count: Int) -> Int { (token * 7 + 3) % count }
  /// Whether a query reads a key.
  func keeps(_ query: Int, _ key: Int, head: Int, of count: Int) -> Bool {
    abs(position(query, of: count) / block - position(key, of: count) / block) <= head
  }

  func planKey(_ site: AttentionSite) -> AttentionSite { site.anywhere }
  func plan(_ site: AttentionSite) throws -> BlockPlan {
    let count = site.layout.count, starts = BlockPattern.uniformStarts(count, block: block)
    var tokens = [Int32](repeating: 0, count: count)
    for token in 0..<count { tokens[position(token, of: count)] = Int32(token) }
    let patterns = (0..<site.heads).map { head in
      var pattern = BlockPattern(queryStarts: starts, keyStarts: starts)
      for row in 0..<pattern.rows {
        pattern.keep(row: row, columns: max(0, row - head)..<min(pattern.columns, row + head + 1))
      }
      return pattern
    }
    return BlockPlan(
      orders: [TokenOrder(tokens)], patterns: patterns,
      heads: (0..<site.heads).map { BlockPlan.Head(order: 0, pattern: $0) })
  }
}

/// Keeps the first half of the keys where the first query begins with a positive number, all of them elsewhere.
private struct HalfOrAll: ContentPlanner {
  static let information = MethodInformation(name: "half-or-all", summary: "", source: "these tests", options: [])
  init(_ options: inout OptionReader, context: MethodContext) throws {}
  init() {}

  func plan(_ site: AttentionSite, queries: Tensor, keys: Tensor) throws -> BlockPlan {
    let count = site.layout.count, starts: [Int32] = [0, Int32(count / 2), Int32(count)]
    var pattern = BlockPattern(queryStarts: starts, keyStarts: starts, keepsAll: queries[0, 0, 0] <= 0)
    pattern.keepAll(column: 0)
    return BlockPlan(order: .model(count), pattern: pattern, heads: site.heads)
  }
}

/// Softmax of one query over all keys, in Float64.
private func probabilities(_ q: Tensor, _ k: Tensor, sample: Int, head: Int, query: Int) -> [Double] {
  let row = q[at: sample][at: head][at: query].elements, scale = 1 / Double(row.count).squareRoot()
  let exponents = (0..<k.shape[2]).map { key in
    exp(zip(row, k[at: sample][at: head][at: key].elements).reduce(0) { $0 + Double($1.0) * Double($1.1) } * scale)
  }
  let sum = exponents.reduce(0, +)
  return exponents.map { $0 / sum }
}

@Suite struct AttentionProbeTests {
  private let layout = TokenLayout(height: 7, width: 9, prefix: 2)
  private func tensors(_ samples: Int, heads: Int, keys: Int? = nil) -> (q: Tensor, k: Tensor, v: Tensor) {
    let tokens = layout.count, keys = keys ?? tokens
    return (
      scaled(random([samples, heads, tokens, 8], seed: 1), by: 2), random([samples, heads, keys, 8], seed: 2),
      random([samples, heads, keys, 8], seed: 3)
    )
  }

  @Test func bandsLoseWhatBruteForceSays() throws {
    let (q, k, v) = tensors(1, heads: 3), method = ShuffledBand(), count = layout.count
    let engine = PlannedAttention(method, executor: BlockSparseExecutor(.float32), stepCount: 4)
    let probe = AttentionProbe(engine, queryCount: 20, seed: 5)
    let place = site(layout, heads: 3, step: 2, layer: 1, branch: 1)
    let result = try probe(q, k, v, at: place)
    let queries = probe.sampledQueries(of: count)
    let exact = try ReferenceExecutor().attend(q, k, v, plan: nil, scale: 1 / Float(8).squareRoot())
    let sparse = try ReferenceExecutor().attend(
      q, k, v, plan: method.plan(place), scale: 1 / Float(8).squareRoot())
    #expect(relativeL2(result, sparse) < 1e-5)
    #expect(probe.records.map(\.head) == [0, 1, 2])
    for record in probe.records {
      #expect(record.isSparse && record.step == 2 && record.branch == 1 && record.layer == 1)
      let recalls = queries.map { query in
        probabilities(q, k, sample: 0, head: record.head, query: query).enumerated()
          .filter { method.keeps(query, $0.offset, head: record.head, of: count) }.reduce(0) { $0 + $1.element }
      }
      #expect(abs(record.recall - recalls.reduce(0, +) / Double(recalls.count)) < 1e-5, "\(record)")
      #expect(abs(record.minimumRecall - recalls.min()!) < 1e-5, "\(record)")
      func picked(_ x: Tensor) -> Tensor { x[at: 0][at: record.head].taking(queries, axis: 0) }
      let error = relativeL2(picked(sparse), picked(exact))
      #expect(abs(record.relativeL2 - error) < 1e-5 && error > 0.1, "\(record), expected \(error)")
    }
    // A wider band keeps more.
    #expect(probe.records[0].recall < probe.records[1].recall && probe.records[1].recall < probe.records[2].recall)
  }

  @Test(arguments: Precision.allCases) func denseLosesNothing(precision: Precision) throws {
    let (q, k, v) = tensors(2, heads: 2), executor = BlockSparseExecutor(precision)
    let probe = AttentionProbe(PlannedAttention(precision: precision), dense: executor, queryCount: 9)
    _ = try probe(q, k, v, at: site(layout, heads: 2))
    #expect(probe.records.count == 2)
    for record in probe.records {
      #expect(!record.isSparse && record.recall == 1 && record.minimumRecall == 1 && record.relativeL2 < 1e-6)
    }
  }

  @Test func aPlanOfAllBlocksRecallsEverything() throws {
    let (q, k, _) = tensors(1, heads: 2), plan = BlockPlan.dense(layout, heads: 2)
    let map = attentionProbabilities(q[at: 0], k[at: 0], scale: 0.35)
    for head in 0..<2 {
      let recalls = plan.recalls(head: head, queries: Array(0..<layout.count), of: map[at: head])
      #expect(recalls.count == layout.count && recalls.allSatisfy { abs($0 - 1) < 1e-12 })
    }
  }

  @Test func theEngineIsLeftAsItIs() throws {
    let (q, k, v) = tensors(2, heads: 3), place = site(layout, heads: 3)
    let plain = PlannedAttention(ShuffledBand(), executor: BlockSparseExecutor(.bfloat16), stepCount: 4)
    let watched = PlannedAttention(ShuffledBand(), executor: BlockSparseExecutor(.bfloat16), stepCount: 4)
    var seen = 0
    watched.onPlan = { _, _ in seen += 1 }
    let probe = AttentionProbe(watched) { $0.layer == 0 }
    let expected = try plain(q, k, v, at: place)
    #expect(try probe(q, k, v, at: place) == expected)
    #expect(try probe(q, k, v, at: site(layout, heads: 3, layer: 1)) == expected)
    #expect(seen == 2 && watched.onPlan != nil && watched.statistics.records.count == 2)
    #expect(probe.records.count == 3, "layer 1 is not watched")
    _ = try watched(q, k, v, at: place)
    #expect(seen == 3 && probe.records.count == 3)
  }

  /// The first sample's plan drops half, the second's nothing.
  @Test func everySampleHasItsOwnPlan() throws {
    var (q, k, v) = tensors(2, heads: 1)
    (q[0, 0, 0, 0], q[1, 0, 0, 0]) = (1, -1)
    func recall(_ q: Tensor, _ k: Tensor, _ v: Tensor) throws -> AttentionQuality {
      let engine = PlannedAttention(HalfOrAll(), executor: BlockSparseExecutor(.float32), stepCount: 4)
      let probe = AttentionProbe(engine, queryCount: 1000)
      _ = try probe(q, k, v, at: site(layout))
      #expect(probe.records.count == 1)
      return probe.records[0]
    }
    let both = try recall(q, k, v)
    let first = try recall(q.slice(0..<1), k.slice(0..<1), v.slice(0..<1))
    let second = try recall(q.slice(1..<2), k.slice(1..<2), v.slice(1..<2))
    #expect(first.isSparse && first.recall < 0.9 && !second.isSparse && second.recall == 1 && both.isSparse)
    #expect(abs(both.recall - (first.recall + 1) / 2) < 1e-12 && both.minimumRecall == first.minimumRecall)
  }

  @Test func shortenedKeysAreRecalledByTheShortenedPlan() throws {
    let grid = KeyGrid(rowStep: 2, columnStep: 2, height: 4, width: 5), keys = grid.count(of: layout)
    let (q, k, v) = tensors(1, heads: 2, keys: keys), place = site(layout, heads: 2, keyGrid: grid)
    let method = ShuffledBand()
    let engine = PlannedAttention(method, executor: BlockSparseExecutor(.float32), stepCount: 4)
    let probe = AttentionProbe(engine, queryCount: 1000)
    _ = try probe(q, k, v, at: place)
    let tokens = grid.representatives(of: layout).map(Int.init), count = layout.count
    // Head 1 reads the keys whose tokens lie in its band: each query has one, so none is added.
    var recalls: [Double] = []
    for query in 0..<count {
      let kept = tokens.map { method.keeps(query, $0, head: 1, of: count) }
      guard kept.contains(true) else { continue }
      let row = probabilities(q, k, sample: 0, head: 1, query: query)
      recalls.append(zip(row, kept).reduce(0) { $0 + ($1.1 ? $1.0 : 0) })
    }
    try #require(recalls.count == count)
    #expect(abs(probe.records[1].recall - recalls.reduce(0, +) / Double(count)) < 1e-5)
  }

  @Test func sampledQueriesAreSpreadAndDependOnTheSeedAlone() {
    let engine = PlannedAttention(precision: .float32)
    let queries = AttentionProbe(engine, queryCount: 64).sampledQueries(of: 32_760)
    #expect(queries.count == 64)
    for (index, query) in queries.enumerated() {
      #expect(query >= index * 32_760 / 64 && query < (index + 1) * 32_760 / 64)
    }
    #expect(AttentionProbe(engine, queryCount: 64).sampledQueries(of: 32_760) == queries)
    #expect(AttentionProbe(engine, queryCount: 64, seed: 1).sampledQueries(of: 32_760) != queries)
    // Not a comb over the columns of a grid.
    #expect(Set(queries.map { $0 % 52 }).count > 20)
    #expect(AttentionProbe(engine, queryCount: 64).sampledQueries(of: 64) == Array(0..<64))
  }
}
