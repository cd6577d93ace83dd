import Checkpoints
import DiffusionModels
import Tensors

/// Wan's transformer, or in Wan 2.2 A14B its two: one for noisy latents, one from a boundary on. Timesteps only fall, so
/// the second is loaded when its turn comes and the first is let go.
final class WanExperts {
  private let folder: PipelineFolder, precision: Precision
  /// Below this timestep the second transformer predicts; `nil` where there is one only.
  private let boundary: Float?
  private var loaded: (component: String, model: WanTransformer3DModel)?

  init(_ folder: PipelineFolder, precision: Precision) throws {
    (self.folder, self.precision) = (folder, precision)
    // A ratio without a second transformer is ignored: converted folders of Wan 2.1 carry one.
    if folder.components["transformer_2"] != nil, let ratio = folder.extras["boundary_ratio"]?.double {
      boundary = Float(ratio * (try folder.rawConfig(of: "scheduler")["num_train_timesteps"]?.double ?? 1000))
    } else {
      boundary = nil
    }
    _ = try load("transformer")
  }

  /// Which of them predicts at a timestep.
  func component(at timestep: Float) -> String {
    boundary.map { timestep < $0 } == true ? "transformer_2" : "transformer"
  }

  /// The transformer that predicts at a timestep.
  func model(at timestep: Float) throws -> WanTransformer3DModel { try load(component(at: timestep)) }

  private func load(_ component: String) throws -> WanTransformer3DModel {
    if let loaded, loaded.component == component { return loaded.model }
    loaded = nil
    MemoryBlock.releaseKept()
    let store = try WeightStore(folder: folder.folder(of: component)), weights = store.scope(precision)
    let model = try WanTransformer3DModel(folder.config(of: component), weights: weights)
    try store.verifyAllRead()
    weights.releasePages()
    loaded = (component, model)
    return model
  }
}

extension JSONValue {
  fileprivate var double: Double? {
    switch self {
    case .number(let value): value
    case .integer(let value): Double(value)
    default: nil
    }
  }
}
