import Checkpoints
import DiffusionModels
import Kernels
import SparseAttention
import Tensors

/// A loaded transformer and how its family is conditioned and guided.
final class NoisePredictor {
  private enum Model {
    case pixArt(PixArtTransformer2DModel)
    case diT(DiTTransformer2DModel)
    case wan(WanExperts)
  }
  private let model: Model
  let precision: Precision
  /// The choice it was loaded for.
  let compression: KeyValueCompression?

  /// - Parameter compression: which layers shorten keys and values; `nil` is what the checkpoint says.
  init(_ folder: PipelineFolder, precision: Precision, compression: KeyValueCompression?) throws {
    self.precision = precision
    self.compression = compression
    if folder.kind == .wan {
      model = .wan(try WanExperts(folder, precision: precision))
      return
    }
    let store = try WeightStore(folder: folder.folder(of: "transformer"))
    let weights = store.scope(precision)
    switch folder.kind {
    case .pixArtSigma, .pixArtAlpha:
      model = .pixArt(
        try PixArtTransformer2DModel(folder.config(of: "transformer"), weights: weights, compression: compression))
    case .diT:
      model = .diT(try DiTTransformer2DModel(folder.config(of: "transformer"), weights: weights))
    case .wan: preconditionFailure("loaded above")
    }
    try store.verifyAllRead()
    weights.releasePages()
  }

  /// The prediction with guidance, as a closure for the denoising loop: latents to the same shape.
  ///
  /// Each branch is predicted by itself. Where the model also predicts variances, its first `C` channels are the noise.
  func guided(
    _ request: GenerationRequest, texts: [Tensor], attention: any AttentionEngine
  ) -> (_ input: Tensor, _ timestep: Float, _ step: Int) throws -> Tensor {
    let branches = self.branches(request, texts)
    let scale = Float(request.guidanceScale)
    return { [self] input, timestep, step in
      let channels = input.shape[1]
      let predictions = try branches.enumerated().map { index, branch in
        let call = DenoisingCall(step: step, of: request.steps, branch: index)
        let component = component(at: timestep)
        let prediction = try naming(component, step: step + 1) {
          try branch(input, timestep, call, attention).narrowed(axis: 1, 0..<channels)
        }
        guard prediction.isFinite else { throw PipelineError.notFinite(component: component, step: step + 1) }
        return prediction
      }
      guard predictions.count == 2 else { return predictions[0] }
      // without + scale * (with - without)
      let difference = weightedSum(1, predictions[0], -1, predictions[1])
      return weightedSum(scale, difference, 1, predictions[1])
    }
  }

  /// The component that predicts at a timestep.
  private func component(at timestep: Float) -> String {
    if case .wan(let experts) = model { experts.component(at: timestep) } else { "transformer" }
  }

  private typealias Branch = (Tensor, Float, DenoisingCall, any AttentionEngine) throws -> Tensor

  /// With the condition, then without.
  private func branches(_ request: GenerationRequest, _ texts: [Tensor]) -> [Branch] {
    switch model {
    case .pixArt(let model):
      let size: (Float, Float)? =
        model.usesAdditionalConditions ? (Float(request.modelHeight), Float(request.modelWidth)) : nil
      return texts.map { text in
        { input, timestep, call, attention in
          try model(
            input, timestep: timestep, conditioning: PixArtConditioning(text: text, resolution: size), call: call,
            attention: attention)
        }
      }
    case .diT(let model):
      let label = request.classLabel?.id ?? model.configuration.classes
      let labels = request.usesGuidance ? [label, model.configuration.classes] : [label]
      return labels.map { label in
        { input, timestep, call, attention in
          try model(input, timestep: timestep, conditioning: [label], call: call, attention: attention)
        }
      }
    case .wan(let experts):
      return texts.map { text in
        { input, timestep, call, attention in
          try experts.model(at: timestep)(
            input, timestep: timestep, conditioning: text, call: call, attention: attention)
        }
      }
    }
  }
}
