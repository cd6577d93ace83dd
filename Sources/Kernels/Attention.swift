import Tensors

/// `softmax(q k^T * scale + bias) v`, dense, in Float32.
/// - Parameters:
///   - q: `[B, h, N, d]`.
///   - k, v: `[B, h, M, d]`.
///   - keyBias: `[B, M]`, added to every row of a sample's scores; `-infinity` or a large negative value masks a key.
///   - scoreBias: `[h, N, M]`, added for every sample (T5's relative positions).
/// - Returns: `[B, h, N, d]`.
///
/// With a bias, keys and values are packed once per head, and one item of work is 32 queries of one head, whose scores
/// exist, never the whole matrix. Without one this is ``blockSparseAttention(_:_:_:scale:precision:heads:)``.
public func denseAttention(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, scale: Float, keyBias: Tensor? = nil, scoreBias: Tensor? = nil
) -> Tensor {
  let (batch, heads, queries, size) = (q.shape[0], q.shape[1], q.shape[2], q.shape[3])
  let keys = k.shape[2]
  precondition(
    k.shape == [batch, heads, keys, size] && v.shape == k.shape, "attention: \(q.shape), \(k.shape), \(v.shape)")
  precondition(keyBias == nil || keyBias!.shape == [batch, keys], "attention: key bias \(keyBias!.shape)")
  precondition(scoreBias == nil || scoreBias!.shape == [heads, queries, keys], "attention: bias \(scoreBias!.shape)")
  if keyBias == nil && scoreBias == nil { return blockSparseAttention(q, k, v, scale: scale, precision: .float32) }
  let packedKeys = PackedHeads(k.reshaped(-1, keys, size), transposed: false)
  let packedValues = PackedHeads(v.reshaped(-1, keys, size), transposed: true)
  let block = 32, blocks = (queries + block - 1) / block
  return q.writing(q.shape) { query, output in
    withOptional(keyBias) { keyBias in
      withOptional(scoreBias) { scoreBias in
        ThreadPool.shared.forEach(batch * heads * blocks) { item in
          let pair = item / blocks, first = item % blocks * block
          let rows = min(block, queries - first), start = (pair * queries + first) * size
          let scores = PackedBuffer<Float>(count: rows * keys), scaled = PackedBuffer<Float>(count: rows * size)
          for index in 0..<rows * size { scaled.pointer[index] = query[start + index] * scale }
          Door.gemm(
            rows, keys, size, scaled.pointer, lda: size, packedKeys.head(pair), bias: nil, accumulate: false,
            scores.pointer, ldc: keys)
          for row in 0..<rows {
            let line = scores.pointer + row * keys
            if let scoreBias {
              Door.add(keys, line, scoreBias + (pair % heads * queries + first + row) * keys, line)
            }
            Door.softmax(keys, line, bias: keyBias.map { $0 + pair / heads * keys })
          }
          Door.gemm(
            rows, size, keys, scores.pointer, lda: keys, packedValues.head(pair), bias: nil, accumulate: false,
            output + start, ldc: size)
        }
      }
    }
  }
}

/// Right-hand sides of products, packed head by head.
struct PackedHeads {
  private let buffer: PackedBuffer<Float>
  private let stride: Int

  /// - Parameters:
  ///   - x: `[h, M, d]`.
  ///   - transposed: whether a product sums over the tokens, as that of probabilities and values, rather than over
  ///     channels, as that of queries and keys.
  init(_ x: Tensor, transposed: Bool) {
    let (heads, tokens, size) = (x.shape[0], x.shape[1], x.shape[2])
    let outputs = transposed ? size : tokens, inputs = transposed ? tokens : size
    let stride = Door.packedCount(outputs: outputs, rounded: inputs)
    let buffer = PackedBuffer<Float>(count: heads * stride)
    let panels = (outputs + Door.panel - 1) / Door.panel
    x.withFloats { x in
      ThreadPool.shared.forEach(heads * panels) { item in
        let source = x.baseAddress! + item / panels * tokens * size, target = buffer.pointer + item / panels * stride
        if transposed {
          Door.packTransposed(item % panels, outputs, inputs, source, size, into: target)
        } else {
          Door.pack(item % panels, outputs, inputs, source, size, into: target)
        }
      }
    }
    (self.buffer, self.stride) = (buffer, stride)
  }

  func head(_ index: Int) -> Input { Input(buffer.pointer + index * stride) }
}
