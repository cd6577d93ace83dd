import Checkpoints
import Kernels
import Tensors

/// Linear, activation, linear. Checkpoint: `net.0.proj`, `net.2`
/// (diffusers `FeedForward` with `activation_fn` `gelu` or `gelu-approximate`).
public struct FeedForward: Sendable {
  let input: Linear, output: Linear, activation: Activation

  /// - Parameter hidden: width between the two; four times the size by default.
  public init(_ weights: WeightScope, _ size: Int, hidden: Int? = nil, activation: Activation) throws {
    input = try Linear(weights["net"][0]["proj"], size, hidden ?? 4 * size)
    output = try Linear(weights["net"][2], hidden ?? 4 * size, size)
    self.activation = activation
  }

  /// `residual + gate * feedForward(x)`, `x` and the result `[B, N, D]`.
  public func callAsFunction(_ x: PreparedRows, onto residual: Tensor, gate: Tensor) -> Tensor {
    feedForward(x, (input.weight, input.bias), activation, (output.weight, output.bias), onto: residual, gate: gate)
  }

  /// What rows for it are prepared in.
  public var precision: Precision { input.precision }
}
