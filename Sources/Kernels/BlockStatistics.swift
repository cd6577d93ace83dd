import Tensors

/// How tokens fall into blocks in one order of theirs, for ``attentionBlockStatistics(_:_:scale:queries:cuts:below:)``.
public struct BlockCut: Sendable {
  /// Keys at each position of the order. Keys left out, such as text, count in the softmax and in no block.
  public var keyOrder: [Int32]
  /// Position where each block of keys begins, and where the last one ends; a block may be empty.
  public var keyStarts: [Int32]
  /// The block that each query token is in, `-1` for none.
  public var queryBlocks: [Int32]
  /// Blocks of queries.
  public var rows: Int

  public init(keyOrder: [Int32], keyStarts: [Int32], queryBlocks: [Int32], rows: Int) {
    (self.keyOrder, self.keyStarts, self.queryBlocks, self.rows) = (keyOrder, keyStarts, queryBlocks, rows)
  }
  public var columns: Int { keyStarts.count - 1 }
}

/// What attention maps hold block by block, over the queries looked at: each `[h, cuts, R, C]`.
public struct BlockStatistics: Sendable {
  /// Sum of the entries of a block.
  public var sums: Tensor
  /// Largest entry.
  public var largest: Tensor
  /// Entries below the threshold.
  public var below: Tensor
}

/// Block statistics of `softmax(q k^T * scale)` under several orders of the tokens at once. The map never exists: 32
/// rows of one head are computed, added to the blocks of every cut, and forgotten.
/// - Parameters:
///   - q: `[h, N, d]`.
///   - k: `[h, M, d]`.
///   - queries: the tokens whose rows are looked at.
///   - cuts: how the tokens fall into blocks; all with as many blocks.
///   - below: threshold of the entries counted as small.
///
/// One item of work is a head: the bytes do not depend on the number of threads.
public func attentionBlockStatistics(
  _ q: Tensor, _ k: Tensor, scale: Float, queries: [Int32], cuts: [BlockCut], below threshold: Float
) -> BlockStatistics {
  let (heads, tokens, size, keys) = (q.shape[0], q.shape[1], q.shape[2], k.shape[1])
  precondition(k.shape == [heads, keys, size] && keys > 0, "block statistics: \(q.shape), \(k.shape)")
  precondition(queries.allSatisfy { $0 >= 0 && $0 < tokens }, "block statistics: queries beyond \(tokens)")
  let rows = cuts[0].rows, columns = cuts[0].columns
  for cut in cuts { cut.check(tokens: tokens, keys: keys, rows: rows, columns: columns) }
  let shape = [heads, cuts.count, rows, columns], stride = cuts.count * rows * columns
  var result = BlockStatistics(sums: Tensor(zeros: shape), largest: Tensor(zeros: shape), below: Tensor(zeros: shape))
  let packed = PackedHeads(k, transposed: false)
  q.withFloats { query in
    result.sums.withMutableFloats { sums in
      result.largest.withMutableFloats { largest in
        result.below.withMutableFloats { below in
          ThreadPool.shared.forEach(heads) { head in
            let target = BlockTarget(
              sums: sums.baseAddress! + head * stride, largest: largest.baseAddress! + head * stride,
              below: below.baseAddress! + head * stride, threshold: threshold)
            let map = PackedBuffer<Float>(count: 32 * keys), scaled = PackedBuffer<Float>(count: 32 * size)
            let ordered = PackedBuffer<Float>(count: keys)
            for first in Swift.stride(from: 0, to: queries.count, by: 32) {
              let chunk = queries[first..<min(first + 32, queries.count)]
              for (row, token) in chunk.enumerated() {
                let source = query.baseAddress! + (head * tokens + Int(token)) * size
                for channel in 0..<size { scaled.pointer[row * size + channel] = source[channel] * scale }
              }
              softmaxRows(chunk.count, keys, size, scaled.pointer, packed.head(head), into: map.pointer)
              for (row, token) in chunk.enumerated() {
                for (index, cut) in cuts.enumerated() where cut.queryBlocks[Int(token)] >= 0 {
                  let block = (index * rows + Int(cut.queryBlocks[Int(token)])) * columns
                  target.add(map.pointer + row * keys, cut, at: block, ordered: ordered.pointer)
                }
              }
            }
          }
        }
      }
    }
  }
  return result
}

extension BlockCut {
  fileprivate func check(tokens: Int, keys: Int, rows: Int, columns: Int) {
    precondition(self.rows == rows && self.columns == columns, "block statistics: cuts of different sizes")
    precondition(queryBlocks.count == tokens && queryBlocks.allSatisfy { $0 < rows }, "block statistics: query blocks")
    precondition(keyOrder.allSatisfy { $0 >= 0 && $0 < keys }, "block statistics: an order names keys beyond \(keys)")
    precondition(
      keyStarts[0] == 0 && Int(keyStarts[columns]) == keyOrder.count && keyOrder.count <= keys
        && zip(keyStarts, keyStarts.dropFirst()).allSatisfy { $0 <= $1 }, "block statistics: key starts")
  }
}

/// Where one head's statistics go.
private struct BlockTarget {
  let sums: Output, largest: Output, below: Output
  let threshold: Float

  /// Adds one query's row of the map to the row of blocks that begins at `offset`.
  func add(_ map: Input, _ cut: BlockCut, at offset: Int, ordered: Output) {
    cut.keyOrder.withUnsafeBufferPointer { order in
      for position in order.indices { ordered[position] = map[Int(order[position])] }
    }
    cut.keyStarts.withUnsafeBufferPointer { starts in
      for column in 0..<cut.columns {
        add(ordered + Int(starts[column]), Int(starts[column + 1] - starts[column]), at: offset + column)
      }
    }
  }

  private func add(_ x: Input, _ count: Int, at index: Int) {
    var sum = SIMD8<Float>(), most = SIMD8<Float>(), small = SIMD8<Float>()
    var at = 0
    while at + 8 <= count {
      let values = UnsafeRawPointer(x + at).loadUnaligned(as: SIMD8<Float>.self)
      sum += values
      most.replace(with: values, where: values .> most)
      small.replace(with: small + 1, where: values .< threshold)
      at += 8
    }
    var (total, top, few) = (sum.sum(), most.max(), small.sum())
    while at < count {
      total += x[at]
      top = max(top, x[at])
      if x[at] < threshold { few += 1 }
      at += 1
    }
    sums[index] += total
    largest[index] = max(largest[index], top)
    below[index] += few
  }
}
