import Checkpoints
import SparseAttention
import Tensors

/// A network that predicts noise, velocity or image from noisy latents.
public protocol Denoiser {
  /// The model's `config.json`.
  associatedtype Configuration: Decodable & Sendable
  /// What the prediction depends on besides latents and time.
  associatedtype Conditioning
  /// The checkpoint's `_class_name`.
  static var className: String { get }
  init(_ configuration: Configuration, weights: WeightScope) throws

  /// - Parameters:
  ///   - latents: `[B, C, H, W]`.
  ///   - timestep: the scheduler's timestep, 0...1000.
  ///   - call: which prediction of the run this is.
  /// - Returns: `[B, C', H, W]`; `C'` may be `2C` where the model also predicts variances.
  func callAsFunction(
    _ latents: Tensor, timestep: Float, conditioning: Conditioning, call: DenoisingCall, attention: any AttentionEngine
  ) throws -> Tensor
}
