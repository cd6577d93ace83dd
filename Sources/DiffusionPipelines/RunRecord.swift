import DiffusionModels
import Foundation
import Kernels
import SparseAttention
import Tensors
import TolerantJSON

/// This project's version, as printed and recorded.
public let tesseraVersion = "0.1.0"

/// Everything that made a result, written into its metadata: enough to make it again with `--config`, and to tell runs
/// apart. JSON keys are the property names in snake case.
public struct RunRecord: Sendable, Hashable, Codable {
  public static let schemaName = "tessera.run"

  /// What was asked for, under the names of the command line's flags.
  public struct Settings: Sendable, Hashable, Codable {
    /// The pipeline folder as it was given.
    public var pipeline: String
    public var prompt: String?
    public var negativePrompt: String?
    /// The class id.
    public var classLabel: Int?
    public var width, height: Int
    /// Of clips.
    public var numFrames: Int?, fps: Double?
    /// How a clip was encoded, where that was asked for.
    public var codec: String?, crf: Int?, preset: String?
    public var resolutionBinning: ResolutionBinning
    public var steps: Int
    public var guidanceScale: Double
    public var seed: UInt64
    public var scheduler: String?
    public var flowShift: Double?
    public var maxSequenceLength: Int?
    public var cleanCaption: Bool?
    public var dtype: Precision
    public var rng: NoiseGenerator
    public var vaeTiling: AutoencoderTiling
    /// The method with its options, as ``AttentionChoice/text``: of a finished run with all that was in force, dense
    /// steps and layers among it.
    public var attention: String
    public var denseSteps, denseLayers: Int?
    /// As the flag spells it; absent where it was left to the checkpoint.
    public var kvCompression: String?
  }

  public struct Tool: Sendable, Hashable, Codable {
    public var name = "tessera"
    public var version = tesseraVersion
  }

  /// A weight file, and a fingerprint of what is in it.
  public struct WeightFile: Sendable, Hashable, Codable {
    public var component, file: String
    public var bytes: Int
    /// `sha256:...` of all bytes, or for a file above 64 MiB `sampled-sha256:...` of its size and parts spread evenly.
    public var fingerprint: String
  }

  /// A file that an attention method plans by, and the fingerprint of what is in it.
  public struct CalibrationFile: Sendable, Hashable, Codable {
    public var file: String
    public var fingerprint: String
  }

  public struct Model: Sendable, Hashable, Codable {
    public var className, name: String
    public var classLabelName: String?
    public var weights: [WeightFile] = []
  }

  public struct Compute: Sendable, Hashable, Codable {
    public var dtype: Precision
    /// The code path of the kernels.
    public var cpu = ""
    /// Not in a picture's metadata, whose bytes do not depend on it.
    public var threads: Int?
  }

  public struct Attention: Sendable, Hashable, Codable {
    public var method: String
    /// Every option with the value in force.
    public var options: [String: JSONValue]
    /// The files that the method planned by; absent where it needs none.
    public var calibration: [CalibrationFile]?
    /// Share of query-key pairs kept, measured over the calls that the method planned.
    public var density: Double?
    /// The same over all self-attention calls of the run.
    public var runDensity: Double?
    public var denseSteps, denseLayers: Int?
    /// The layers that shortened keys and values; absent where none did.
    public var kvCompression: CompressedLayers?
    /// Frames, height and width in tokens.
    public var tokenGrid: [Int]
    public var tokens: Int
  }

  public struct SchedulerUsed: Sendable, Hashable, Codable {
    public var className: String
    /// The resolved configuration.
    public var config: [String: JSONValue]
    public init(className: String, config: [String: JSONValue]) {
      self.className = className
      self.config = config
    }
  }

  public struct Noise: Sendable, Hashable, Codable {
    public var generator: NoiseGenerator
    public var seed: UInt64
    /// SHA-256 of the initial noise as little-endian Float32, in latent order.
    public var sha256: String?
  }

  public struct Result: Sendable, Hashable, Codable {
    public var width, height: Int
    /// The size the model drew, where the result was brought to another.
    public var modelWidth, modelHeight: Int
  }

  public var schema = RunRecord.schemaName
  public var schemaVersion = 1
  public var kind = "image"
  public var tool = Tool()
  public var request: Settings
  public var model: Model
  public var compute: Compute
  public var attention: Attention
  public var scheduler: SchedulerUsed?
  public var noise: Noise
  public var result: Result
  /// Wall-clock seconds by phase. Not in a picture's metadata, which is the same for the same request.
  public var seconds: [String: Double]?
  /// The most memory the process had held by the end of each phase, mapped files included. As little in metadata, nor
  /// are its parts.
  public var peakMemoryBytes: [String: Int]?
  /// The parts of ``peakMemoryBytes``, as ``ProcessMemory/Peak/use`` has them: pages of no file, and of files.
  public var peakAnonymousBytes, peakMappedBytes: [String: Int]?
}

