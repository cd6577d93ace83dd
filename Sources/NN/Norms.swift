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
  public func callAsFunction(_ x: Tensor, silu: Bool = false) -> Tensor {
    groupNorm(x, groups: groups, epsilon: epsilon, scale: weight, shift: bias, silu: silu)
  }
}
