import Tensors

/// Layer norm over the last axis: `(x - mean) / sqrt(variance + epsilon)`, then `* scale + shift` when given.
/// - Parameters:
///   - x: `[..., D]`.
///   - scale, shift: `[D]`, both or neither (a scale alone is allowed).
public func layerNorm(_ x: Tensor, epsilon: Float, scale: Tensor? = nil, shift: Tensor? = nil) -> Tensor {
  normalize(x, epsilon, scale, shift, onePlus: false)
}

/// Layer norm without weights, then `* (1 + scale) + shift`, as adaptive layer norm does.
/// - Parameters:
///   - x: `[B, N, D]`.
///   - scale, shift: `[B, D]`, or `[1, D]` for all of the batch.
public func modulatedLayerNorm(_ x: Tensor, epsilon: Float, scale: Tensor, shift: Tensor) -> Tensor {
  normalize(x, epsilon, scale, shift, onePlus: true)
}

private func normalize(_ x: Tensor, _ epsilon: Float, _ scale: Tensor?, _ shift: Tensor?, onePlus: Bool) -> Tensor {
  precondition(shift == nil || shift!.count == scale?.count, "layer norm: a shift needs a scale of its size")
  let rows = RowModulation(x, scale)
  return x.writing(x.shape) { input, output in
    withOptional(scale) { scale in
      withOptional(shift) { shift in
        rows.forEachRow { row, vector in
          let start = row * rows.width
          Door.layerNorm(
            rows.width, input + start, epsilon, scale: scale.map { $0 + vector }, onePlus: onePlus,
            shift: shift.map { $0 + vector }, output + start)
        }
      }
    }
  }
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

/// Group norm of a channels-last tensor, with per-channel scale and shift, and SiLU after it when asked.
/// - Parameters:
///   - x: `[B, H, W, C]`; statistics run over the pixels and channels of one group of one sample.
///   - scale, shift: `[C]`.
public func groupNorm(_ x: Tensor, groups: Int, epsilon: Float, scale: Tensor, shift: Tensor, silu: Bool) -> Tensor {
  let channels = x.shape[x.shape.count - 1], batch = x.shape[0]
  precondition(channels % groups == 0, "group norm: \(channels) channels in \(groups) groups")
  precondition(scale.count == channels && shift.count == channels, "group norm: scale \(scale.shape) for \(x.shape)")
  let pixels = x.count / max(batch * channels, 1), width = channels / groups
  let block = max(1, 32768 / channels), blocks = (pixels + block - 1) / block
  return x.writing(x.shape) { input, output in
    // By item: sums of all channels, then sums of squares.
    let partial = PackedBuffer<Double>(count: batch * blocks * 2 * channels)
    ThreadPool.shared.forEach(batch * blocks) { item in
      let first = item % blocks * block
      let start = input + (item / blocks * pixels + first) * channels
      let sums = partial.pointer + item * 2 * channels
      Door.channelSums(min(block, pixels - first), channels, start, sums: sums, squares: sums + channels)
    }
    let scales = PackedBuffer<Float>(count: 2 * batch * channels)
    scale.withFloats { scale in
      shift.withFloats { shift in
        for b in 0..<batch {
          for group in 0..<groups {
            var sum = 0.0, squares = 0.0
            for item in 0..<blocks {
              let sums = partial.pointer + (b * blocks + item) * 2 * channels
              for c in group * width..<(group + 1) * width {
                sum += sums[c]
                squares += sums[channels + c]
              }
            }
            let mean = sum / Double(pixels * width)
            let inverse = 1 / (max(0, squares / Double(pixels * width) - mean * mean) + Double(epsilon)).squareRoot()
            for c in group * width..<(group + 1) * width {
              scales.pointer[2 * b * channels + c] = Float(inverse) * scale[c]
              scales.pointer[(2 * b + 1) * channels + c] = shift[c] - Float(mean * inverse) * scale[c]
            }
          }
        }
      }
    }
    ThreadPool.shared.forEach(batch * blocks) { item in
      let b = item / blocks, first = item % blocks * block
      let start = (b * pixels + first) * channels
      Door.channelAffine(
        min(block, pixels - first), channels, input + start, scale: scales.pointer + 2 * b * channels,
        shift: scales.pointer + (2 * b + 1) * channels, silu: silu, output + start)
    }
  }
}
