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
  let packed = PackedHeads(k, v)
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
            rows, keys, size, scaled.pointer, lda: size, packed.keys(pair), bias: nil, accumulate: false,
            scores.pointer, ldc: keys)
          for row in 0..<rows {
            let line = scores.pointer + row * keys
            if let scoreBias {
              Door.add(keys, line, scoreBias + (pair % heads * queries + first + row) * keys, line)
            }
            Door.softmax(keys, line, bias: keyBias.map { $0 + pair / heads * keys })
          }
          Door.gemm(
            rows, size, keys, scores.pointer, lda: keys, packed.values(pair), bias: nil, accumulate: false,
            output + start, ldc: size)
        }
      }
    }
  }
}

/// Keys `[B, h, M, d]` and values of the same shape, packed head by head as right-hand sides of the two products.
private struct PackedHeads {
  private let keyBuffer: PackedBuffer<Float>, valueBuffer: PackedBuffer<Float>
  private let keyStride: Int, valueStride: Int

  init(_ k: Tensor, _ v: Tensor) {
    let heads = k.shape[0] * k.shape[1], keys = k.shape[2], size = k.shape[3]
    keyStride = Door.packedCount(outputs: keys, rounded: size)
    valueStride = Door.packedCount(outputs: size, rounded: keys)
    keyBuffer = PackedBuffer(count: heads * keyStride)
    valueBuffer = PackedBuffer(count: heads * valueStride)
    let keyPanels = (keys + Door.panel - 1) / Door.panel, valuePanels = (size + Door.panel - 1) / Door.panel
    k.withFloats { k in
      v.withFloats { v in
        ThreadPool.shared.forEach(heads * (keyPanels + valuePanels)) { item in
          let head = item / (keyPanels + valuePanels), panel = item % (keyPanels + valuePanels)
          if panel < keyPanels {
            Door.pack(
              panel, keys, size, k.baseAddress! + head * keys * size, size, into: keyBuffer.pointer + head * keyStride)
          } else {
            Door.packTransposed(
              panel - keyPanels, size, keys, v.baseAddress! + head * keys * size, size,
              into: valueBuffer.pointer + head * valueStride)
          }
        }
      }
    }
  }

  func keys(_ head: Int) -> Input { Input(keyBuffer.pointer + head * keyStride) }
  func values(_ head: Int) -> Input { Input(valueBuffer.pointer + head * valueStride) }
}
