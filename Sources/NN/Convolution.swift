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
    weight = PreparedConvolution(
      try weights.tensor("weight", outputs, inputs, kernel, kernel), precision: weights.precision)
    self.bias = bias ? try weights.tensor("bias", outputs) : nil
    (self.stride, self.padding) = (stride, padding)
  }

  /// `[B, H, W, inputs]` to `[B, H', W', outputs]`.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    conv2d(x, weight, bias: bias, stride: stride, padding: padding)
  }
}
