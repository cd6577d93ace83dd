import Foundation
import Kernels
import Tensors
import Testing

@Suite(.serialized) struct BlockSparseAttentionTests {
  /// A permutation of `count` that depends on nothing else.
  private func shuffled(_ count: Int, seed: UInt64) -> [Int32] {
    var state = seed | 1, order = (0..<Int32(count)).map { $0 }
    for i in stride(from: count - 1, to: 0, by: -1) {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      order.swapAt(i, Int(state % UInt64(i + 1)))
    }
    return order
  }

  /// Ragged blocks, queries and keys in orders of their own, a different pattern for every head.
  private func patterns(queries: Int, keys: Int, heads: Int) -> [HeadPattern] {
    (0..<heads).map { head in
      var pattern = BlockPattern(
        queryStarts: [0, 1, 18, 82, Int32(queries)], keyStarts: [0, 5, 21, 22, 70, Int32(keys)])
      for row in 0..<4 {
        for column in 0..<5 where (row * 5 + column + head) % 3 != 1 { pattern[row, column] = true }
      }
      return HeadPattern(
        queryOrder: shuffled(queries, seed: UInt64(head + 3)), keyOrder: shuffled(keys, seed: UInt64(head + 11)),
        pattern: pattern)
    }
  }

  @Test func ordersAndRaggedBlocksEqualTheReference() {
    let q = caseTensor([2, 3, 140, 40], seed: 1), k = caseTensor([2, 3, 101, 40], seed: 2)
    let v = caseTensor([2, 3, 101, 40], seed: 3), heads = patterns(queries: 140, keys: 101, heads: 3)
    let exact = Reference.blockSparseAttention(q, k, v, scale: 0.16, heads: heads)
    for (precision, bound) in [(Precision.float32, 1e-5), (.bfloat16, 1e-2)] {
      let result = blockSparseAttention(q, k, v, scale: 0.16, precision: precision, heads: heads)
      #expect(relativeError(result, exact) <= bound)
    }
  }

  @Test func resultsOverPartsOfTheKeysMergeByLogSumExp() {
    let q = caseTensor([1, 2, 90, 24], seed: 1), k = caseTensor([1, 2, 75, 24], seed: 2)
    let v = caseTensor([1, 2, 75, 24], seed: 3)
    func part(_ columns: Range<Int>) -> (output: Tensor, logSumExp: Tensor) {
      var pattern = BlockPattern(queryStarts: [0, 90], keyStarts: [0, 30, 75])
      pattern.keep(row: 0, columns: columns)
      return blockSparseAttentionWithLogSumExp(
        q, k, v, scale: 0.2, precision: .float32, heads: Array(repeating: HeadPattern(pattern: pattern), count: 2))
    }
    let whole = part(0..<2), a = part(0..<1), b = part(1..<2)
    let (x, y) = (a.output.elements, b.output.elements)
    let (s, t) = (a.logSumExp.elements, b.logSumExp.elements), sums = whole.logSumExp.elements
    var merged: [Float] = []
    for row in s.indices {
      let total = log(exp(Double(s[row])) + exp(Double(t[row])))
      #expect(abs(total - Double(sums[row])) < 1e-5)
      let (wa, wb) = (Float(exp(Double(s[row]) - total)), Float(exp(Double(t[row]) - total)))
      for c in 0..<24 { merged.append(wa * x[row * 24 + c] + wb * y[row * 24 + c]) }
    }
    #expect(relativeError(Tensor(q.shape, merged), whole.output) < 1e-6)
  }

