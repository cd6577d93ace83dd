import DiffusionModels
import DiffusionPipelines
import Foundation
import SparseAttention
import Sweeps
import Tensors

/// A variant, its attention chosen.
struct PlannedVariant {
  var family: String
  var choice: AttentionChoice
  var compression: KeyValueCompression?
  var target: Double?
  var role: Variant.Role

  static func reference(_ dtype: DtypeChoice) -> PlannedVariant {
    PlannedVariant(family: AttentionMethods.dense, choice: .dense, role: .dense)
  }

  /// As results describe it, with the sampling of a request.
  func variant(_ request: GenerationRequest) -> Variant {
    Variant(
      family: family, attention: choice.text, targetDensity: target, denseSteps: choice.denseSteps,
      denseLayers: choice.denseLayers, kvCompression: compression?.description, dtype: request.precision.rawValue,
      scheduler: request.scheduler, steps: request.steps, role: role)
  }
}

/// Turns a spec's methods into variants: solves for densities, adds random baselines and controls.
final class VariantPlanner {
  private let spec: SweepSpec
  private let resolveAttention: AttentionResolver
  private let folder: PipelineFolder
  private(set) var notices: [String] = []

  init(spec: SweepSpec, resolveAttention: AttentionResolver, folder: PipelineFolder) {
    (self.spec, self.resolveAttention, self.folder) = (spec, resolveAttention, folder)
  }

  /// All variants of one arithmetic but the reference.
  /// - Parameter isFirst: whether notices have not been given for another arithmetic yet.
  func variants(_ request: GenerationRequest, dtype: DtypeChoice, isFirst: Bool) throws -> [PlannedVariant] {
    var all: [PlannedVariant] = [], controls: [PlannedVariant] = []
    for method in spec.methods where method.dtype?.contains(dtype) ?? true {
      let made = try self.methods(method, request, isFirst: isFirst)
      all += made
      if spec.hasControls { controls.append(try control(method, request)) }
    }
    if spec.hasRandomBaseline { all += try baselines(of: all, request) }
    var seen: Set<String> = []
    return (all + controls).filter {
      seen.insert("\($0.role) \($0.family) \($0.choice.text) \($0.compression?.description ?? "")").inserted
    }
  }

  private func methods(
    _ method: SweepSpec.Method, _ request: GenerationRequest, isFirst: Bool
  ) throws -> [PlannedVariant] {
    var given = try AttentionChoice(parsing: method.attention)
    let compression = try method.kvCompression.map { try KeyValueCompression(parsing: $0) }
    var densities: [Double?] = (method.densities ?? spec.densities ?? []).map(Optional.some)
    if let own = given.options.removeValue(forKey: AttentionMethods.densityOption) {
      guard let text = own.plainText, let density = Double(text) else {
        throw CommandError.usage("\(method.attention): expected a number at density")
      }
      densities = [density]
    }
    let family = method.family ?? Self.family(given, compression)
    let isDense = try resolveAttention.methods.information(given.method) == nil
    var all: [PlannedVariant] = []
    for density in densities.isEmpty || isDense ? [nil] : densities {
      for denseSteps in method.denseSteps.map({ $0.map(Optional.some) }) ?? [given.denseSteps] {
        for denseLayers in method.denseLayers.map({ $0.map(Optional.some) }) ?? [given.denseLayers] {
          var choice = given
          if let density {
            choice = try solved(
              given, density: density, request, saysMisses: isFirst && all.allSatisfy { $0.target != density })
          }
          (choice.denseSteps, choice.denseLayers) = (denseSteps, denseLayers)
          all.append(
            PlannedVariant(
              family: family, choice: choice, compression: compression, target: density, role: .method))
        }
      }
    }
    return all
  }

  private static func family(_ choice: AttentionChoice, _ compression: KeyValueCompression?) -> String {
    var plain = choice
    (plain.denseSteps, plain.denseLayers) = (nil, nil)
    return plain.text + (compression.map { " + kv \($0.description)" } ?? "")
  }

  private func solved(
    _ given: AttentionChoice, density: Double, _ request: GenerationRequest, saysMisses: Bool
  ) throws -> AttentionChoice {
    let context = try resolveAttention.context(request)
    let (options, reached) = try resolveAttention.methods.solve(
      given.method, options: given.optionTexts(), density: density, context: context)
    var choice = given
    choice.options = options.mapValues(JSONValue.init(plainText:))
    if saysMisses, let reached, abs(reached - density) > AttentionMethods.densityTolerance * density {
      notices.append(
        "\(given.method): density \(density) cannot be had on this grid; the nearest is \(fixed(reached, 3)) "
          + "(\(choice.text))")
    }
    return choice
  }

  /// One random mask for each density, and dense steps and layers, that a method runs with.
  private func baselines(of variants: [PlannedVariant], _ request: GenerationRequest) throws -> [PlannedVariant] {
    var seen: Set<String> = []
    return try variants.compactMap { variant in
      guard let density = variant.target else { return nil }
      var own = request
      own.attention = variant.choice
      let resolved = try resolveAttention(own).choice
      guard seen.insert("\(density) \(resolved.denseSteps ?? 0) \(resolved.denseLayers ?? 0)").inserted else {
        return nil
      }
      var choice = try solved(AttentionChoice(method: "random"), density: density, request, saysMisses: false)
      (choice.denseSteps, choice.denseLayers) = (resolved.denseSteps, resolved.denseLayers)
      return PlannedVariant(family: "random", choice: choice, target: density, role: .baseline)
    }
  }

  /// The method with options that keep everything, in every step and layer; where its tables have no such plan, a
  /// random mask that keeps everything.
  private func control(_ method: SweepSpec.Method, _ request: GenerationRequest) throws -> PlannedVariant {
    let given = try AttentionChoice(parsing: method.attention)
    let context = try resolveAttention.context(request)
    for choice in [given, AttentionChoice(method: given.method), AttentionChoice(method: "random")]
    where choice.method != AttentionMethods.dense {
      guard
        let (options, reached) = try? resolveAttention.methods.solve(
          choice.method, options: choice.optionTexts(), density: 1, context: context), reached ?? 1 == 1
      else { continue }
      var full = choice
      full.options = options.mapValues(JSONValue.init(plainText:))
      (full.denseSteps, full.denseLayers) = (0, 0)
      return PlannedVariant(
        family: "control \(choice.method)", choice: full, target: 1, role: .control)
    }
    return PlannedVariant(family: "control dense", choice: .dense, target: 1, role: .control)
  }
}
