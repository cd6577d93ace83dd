import Checkpoints
import Kernels
import Tensors

/// Layer norm over the last axis with learned weights. Checkpoint: `weight`, `bias` `[D]`.
public struct LayerNorm: Sendable {
  let weight: Tensor, bias: Tensor, epsilon: Float

  public init(_ weights: WeightScope, _ size: Int, epsilon: Float) throws {
    weight = try weights.tensor("weight", size)
    bias = try weights.tensor("bias", size)
    self.epsilon = epsilon
  }
  /// `[..., D]` to the same.
  public func callAsFunction(_ x: Tensor) -> Tensor { layerNorm(x, epsilon: epsilon, scale: weight, shift: bias) }

  /// `[..., D]` to rows of products.
  public func callAsFunction(_ x: Tensor, _ precision: Precision) -> PreparedRows {
    PreparedRows(layerNorm: x, epsilon: epsilon, scale: weight, shift: bias, precision: precision)
  }
}

/// Root-mean-square norm over the last axis. Checkpoint: `weight` `[D]`.
public struct RMSNorm: Sendable {
  let weight: Tensor, epsilon: Float

  public init(_ weights: WeightScope, _ size: Int, epsilon: Float) throws {
    weight = try weights.tensor("weight", size)
    self.epsilon = epsilon
  }
  /// `[..., D]` to the same.
  public func callAsFunction(_ x: Tensor) -> Tensor { rmsNorm(x, epsilon: epsilon, scale: weight) }

  /// `[B, N, h * d]` to normalised heads `[B, h, N, d]`, turned by `rotary` where given.
  public func callAsFunction(_ x: Tensor, heads: Int, _ rotary: RotaryEmbedding? = nil) -> Tensor {
    rmsNormHeads(x, heads: heads, epsilon: epsilon, scale: weight, angles: rotary.map { ($0.cos, $0.sin) })
  }
}

/// Group norm of channels-last images, with SiLU after it when asked. Checkpoint: `weight`, `bias` `[C]`.
public struct GroupNorm: Sendable {
  let weight: Tensor, bias: Tensor, groups: Int, epsilon: Float

  public init(_ weights: WeightScope, _ channels: Int, groups: Int, epsilon: Float) throws {
    weight = try weights.tensor("weight", channels)
    bias = try weights.tensor("bias", channels)
    (self.groups, self.epsilon) = (groups, epsilon)
  }
  /// `[B, H, W, C]` to the same.
  public func callAsFunction(_ x: Tensor) -> Tensor { transform(of: x)(x) }

  /// What it does to the pixels of `x`, to be done on the way into a convolution.
  public func transform(of x: Tensor, silu: Bool = false) -> PixelTransform {
    PixelTransform(groupNorm: x, groups: groups, epsilon: epsilon, scale: weight, shift: bias, silu: silu)
  }
}
