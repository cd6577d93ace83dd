import Checkpoints
import Foundation
import Kernels
import Tensors

/// Sinusoids of a number, cosines first: `[values.count, size]`.
///
/// diffusers `get_timestep_embedding` with `flip_sin_to_cos`. Angles are rounded to Float32 where upstream rounds them:
/// at timestep 999 one unit in the last place of a frequency is 6e-5 of angle.
/// - Parameter shift: `downscale_freq_shift`.
public func sinusoidalEmbedding(_ values: [Float], size: Int, shift: Float) -> Tensor {
  let half = size / 2
  let frequencies = (0..<half).map { index -> Float in
    let exponent = Float(-log(10000.0)) * Float(index) / (Float(half) - shift)
    return Float(exp(Double(exponent)))
  }
  var elements: [Float] = []
  for value in values {
    let angles = frequencies.map { Double(value * $0) }
    elements += angles.map { Float(cos($0)) } + angles.map { Float(sin($0)) }
    if size % 2 == 1 { elements.append(0) }
  }
  return Tensor([values.count, size], elements)
}

/// Two linear layers with SiLU between. Checkpoint: `linear_1`, `linear_2`.
public struct TimestepEmbedding: Sendable {
  let linear1: Linear, linear2: Linear

  public init(_ weights: WeightScope, _ inputs: Int, _ outputs: Int) throws {
    linear1 = try Linear(weights["linear_1"], inputs, outputs)
    linear2 = try Linear(weights["linear_2"], outputs, outputs)
  }

  /// `[B, inputs]` to `[B, outputs]`.
  public func callAsFunction(_ x: Tensor) -> Tensor { linear2(linear1(x, .silu)) }
}