  /// Counts of keys give what their copies give, in any order and pattern.
  @Test func countedKeysEqualTheirCopies() {
    let q = caseTensor([2, 3, 140, 40], seed: 1), k = caseTensor([2, 3, 101, 40], seed: 2)
    let v = caseTensor([2, 3, 101, 40], seed: 3), heads = patterns(queries: 140, keys: 101, heads: 3)
    // Key 7 stands for 600, key 30 for 3; here their copies come last, in the blocks of their originals.
    var counts = [Int](repeating: 1, count: 101)
    (counts[7], counts[30]) = (600, 3)
    let copies = Array(repeating: 7, count: 599) + [30, 30]
    func expanded(_ x: Tensor) -> Tensor {
      Tensor.concatenated([x] + copies.map { x.narrowed(axis: 2, $0..<$0 + 1) }, axis: 2)
    }
    let (allKeys, allValues) = (expanded(k), expanded(v))
    let expandedHeads = heads.map { head -> HeadPattern in
      let pattern = head.pattern
      var order: [Int32] = [], starts: [Int32] = [0]
      for column in 0..<pattern.columns {
        let keys = head.keyOrder![Int(pattern.keyStarts[column])..<Int(pattern.keyStarts[column + 1])]
        order += keys
        for (index, original) in copies.enumerated() where keys.contains(Int32(original)) {
          order.append(Int32(101 + index))
        }
        starts.append(Int32(order.count))
      }
      var result = BlockPattern(queryStarts: pattern.queryStarts, keyStarts: starts)
      for row in 0..<pattern.rows { for column in pattern.keptColumns(row) { result[row, column] = true } }
      return HeadPattern(queryOrder: head.queryOrder, keyOrder: order, pattern: result)
    }
    let sparse = Reference.blockSparseAttention(q, allKeys, allValues, scale: 0.16, heads: expandedHeads)
    let dense = Reference.attention(q, allKeys, allValues, scale: 0.16)
    for (precision, bound) in [(Precision.float32, 1e-5), (.bfloat16, 1e-2)] {
      let ours = blockSparseAttention(q, k, v, scale: 0.16, precision: precision, heads: heads, keyCounts: counts)
      #expect(relativeError(ours, sparse) <= bound)
      let all = blockSparseAttention(q, k, v, scale: 0.16, precision: precision, keyCounts: counts)
      #expect(relativeError(all, dense) <= bound)
      let ones = [Int](repeating: 1, count: 101)
      #expect(
        blockSparseAttention(q, k, v, scale: 0.16, precision: precision, heads: heads, keyCounts: ones)
          == blockSparseAttention(q, k, v, scale: 0.16, precision: precision, heads: heads))
    }
  }

  /// Scores that rise over thousands of powers of two from the first keys to the last, or fall. Queries, keys and scale are
  /// such that bf16 holds every score exactly.
  @Test(arguments: [Precision.float32, .bfloat16], [0.25, 1, 8, 64] as [Float])
  func risingScores(precision: Precision, step: Float) {
    let queries = 70, keys = 1301, size = 24
    var (q, k) = ([Float](repeating: 0, count: queries * size), [Float](repeating: 0, count: keys * size))
    for row in 0..<queries { q[row * size] = row % 3 == 0 ? -step : row % 3 == 1 ? step : 0 }
    for key in 0..<keys { k[key * size] = Float(key / 8) }
    let (queryTensor, keyTensor) = (Tensor([1, 1, queries, size], q), Tensor([1, 1, keys, size], k))
    let v = caseTensor([1, 1, keys, size], seed: 3), scale = Float(log(2.0))
    var pattern = BlockPattern(queryStarts: [0, Int32(queries)], keyStarts: [0, Int32(keys)])
    pattern[0, 0] = true
    let heads = [HeadPattern(pattern: pattern)]
    let exact = Reference.blockSparseAttention(queryTensor, keyTensor, v, scale: Double(scale), heads: heads)
    let result = blockSparseAttentionWithLogSumExp(
      queryTensor, keyTensor, v, scale: scale, precision: precision, heads: heads)
    #expect(relativeError(result.output, exact) <= (precision == .float32 ? 1e-5 : 1e-2))
    for (row, sum) in result.logSumExp.elements.enumerated() {
      let scores = (0..<keys).map { Double(q[row * size] * k[$0 * size]) * log(2.0) }, largest = scores.max()!
      let sumOfWeights = scores.reduce(0.0) { $0 + exp($1 - largest) }, exact = largest + log(sumOfWeights)
      #expect(abs(Double(sum) - exact) <= 2e-4 + 1e-6 * abs(exact), "row \(row)")
    }
  }

  @Test(arguments: Precision.allCases)
  func hugeScoresStayFinite(precision: Precision) {
    let q = caseTensor([1, 1, 33, 16], seed: 1), k = caseTensor([1, 1, 300, 16], seed: 2)
    let v = caseTensor([1, 1, 300, 16], seed: 3)
    let result = blockSparseAttention(q, k, v, scale: 1e6, precision: precision)
    #expect(result.isFinite)
    // Scores millions apart: each query takes one key's value, whole.
    let values = Set(v.elements)
    if precision == .float32 { #expect(result.elements.allSatisfy { values.contains($0) }) }
  }

  /// Integers have no NaN: it must come through by the scales, or a broken input would be drawn.
  @Test(arguments: [Float.nan, .infinity]) func whatIsNoNumberStaysNone(_ poison: Float) {
    func poisoned(_ shape: [Int], seed: UInt64, at index: Int) -> Tensor {
      var values = caseTensor(shape, seed: seed).elements
      values[index] = poison
      return Tensor(shape, values)
    }
    let plain = (0..<3).map { caseTensor([1, 1, 100, 40], seed: UInt64($0)) }
    for broken in 0..<3 {
      var operands = plain
      operands[broken] = poisoned([1, 1, 100, 40], seed: UInt64(broken), at: 37 * 40 + 11)
      let result = blockSparseAttention(operands[0], operands[1], operands[2], scale: 0.15, precision: .int8)
      #expect(!result.isFinite, "operand \(broken)")
    }
    let weight = PreparedMatrix(caseTensor([33, 50], seed: 4), precision: .int8)
    #expect(linear(caseTensor([9, 50], seed: 5), weight).isFinite)
    #expect(!linear(poisoned([9, 50], seed: 5, at: 157), weight).isFinite)
  }

  @Test func keepingEverythingInOneOrderIsDenseBitForBit() {
    let q = caseTensor([1, 2, 200, 32], seed: 1), k = caseTensor([1, 2, 200, 32], seed: 2)
    let v = caseTensor([1, 2, 200, 32], seed: 3)
    let starts = BlockPattern.uniformStarts(200, block: 64)
    let all = HeadPattern(pattern: BlockPattern(queryStarts: starts, keyStarts: starts, keepsAll: true))
    for precision in Precision.allCases {
      let dense = blockSparseAttention(q, k, v, scale: 0.2, precision: precision)
      #expect(blockSparseAttention(q, k, v, scale: 0.2, precision: precision, heads: [all, all]) == dense)
    }
  }

  @Test func patternsCountWhatTheyKeep() {
    var pattern = BlockPattern(queryStarts: [0, 10, 15], keyStarts: BlockPattern.uniformStarts(700, block: 10))
    #expect(pattern.columns == 70 && pattern.rows == 2 && pattern.keptBlocks == 0)
    pattern.keep(row: 0, columns: 60..<70)
    pattern[1, 3] = true
    #expect(pattern.keptColumns(0) == Array(60..<70) && pattern.keptColumns(1) == [3])
    #expect(pattern.keptPairs == 10 * 100 + 5 * 10)
    pattern.keepAll(row: 1)
    pattern.keepAll(row: 0)
    #expect(pattern.keepsEverything && pattern.density == 1)
    pattern[0, 69] = false
    #expect(!pattern.keepsEverything)
  }
}
