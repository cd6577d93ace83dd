import Checkpoints
import Kernels
import Tensors

/// `x W^T + b`. Checkpoint: `weight` `[outputs, inputs]`, `bias` `[outputs]`.
public struct Linear: Sendable {
  let weight: PreparedMatrix
  let bias: Tensor?

  /// - Parameter bias: whether the checkpoint has a bias.
  public init(_ weights: WeightScope, _ inputs: Int, _ outputs: Int, bias: Bool = true) throws {
    let shape = [outputs, inputs]
    weight =
      try weights.isStreamed
      ? PreparedMatrix(streaming: weights.stored("weight", shape, isChecked: false), precision: weights.precision) {
        weights.report("weight", $0 == .notFinite)
      }
      : weights.prepared("weight", shape) { PreparedMatrix($0, precision: weights.precision) }
    self.bias = bias ? try weights.tensor("bias", outputs) : nil
  }

  /// A linear layer stored as a convolution whose kernel covers its input once, `[outputs, inputs, p, p]`: its inputs
  /// are patches flattened in the order channel, row, column.
  public init(patches weights: WeightScope, channels: Int, patch: Int, _ outputs: Int, bias: Bool = true) throws {
    try self.init(patches: weights, channels: channels, extents: [patch, patch], outputs, bias: bias)
  }

  /// The same for patches of any extents, such as `[frames, rows, columns]`.
  public init(patches weights: WeightScope, channels: Int, extents: [Int], _ outputs: Int, bias: Bool = true) throws {
    weight = try weights.prepared("weight", [outputs, channels] + extents) {
      PreparedMatrix($0, precision: weights.precision)
    }
    self.bias = bias ? try weights.tensor("bias", outputs) : nil
  }

  /// `[..., inputs]` to `[..., outputs]`, with an activation at the end when given.
  public func callAsFunction(_ x: Tensor, _ activation: Activation? = nil) -> Tensor {
    linear(x, weight, bias: bias, activation: activation)
  }

  /// The same for rows that several layers share.
  public func callAsFunction(_ x: PreparedRows, _ activation: Activation? = nil) -> Tensor {
    linear(x, weight, bias: bias, activation: activation)
  }

  /// `[B, N, inputs]` to heads `[B, h, N, d]`.
  public func callAsFunction(_ x: PreparedRows, heads: Int) -> Tensor {
    linear(x, weight, bias: bias, heads: heads)
  }

  /// `residual + gate * layer(x)`; without a gate the plain sum.
  public func callAsFunction(_ x: PreparedRows, onto residual: Tensor, gate: Tensor? = nil) -> Tensor {
    linear(x, weight, bias: bias, onto: residual, gate: gate)
  }

  /// What rows for this layer are prepared in.
  public var precision: Precision { weight.precision }
}
