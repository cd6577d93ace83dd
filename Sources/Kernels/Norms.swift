import Tensors

/// Layer norm over the last axis: `(x - mean) / sqrt(variance + epsilon)`, then `* scale + shift` when given.
/// - Parameters:
///   - x: `[..., D]`.
///   - scale, shift: `[D]`, both or neither (a scale alone is allowed).
public func layerNorm(_ x: Tensor, epsilon: Float, scale: Tensor? = nil, shift: Tensor? = nil) -> Tensor {
  PreparedRows(layerNorm: x, epsilon: epsilon, scale: scale, shift: shift, precision: .float32).floats
}

/// Layer norm without weights, then `* (1 + scale) + shift`, as adaptive layer norm does.
/// - Parameters:
///   - x: `[B, N, D]`.
///   - scale, shift: `[B, D]`, or `[1, D]` for all of the batch.
public func modulatedLayerNorm(_ x: Tensor, epsilon: Float, scale: Tensor, shift: Tensor) -> Tensor {
  PreparedRows(layerNorm: x, epsilon: epsilon, scale: scale, shift: shift, onePlus: true, precision: .float32).floats
}

/// Root-mean-square norm over the last axis: `x / sqrt(mean(x^2) + epsilon) * scale`.
/// - Parameters: x: `[..., D]`; scale: `[D]`.
public func rmsNorm(_ x: Tensor, epsilon: Float, scale: Tensor? = nil) -> Tensor {
  let rows = RowModulation(x, nil)
  precondition(scale == nil || scale!.count == rows.width, "rms norm: scale \(scale!.shape) for \(x.shape)")
  return x.writing(x.shape) { input, output in
    withOptional(scale) { scale in
      rows.forEachRow { row, _ in
        Door.rmsNorm(rows.width, input + row * rows.width, epsilon, scale: scale, output + row * rows.width)
      }
    }
  }
}

/// Root-mean-square norm over all heads of a token at once, then the heads apart, then turned by their tokens' angles:
/// in one pass.
/// - Parameters:
///   - x: `[B, N, h * d]`.
///   - scale: `[h * d]`.
///   - angles: cosines and sines `[N, d / 2]`, as ``rotated(_:cos:sin:)`` takes them; `nil` turns nothing.
/// - Returns: `[B, h, N, d]`.
public func rmsNormHeads(
  _ x: Tensor, heads: Int, epsilon: Float, scale: Tensor, angles: (cos: Tensor, sin: Tensor)? = nil
) -> Tensor {
  let (batch, tokens, width) = (x.shape[0], x.shape[1], x.shape[2])
  let size = width / heads
  precondition(size * heads == width && scale.count == width, "\(heads) heads of \(x.shape), scale \(scale.shape)")
  if let angles {
    let expected = [tokens, size / 2]
    precondition(angles.cos.shape == expected && angles.sin.shape == expected && size % 2 == 0, "angles for \(x.shape)")
  }
  return x.writing([batch, heads, tokens, size]) { input, output in
    withOptional(scale) { scale in
      withOptional(angles?.cos) { cos in
        withOptional(angles?.sin) { sin in
          ThreadPool.shared.forEach(batch * tokens, grain: max(1, 16384 / width)) { row in
            let line = PackedBuffer<Float>(count: width), token = row % tokens
            Door.rmsNorm(width, input + row * width, epsilon, scale: scale, line.pointer)
            for head in 0..<heads {
              let from = line.pointer + head * size
              let to = output + ((row / tokens * heads + head) * tokens + token) * size
              if let cos, let sin {
                Door.rotate(size / 2, cos + token * (size / 2), sin + token * (size / 2), from, to)
              } else {
                to.update(from: from, count: size)
              }
            }
          }
        }
      }
    }
  }
}
