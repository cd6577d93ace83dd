import Checkpoints
import Kernels
import Tensors

/// 2-D convolution of channels-last images. Checkpoint: `weight` `[outputs, inputs, k, k]`, `bias` `[outputs]`.
public struct Conv2d: Sendable {
  let weight: PreparedConvolution
  let bias: Tensor?
  let stride: Int
  let padding: Padding

  public init(
    _ weights: WeightScope, _ inputs: Int, _ outputs: Int, kernel: Int, stride: Int = 1, padding: Padding = .all(0),
    bias: Bool = true
  ) throws {
    weight = try weights.prepared("weight", [outputs, inputs, kernel, kernel]) {
      PreparedConvolution($0.floats(), precision: weights.precision)
    }
    self.bias = bias ? try weights.tensor("bias", outputs) : nil
    (self.stride, self.padding) = (stride, padding)
  }

  /// `[B, H, W, inputs]` to `[B, H', W', outputs]`.
  /// - Parameters:
  ///   - transform: done to each pixel first.
  ///   - residual: added to the result.
  public func callAsFunction(
    _ x: Tensor, after transform: PixelTransform? = nil, onto residual: consuming Tensor? = nil
  ) -> Tensor {
    conv2d(x, weight, bias: bias, stride: stride, padding: padding, after: transform, onto: residual)
  }
}

/// 3 x 3 convolution of images whose pixels are doubled first. Checkpoint: `weight` `[outputs, inputs, 3, 3]`, `bias`
/// `[outputs]` (the convolution of diffusers' `Upsample2D`).
public struct UpsamplingConv2d: Sendable {
  let weight: PreparedUpsampling, bias: Tensor

  public init(_ weights: WeightScope, _ inputs: Int, _ outputs: Int) throws {
    weight = try weights.prepared("weight", [outputs, inputs, 3, 3]) {
      PreparedUpsampling($0.floats(), precision: weights.precision)
    }
    bias = try weights.tensor("bias", outputs)
  }

  /// `[B, H, W, inputs]` to `[B, 2H, 2W, outputs]`.
  public func callAsFunction(_ x: Tensor) -> Tensor { upsampledConv2d(x, weight, bias: bias) }
}

/// 3-D convolution of a clip of channels-last frames that never looks ahead: with a kernel of `k` frames each result
/// sees its own frame and the `k - 1` before it, zeros before the first. Clips may come in chunks: what later ones
/// need is left in a ``CausalMemory``, and the results are those of one clip.
/// Checkpoint: `weight` `[outputs, inputs, kt, kh, kw]`, `bias` `[outputs]` (Wan's `WanCausalConv3d`).
public struct CausalConv3d: Sendable {
  let weight: PreparedConvolution
  let bias: Tensor
  let padding: Padding
  let key: String

  /// - Parameter kernel: frames, rows, columns; rows and columns are padded to keep their number.
  public init(_ weights: WeightScope, _ inputs: Int, _ outputs: Int, kernel: [Int]) throws {
    weight = try weights.prepared("weight", [outputs, inputs] + kernel) {
      PreparedConvolution($0.floats(), precision: weights.precision)
    }
    bias = try weights.tensor("bias", outputs)
    padding = Padding(top: kernel[1] / 2, left: kernel[2] / 2, bottom: kernel[1] / 2, right: kernel[2] / 2)
    key = weights.path
  }

  /// `[F, H, W, inputs]` to `[F, H, W, outputs]`.
  /// - Parameters:
  ///   - transform: done to each pixel first; the memory keeps pixels as they were before it.
  ///   - residual: added to the result.
  public func callAsFunction(
    _ x: Tensor, memory: CausalMemory, after transform: PixelTransform? = nil, onto residual: consuming Tensor? = nil
  ) -> Tensor {
    let reach = weight.kernelFrames - 1, past = reach > 0 ? memory[key] : nil
    let clips = (past.map { [$0] } ?? []) + [x]
    let result = conv3d(
      clips, before: reach - (past?.shape[0] ?? 0), weight, bias: bias, padding: padding, after: transform,
      onto: residual)
    if reach > 0 { memory[key] = CausalMemory.last(reach, of: clips) }
    return result
  }

  /// Every second frame of a clip whose results see the frames 0, 1, 2; 2, 3, 4; ... and no zeros.
  public func halvingFrames(_ clips: [Tensor]) -> Tensor {
    conv3d(clips, weight, bias: bias, frameStride: 2, padding: padding)
  }
}

/// What causal layers keep of earlier chunks: their last frames, by the layer's path.
public final class CausalMemory {
  private var frames: [String: Tensor] = [:]
  public init() {}

  /// `[F, H, W, C]`, or `nil` before the first chunk.
  public subscript(key: String) -> Tensor? {
    get { frames[key] }
    set { frames[key] = newValue }
  }

  /// The last `count` frames of clips that follow one another, as a copy of their own.
  public static func last(_ count: Int, of clips: [Tensor]) -> Tensor {
    var parts: [Tensor] = [], left = count
    for clip in clips.reversed() where left > 0 {
      let taken = min(left, clip.shape[0])
      parts.insert(clip.slice(clip.shape[0] - taken..<clip.shape[0]), at: 0)
      left -= taken
    }
    return Tensor.concatenated(parts)
  }
}
