import DiffusionModels
import DiffusionPipelines
import Foundation
import SparseAttention

/// What `--dry-run` prints: the cost of the first result, and of the whole run.
struct DryRunReport: Encodable {
  struct Attention: Encodable {
    var method: String
    /// Every option with the value in force.
    var options: [String: JSONValue]
    var denseSteps, denseLayers: Int
    /// Of sparse calls, where it can be known beforehand.
    var density: Double?
    /// Of the whole run.
    var runDensity: Double?
    /// The layers that shorten keys and values.
    var kvCompression: CompressedLayers?

    private enum CodingKeys: CodingKey {
      case method, options, denseSteps, denseLayers, density, runDensity, kvCompression
    }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(method, forKey: .method)
      try container.encode(options, forKey: .options)
      try container.encode(denseSteps, forKey: .denseSteps)
      try container.encode(denseLayers, forKey: .denseLayers)
      try container.encode(density, forKey: .density)
      try container.encode(runDensity, forKey: .runDensity)
      try container.encodeIfPresent(kvCompression, forKey: .kvCompression)
    }

    /// For people.
    var text: String {
      let choice = AttentionChoice(method: method, options: options).text
      guard let density, let runDensity else {
        return "\(choice), density depends on content (operations are counted as dense), \(staysDense)"
      }
      guard method != AttentionMethods.dense else { return "\(choice), density \(fixed(runDensity, 3))" }
      return "\(choice), density \(fixed(density, 3)), of the whole run \(fixed(runDensity, 3)), \(staysDense)"
    }

    private var staysDense: String { "dense steps \(denseSteps), dense layers \(denseLayers)" }
  }

  var pipeline, className: String
  var width, height, modelWidth, modelHeight, steps: Int
  /// Of clips.
  var numFrames: Int?, fps: Double?
  var guidanceScale: Double
  var seed: UInt64
  var dtype: String
  var threads: Int
  var output: String
  var tokenGrid: [Int]
  var tokens: Int
  var attention: Attention
  var weightsBytes: [String: Int]
  var peakMemoryBytes: [String: Int]
  /// Its parts: pages of no file, and of files.
  var peakAnonymousBytes, peakMappedBytes: [String: Int]
  var flops: Double
  var estimatedSeconds: Double
  /// Results of the run, and their cost together.
  var results: Int
  var totalFlops: Double
  var totalEstimatedSeconds: Double

  private var phases: [MemoryEstimate.Phase]

  private enum CodingKeys: CodingKey {
    case pipeline, className, width, height, modelWidth, modelHeight, numFrames, fps, steps, guidanceScale, seed, dtype
    case threads, output
    case tokenGrid, tokens, attention, weightsBytes, peakMemoryBytes, peakAnonymousBytes, peakMappedBytes
    case flops, estimatedSeconds, results, totalFlops, totalEstimatedSeconds
  }

  /// `nil` for a plan without a valid result.
  init?(_ plan: GenerationPlan, processor: ProcessorTraits) throws {
    guard let first = plan.results.first else { return nil }
    let request = first.request
    let cores = min(plan.threads, max(1, processor.physicalCores))
    let forecasts = try plan.results.map { try plan.resolveAttention.forecast($0.request) }
    let estimates = zip(plan.results, forecasts).map {
      MemoryEstimate(
        $0.request, geometry: plan.geometry, weights: plan.weights, attentionDensity: $1.runDensity ?? 1)
    }
    let estimate = estimates[0]
    let seconds = estimates.map { $0.seconds(cores: cores, speed: processor.speed) }
    let resolved = try plan.resolveAttention(request), choice = resolved.choice
    pipeline = plan.folder.path
    className = plan.folder.kind.rawValue
    (width, height, modelWidth, modelHeight) = (request.width, request.height, request.modelWidth, request.modelHeight)
    if plan.kind == .video { (numFrames, fps) = (request.frames, request.framesPerSecond) }
    (steps, guidanceScale, seed) = (request.steps, request.guidanceScale, request.seed)
    dtype = request.precision.rawValue
    threads = plan.threads
    output = first.output
    tokenGrid = estimate.tokenGrid
    tokens = estimate.tokens
    attention = Attention(
      method: choice.method, options: choice.options, denseSteps: choice.denseSteps ?? 0,
      denseLayers: choice.denseLayers ?? 0, density: forecasts[0].density, runDensity: forecasts[0].runDensity,
      kvCompression: resolved.compression)
    phases = estimate.phases
    func byPhase(_ bytes: (MemoryEstimate.Phase) -> Int) -> [String: Int] {
      Dictionary(uniqueKeysWithValues: estimate.phases.map { ($0.name, bytes($0)) })
    }
    weightsBytes = byPhase(\.weightsBytes)
    peakMemoryBytes = byPhase(\.peakBytes)
    (peakAnonymousBytes, peakMappedBytes) = (byPhase(\.anonymousBytes), byPhase(\.mappedBytes))
    flops = estimate.flops
    estimatedSeconds = seconds[0]
    results = plan.results.count
    totalFlops = estimates.reduce(0) { $0 + $1.flops }
    totalEstimatedSeconds = seconds.reduce(0, +)
  }

  /// The report for people.
  var text: String {
    let isDrawnAsAsked = modelWidth == width && modelHeight == height
    let size = "\(width)x\(height)" + (isDrawnAsAsked ? "" : " (drawn at \(modelWidth)x\(modelHeight))")
    let length = numFrames.map { ", \($0) frames at \(fps ?? 0) a second" } ?? ""
    var lines = [
      "pipeline    \(pipeline) (\(className))",
      "\(numFrames == nil ? "picture" : "clip   ")     \(size)\(length), \(steps) steps, guidance \(guidanceScale), seed \(seed), \(dtype), \(threads) threads",
      "output      \(output)" + (results > 1 ? " and \(results - 1) more" : ""),
      "token grid  \(tokenGrid.map(String.init).joined(separator: " x ")) = \(tokens) tokens",
      "attention   \(attention.text)",
    ]
    if let short = attention.kvCompression { lines.append("keys        \(short.summary)") }
    for phase in phases {
      let name = phase.name + String(repeating: " ", count: max(0, 12 - phase.name.count))
      lines.append(
        "\(name)weights \(formatBytes(phase.weightsBytes)), peak memory \(formatBytes(phase.peakBytes)) (estimate; "
          + "\(formatBytes(phase.mappedBytes)) of it mapped files), \(Self.operations(phase.flops)), \(phase.precision.rawValue)"
      )
    }
    lines.append(
      "in all      \(Self.operations(totalFlops)), about \(Self.duration(totalEstimatedSeconds)) "
        + "(estimate, from nominal speeds)")
    return lines.joined(separator: "\n") + "\n"
  }

  private static func operations(_ count: Double) -> String {
    let units: [(Double, String)] = [(1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP")]
    let unit = units.first { count >= $0.0 } ?? (1, "FLOP")
    return "\(fixed(count / unit.0, 1)) \(unit.1)"
  }

  private static func duration(_ seconds: Double) -> String {
    seconds < 60 ? "\(fixed(seconds, seconds < 10 ? 1 : 0)) s" : ProgressPrinter.clock(seconds)
  }
}

extension CompressedLayers {
  /// For people.
  var summary: String {
    let list = layers.map(String.init).joined(separator: ", ")
    return "\(mode.rawValue), one for \(ratio)x\(ratio) tokens in layer\(layers.count == 1 ? "" : "s") \(list)"
  }
}
