import Tensors

/// Doubles height and width by repeating pixels: `[B, H, W, C]` to `[B, 2H, 2W, C]`.
public func upsampledNearest2x(_ x: Tensor) -> Tensor {
  let (batch, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
  return x.writing([batch, 2 * height, 2 * width, channels]) { input, output in
    ThreadPool.shared.forEach(batch * height) { row in
      let out = output + row * 4 * width * channels
      for pixel in 0..<width {
        let source = input + (row * width + pixel) * channels
        (out + 2 * pixel * channels).update(from: source, count: channels)
        (out + (2 * pixel + 1) * channels).update(from: source, count: channels)
      }
      (out + 2 * width * channels).update(from: out, count: 2 * width * channels)
    }
  }
}

/// The weights of a 3 x 3 convolution of an image doubled by ``upsampledNearest2x(_:)``, without the doubling: each of a
/// doubled image's four phases of pixels sees only 2 x 2 different pixels, so its kernel is one of 2 x 2 whose weights
/// are sums. Four ninths of the products, and the doubled image is never stored.
public struct PreparedUpsampling: Sendable {
  public let outputs: Int, inputs: Int
  /// By row phase, then column phase.
  let phases: [PreparedConvolution]

  /// - Parameter weight: `[outputs, inputs, 3, 3]`.
  public init(_ weight: Tensor, precision: Precision) {
    precondition(weight.shape.suffix(2) == [3, 3], "doubling goes with 3 x 3 kernels, found \(weight.shape)")
    (outputs, inputs) = (weight.shape[0], weight.shape[1])
    /// The taps of one phase along an axis: those that fall on one pixel are added.
    func merged(_ w: Tensor, _ axis: Int, _ phase: Int) -> Tensor {
      let taps = (0..<3).map { w.narrowed(axis: axis, $0..<$0 + 1) }
      return Tensor.concatenated(
        phase == 0 ? [taps[0], add(taps[1], taps[2])] : [add(taps[0], taps[1]), taps[2]], axis: axis)
    }
    phases = (0..<4).map { PreparedConvolution(merged(merged(weight, 2, $0 / 2), 3, $0 % 2), precision: precision) }
  }
}

/// 3 x 3 convolution, padded by one, of an image whose pixels are doubled first.
/// - Parameters:
///   - x: `[B, H, W, inputs]`.
///   - bias: `[outputs]`.
/// - Returns: `[B, 2H, 2W, outputs]`.
public func upsampledConv2d(_ x: Tensor, _ weight: PreparedUpsampling, bias: Tensor? = nil) -> Tensor {
  let (batch, height, width) = (x.shape[0], x.shape[1], x.shape[2]), n = weight.outputs
  precondition(x.shape[3] == weight.inputs, "convolution: input \(x.shape), \(weight.inputs) channels")
  let source = PaddedFrames([x], .all(1), weight.phases[0].precision, nil)
  let band = source.band(of: height, stride: 1, kernel: 3, frames: 1, groups: batch)
  let bands = (height + band - 1) / band
  return x.writing([batch, 2 * height, 2 * width, n]) { _, output in
    withOptional(bias) { bias in
      ThreadPool.shared.forEach(batch * bands) { item in
        let sample = item / bands, lines = item % bands * band..<min((item % bands + 1) * band, height)
        let rows = source.rows(frames: sample..<sample + 1, lines.lowerBound..<lines.upperBound + 2)
        for y in 2 * lines.lowerBound..<2 * lines.upperBound {
          for column in 0..<2 {
            let kernel = weight.phases[2 * (y % 2) + column]
            for row in 0..<2 {
              kernel.multiply(
                rows, frame: sample, row: y / 2 + y % 2 + row, column: column, width, stride: 1, kernelRow: row,
                bias: bias, accumulate: row > 0, output + ((sample * 2 * height + y) * 2 * width + column) * n,
                ldc: 2 * n)
            }
          }
        }
      }
    }
  }
}
