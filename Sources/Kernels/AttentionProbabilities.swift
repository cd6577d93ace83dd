import Tensors

/// `softmax(q k^T * scale)` in Float32, the whole map: for few queries and keys, such as the means of blocks.
/// - Parameters:
///   - q: `[h, n, d]`.
///   - k: `[h, M, d]`.
/// - Returns: `[h, n, M]`.
public func attentionProbabilities(_ q: Tensor, _ k: Tensor, scale: Float) -> Tensor {
  let (heads, queries, size, keys) = (q.shape[0], q.shape[1], q.shape[2], k.shape[1])
  precondition(k.shape == [heads, keys, size] && keys > 0, "attention probabilities: \(q.shape), \(k.shape)")
  let packed = PackedHeads(k, transposed: false)
  let block = 32, blocks = (queries + block - 1) / block
  return q.writing([heads, queries, keys]) { query, output in
    ThreadPool.shared.forEach(heads * blocks) { item in
      let head = item / blocks, first = head * queries + item % blocks * block
      let rows = min(block, (head + 1) * queries - first)
      let scaled = PackedBuffer<Float>(count: rows * size)
      for index in 0..<rows * size { scaled.pointer[index] = query[first * size + index] * scale }
      softmaxRows(rows, keys, size, scaled.pointer, packed.head(head), into: output + first * keys)
    }
  }
}

/// Rows of probabilities `[rows, keys]` of queries `[rows, size]` that are already scaled.
func softmaxRows(_ rows: Int, _ keys: Int, _ size: Int, _ scaled: Input, _ packed: Input, into map: Output) {
  Door.gemm(rows, keys, size, scaled, lda: size, packed, bias: nil, accumulate: false, map, ldc: keys)
  for row in 0..<rows { Door.softmax(keys, map + row * keys, bias: nil) }
}
