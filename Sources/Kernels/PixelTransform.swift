import Tensors

/// A norm, with SiLU after it when asked, as what it does to a pixel: so that it need not be done by itself, but on the
/// way into a convolution.
public struct PixelTransform: Sendable {
  private enum Kind: Sendable {
    /// By sample, a scale and then a shift for each channel.
    case affine(PackedBuffer<Float>, samples: Int)
    case rms(scale: Tensor, epsilon: Float)
  }
  private let kind: Kind
  public let channels: Int
  private let silu: Bool

  /// Root-mean-square norm over a pixel's channels.
  /// - Parameter scale: `[C]`.
  public init(rmsNorm scale: Tensor, epsilon: Float, silu: Bool) {
    (kind, channels, self.silu) = (.rms(scale: scale, epsilon: epsilon), scale.count, silu)
  }

  /// Group norm, for the image it was made from alone.
  /// - Parameters:
  ///   - x: `[B, H, W, C]`; statistics run over the pixels and channels of one group of one sample.
  ///   - scale, shift: `[C]`.
  public init(groupNorm x: Tensor, groups: Int, epsilon: Float, scale: Tensor, shift: Tensor, silu: Bool) {
    let channels = x.shape[x.shape.count - 1], batch = x.shape[0]
    precondition(channels % groups == 0, "group norm: \(channels) channels in \(groups) groups")
    precondition(scale.count == channels && shift.count == channels, "group norm: scale \(scale.shape) for \(x.shape)")
    let pixels = x.count / max(batch * channels, 1), width = channels / groups
    let block = max(1, 32768 / channels), blocks = (pixels + block - 1) / block
    // By item: sums of all channels, then sums of squares.
    let partial = PackedBuffer<Double>(count: batch * blocks * 2 * channels)
    x.withFloats { x in
      ThreadPool.shared.forEach(batch * blocks) { item in
        let first = item % blocks * block
        let start = x.baseAddress! + (item / blocks * pixels + first) * channels
        let sums = partial.pointer + item * 2 * channels
        Door.channelSums(min(block, pixels - first), channels, start, sums: sums, squares: sums + channels)
      }
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
    (kind, self.channels, self.silu) = (.affine(scales, samples: batch), channels, silu)
  }

  /// The transform by itself: `[B, H, W, C]` to the same.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    check(frames: x.shape[0], channels: x.shape[x.shape.count - 1])
    let pixels = x.shape[1..<x.shape.count - 1].reduce(1, *)
    let block = max(1, 32768 / channels), blocks = (pixels + block - 1) / block
    return x.writing(x.shape) { input, output in
      ThreadPool.shared.forEach(x.shape[0] * blocks) { item in
        let sample = item / blocks, first = item % blocks * block, start = (sample * pixels + first) * channels
        apply(min(block, pixels - first), sample: sample, input + start, output + start)
      }
    }
  }

  /// Fails unless it can be done to `frames` frames of `channels` channels.
  func check(frames: Int, channels: Int) {
    precondition(channels == self.channels, "a norm of \(self.channels) channels for \(channels)")
    if case .affine(_, let samples) = kind {
      precondition(frames == samples, "a norm of \(samples) samples for \(frames)")
    }
  }

  /// Transforms neighbouring pixels of one sample.
  func apply(_ pixels: Int, sample: Int, _ x: Input, _ y: Output) {
    switch kind {
    case .affine(let scales, _):
      let scale = Input(scales.pointer) + 2 * sample * channels
      Door.channelAffine(pixels, channels, x, scale: scale, shift: scale + channels, silu: silu, y)
    case .rms(let scale, let epsilon):
      scale.withFloats { scale in
        for pixel in 0..<pixels {
          Door.rmsNorm(channels, x + pixel * channels, epsilon, scale: scale.baseAddress!, y + pixel * channels)
        }
      }
      if silu { Door.activate(.silu, pixels * channels, y, y) }
    }
  }
}

/// Group norm of a channels-last tensor, with per-channel scale and shift, and SiLU after it when asked.
/// - Parameters:
///   - x: `[B, H, W, C]`; statistics run over the pixels and channels of one group of one sample.
///   - scale, shift: `[C]`.
public func groupNorm(_ x: Tensor, groups: Int, epsilon: Float, scale: Tensor, shift: Tensor, silu: Bool) -> Tensor {
  PixelTransform(groupNorm: x, groups: groups, epsilon: epsilon, scale: scale, shift: shift, silu: silu)(x)
}
