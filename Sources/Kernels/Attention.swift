import Tensors

/// `softmax(q k^T * scale + bias) v`, dense, in Float32.
/// - Parameters:
///   - q: `[B, h, N, d]`.
///   - k, v: `[B, h, M, d]`.
///   - keyBias: `[B, M]`, added to every row of a sample's scores; `-infinity` or a large negative value masks a key.
///   - scoreBias: `[h, N, M]`, added for every sample (T5's relative positions).
/// - Returns: `[B, h, N, d]`.
///
/// One item of work is 64 queries of one head: their scores exist, never the whole matrix.
public func denseAttention(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, scale: Float, keyBias: Tensor? = nil, scoreBias: Tensor? = nil
) -> Tensor {
  let (batch, heads, queries, size) = (q.shape[0], q.shape[1], q.shape[2], q.shape[3])
  let keys = k.shape[2]
  precondition(k.shape == [batch, heads, keys, size] && v.shape == k.shape, "attention: \(q.shape), \(k.shape), \(v.shape)")
  precondition(keyBias == nil || keyBias!.shape == [batch, keys], "attention: key bias \(keyBias!.shape)")
  precondition(scoreBias == nil || scoreBias!.shape == [heads, queries, keys], "attention: bias \(scoreBias!.shape)")
  let block = 64, blocks = (queries + block - 1) / block
  return q.writing(q.shape) { query, output in
    k.withFloats { key in
      v.withFloats { value in
        withOptional(keyBias) { keyBias in
          withOptional(scoreBias) { scoreBias in
            ThreadPool.shared.forEach(batch * heads * blocks) { item in
              let pair = item / blocks, first = item % blocks * block
              let rows = min(block, queries - first)
              let scores = PackedBuffer<Float>(count: rows * keys)
              Door.sgemm(
                transposed: true, rows, keys, size, alpha: scale, query + (pair * queries + first) * size, lda: size,
                key.baseAddress! + pair * keys * size, ldb: size, beta: 0, scores.pointer, ldc: keys)
              for row in 0..<rows {
                let line = scores.pointer + row * keys
                if let scoreBias {
                  Door.add(keys, line, scoreBias + (pair % heads * queries + first + row) * keys, line)
                }
                Door.softmax(keys, line, bias: keyBias.map { $0 + pair / heads * keys })
              }
              Door.sgemm(
                transposed: false, rows, size, keys, alpha: 1, scores.pointer, lda: keys,
                value.baseAddress! + pair * keys * size, ldb: size, beta: 0,
                output + (pair * queries + first) * size, ldc: size)
            }
          }
        }
      }
    }
  }
}