extension RunRecord {
  /// The part known before a run: the pipeline adds weights, compute, scheduler, noise hash and seconds as it goes.
  public init(request: GenerationRequest, folder: PipelineFolder, geometry: ModelGeometry) {
    let usesText = !folder.kind.takesClassLabel
    self.request = Settings(
      pipeline: folder.path, prompt: usesText ? request.prompt : nil,
      negativePrompt: usesText ? request.negativePrompt : nil, classLabel: request.classLabel?.id,
      width: request.width, height: request.height, numFrames: folder.kind.isVideo ? request.frames : nil,
      fps: folder.kind.isVideo ? request.framesPerSecond : nil, resolutionBinning: request.resolutionBinning,
      steps: request.steps, guidanceScale: request.guidanceScale, seed: request.seed, scheduler: request.scheduler,
      flowShift: request.flowShift, maxSequenceLength: usesText ? request.maxSequenceLength : nil,
      cleanCaption: usesText ? request.cleanCaption : nil, dtype: request.precision, rng: request.noise,
      vaeTiling: request.autoencoderTiling,
      attention: AttentionChoice(method: request.attention.method, options: request.attention.options).text,
      denseSteps: request.attention.denseSteps, denseLayers: request.attention.denseLayers,
      kvCompression: request.keyValueCompression?.description)
    kind = folder.kind.isVideo ? "video" : "image"
    model = Model(
      className: folder.kind.rawValue, name: folder.name, classLabelName: request.classLabel?.name)
    compute = Compute(dtype: request.precision)
    let grid = geometry.tokenGrid(of: request)
    attention = Attention(
      method: request.attention.method, options: request.attention.options,
      density: request.attention.method == "dense" ? 1 : nil, runDensity: request.attention.method == "dense" ? 1 : nil,
      denseSteps: request.attention.denseSteps, denseLayers: request.attention.denseLayers, tokenGrid: grid,
      tokens: grid.reduce(1, *))
    noise = Noise(generator: request.noise, seed: request.seed)
    result = Result(
      width: request.width, height: request.height, modelWidth: request.modelWidth, modelHeight: request.modelHeight)
  }

  /// All of a run's record that is known before it begins: weights, arithmetic and resolved attention included.
  package static func expected(
    _ request: GenerationRequest, _ folder: PipelineFolder, _ geometry: ModelGeometry, _ resolve: AttentionResolver
  ) throws -> RunRecord {
    var record = RunRecord(request: request, folder: folder, geometry: geometry)
    record.complete(try resolve(request))
    record.compute.cpu = Processor.level.description
    record.model.weights = try resolve.weights.all()
    return record
  }

  /// Fills in what the attention of a run resolved to.
  mutating func complete(_ resolved: ResolvedAttention) {
    let choice = resolved.choice
    if resolved.method != nil {
      request.attention = choice.text
      (request.denseSteps, request.denseLayers) = (nil, nil)
    }
    attention.options = choice.options
    attention.calibration = resolved.calibration.isEmpty ? nil : resolved.calibration
    attention.kvCompression = resolved.compression
    (attention.denseSteps, attention.denseLayers) = (choice.denseSteps, choice.denseLayers)
  }

  /// Fills in what attention kept.
  mutating func measured(_ statistics: AttentionStatistics) {
    attention.density = statistics.sparseDensity ?? statistics.runDensity
    attention.runDensity = statistics.runDensity
  }

  /// Notes the seconds of decoding, and the memory it took.
  package mutating func decodingEnded(after seconds: Double) {
    self.seconds?["decode"] = seconds
    if peakMemoryBytes != nil, let peak = ProcessMemory.peak { note(peak, after: "decode") }
  }

  /// Notes the most memory the process had held by the end of a phase.
  mutating func note(_ peak: ProcessMemory.Peak, after phase: String) {
    peakMemoryBytes = (peakMemoryBytes ?? [:]).merging([phase: peak.bytes]) { $1 }
    peakAnonymousBytes = (peakAnonymousBytes ?? [:]).merging([phase: peak.use.anonymous]) { $1 }
    peakMappedBytes = (peakMappedBytes ?? [:]).merging([phase: peak.use.mapped]) { $1 }
  }

  /// The record as one line of JSON, keys sorted.
  public func json() throws -> String {
    String(decoding: try Self.encoder().encode(self), as: UTF8.self)
  }

  /// Reads a record; throws for other JSON and for schemas this version does not know.
  /// - Parameter path: where the text came from, for errors.
  public init(json: String, path: String) throws {
    struct Header: Decodable { let schema: String?, schemaVersion: Int? }
    let data = Data(json.utf8)
    let header = try TolerantJSON.decode(Header.self, from: data, path: path)
    guard header.schema == Self.schemaName else {
      throw PipelineError.badData(
        path: path,
        reason: "expected schema '\(Self.schemaName)', found '\(printable(header.schema ?? "none"))'")
    }
    guard header.schemaVersion == 1 else {
      throw PipelineError.badData(
        path: path, reason: "expected schema version 1, found \(header.schemaVersion.map(String.init) ?? "none")")
    }
    self = try TolerantJSON.decode(RunRecord.self, from: data, path: path)
  }

  /// The encoder of all JSON this project writes.
  package static func encoder(pretty: Bool = false) -> JSONEncoder {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    return encoder
  }
}
