import DiffusionModels
import SparseAttention
import Tensors

/// A request's attention, checked: the method made, every option resolved.
public struct ResolvedAttention: Sendable {
  public let context: MethodContext
  /// The method with every option, and the dense steps and layers, that are in force.
  public let choice: AttentionChoice
  /// `nil` for dense attention.
  public let method: (any AttentionMethod)?
  /// The files that the method plans by, fingerprinted right after it read them.
  public let calibration: [RunRecord.CalibrationFile]
  /// The layers that shorten keys and values; `nil` where none does.
  public let compression: CompressedLayers?

  /// Whether the plan, and so its density, is known only when queries and keys are.
  public var dependsOnContent: Bool { method is any ContentPlanner }

  /// An engine for one run.
  public func engine(_ precision: Precision) -> PlannedAttention {
    PlannedAttention(
      method, executor: BlockSparseExecutor(precision), denseSteps: choice.denseSteps, denseLayers: choice.denseLayers,
      stepCount: context.stepCount)
  }
}

/// Turns what requests ask of attention into methods, before any weight is loaded. Requests alike share one.
public final class AttentionResolver {
  private struct Key: Hashable {
    let choice: AttentionChoice, context: MethodContext, compression: CompressedLayers?, usesGuidance: Bool
  }

  public let methods: AttentionMethods
  let weights: WeightFingerprints
  private let folder: PipelineFolder, geometry: ModelGeometry
  private var resolved: [Key: ResolvedAttention] = [:]
  private var forecasts: [Key: AttentionForecast] = [:]

  public init(_ folder: PipelineFolder, _ geometry: ModelGeometry, methods: AttentionMethods = .standard) {
    (self.folder, self.geometry, self.methods) = (folder, geometry, methods)
    weights = WeightFingerprints(folder)
  }

  /// Throws ``AttentionError`` for what the method refuses, ``PipelineError/badRequest(_:)`` for dense steps or layers
  /// that the run does not have, `KeyValueCompressionError` for a compression that the model does not.
  public func callAsFunction(_ request: GenerationRequest) throws -> ResolvedAttention {
    let key = try key(request), choice = key.choice, context = key.context
    if let known = resolved[key] { return known }
    try check(choice.denseSteps, AttentionChoice.denseStepsName, upTo: request.steps, "the steps of this run")
    try check(choice.denseLayers, AttentionChoice.denseLayersName, upTo: context.layerCount, "the layers of this model")
    let (method, options) = try methods.make(choice.method, options: choice.optionTexts(), context: context)
    var inForce = choice
    inForce.options = options.mapValues(JSONValue.init(plainText:))
    inForce.denseSteps = choice.denseSteps ?? method?.defaultDenseSteps(of: request.steps)
    inForce.denseLayers = choice.denseLayers ?? method?.defaultDenseLayers
    let calibration = try method?.calibrationFiles.map { try RunRecord.CalibrationFile(path: $0) } ?? []
    let result = ResolvedAttention(
      context: context, choice: inForce, method: method, calibration: calibration, compression: key.compression)
    resolved[key] = result
    return result
  }

  /// What the run will keep, where that can be told beforehand.
  public func forecast(_ request: GenerationRequest) throws -> AttentionForecast {
    let key = try key(request)
    if let known = forecasts[key] { return known }
    let result = try AttentionForecast(self(request), request)
    forecasts[key] = result
    return result
  }

  /// Names the transformer's weights.
  public func modelHash() throws -> String { try weights.modelHash() }

  private func key(_ request: GenerationRequest) throws -> Key {
    let isDense = try methods.information(request.attention.method) == nil
    return try Key(
      choice: request.attention, context: context(request, hashesModel: !isDense),
      compression: geometry.compressedLayers(of: request), usesGuidance: request.usesGuidance)
  }

  /// The run that a request's methods are made for.
  /// - Parameter hashesModel: whether to read the transformer's weights for the hash that calibration files name.
  public func context(_ request: GenerationRequest, hashesModel: Bool = true) throws -> MethodContext {
    MethodContext(
      layout: geometry.tokenLayout(of: request), layerCount: geometry.transformer.layers, stepCount: request.steps,
      heads: geometry.transformer.heads, calibrationFolder: folder.calibrationFolder,
      modelHash: hashesModel ? try weights.modelHash() : nil)
  }

  private func check(_ count: Int?, _ name: String, upTo limit: Int, _ what: String) throws {
    guard let count, !(0...limit).contains(count) else { return }
    throw PipelineError.badRequest("\(name): expected 0 to \(limit), \(what), found \(count)")
  }
}

extension PipelineFolder {
  /// Where the tables of attention methods for this model are.
  public var calibrationFolder: String { path.hasSuffix("/") ? "\(path)attention" : "\(path)/attention" }
}
