import DiffusionPipelines
import Foundation
import TolerantJSON

/// The values of flags as one source gave them: the command line, a configuration file, or a line of a prompts file.
/// `nil` means that this source is silent. JSON keys are the flags' names in snake or kebab case.
public struct FlagValues: Sendable, Hashable, Codable {
  public var pipeline: String?
  public var prompt: String?
  public var promptsFile: String?
  public var negativePrompt: String?
  public var classLabel: LooseText?
  public var steps: Int?
  public var guidanceScale: Double?
  public var seed: SeedChoice?
  public var width: Int?
  public var height: Int?
  public var size: String?
  public var numFrames: Int?
  public var fps: Double?
  public var resolutionBinning: ResolutionBinning?
  public var cleanCaption: Bool?
  public var batchCount: Int?
  public var scheduler: String?
  public var flowShift: Double?
  public var maxSequenceLength: Int?
  public var dtype: DtypeChoice?
  public var threads: Int?
  public var rng: NoiseGenerator?
  public var attention: String?
  public var denseSteps: Int?
  public var denseLayers: Int?
  public var kvCompression: String?
  public var vaeTiling: AutoencoderTiling?
  public var memoryLimit: LooseText?
  public var output: String?
  public var codec: String?
  public var crf: Int?
  public var preset: String?
  public var saveLatents: String?
  public var previewEvery: Int?
  public var previewPath: String?
  public var attentionReport: String?
  public var metadata: Bool?

  public init() {}

  /// These values, and `lower`'s where these are silent.
  public func over(_ lower: FlagValues) -> FlagValues {
    var merged = self
    merged.pipeline = pipeline ?? lower.pipeline
    merged.prompt = prompt ?? lower.prompt
    merged.promptsFile = promptsFile ?? lower.promptsFile
    merged.negativePrompt = negativePrompt ?? lower.negativePrompt
    merged.classLabel = classLabel ?? lower.classLabel
    merged.steps = steps ?? lower.steps
    merged.guidanceScale = guidanceScale ?? lower.guidanceScale
    merged.seed = seed ?? lower.seed
    merged.width = width ?? lower.width
    merged.height = height ?? lower.height
    merged.size = size ?? lower.size
    merged.numFrames = numFrames ?? lower.numFrames
    merged.fps = fps ?? lower.fps
    merged.resolutionBinning = resolutionBinning ?? lower.resolutionBinning
    merged.cleanCaption = cleanCaption ?? lower.cleanCaption
    merged.batchCount = batchCount ?? lower.batchCount
    merged.scheduler = scheduler ?? lower.scheduler
    merged.flowShift = flowShift ?? lower.flowShift
    merged.maxSequenceLength = maxSequenceLength ?? lower.maxSequenceLength
    merged.dtype = dtype ?? lower.dtype
    merged.threads = threads ?? lower.threads
    merged.rng = rng ?? lower.rng
    merged.attention = attention ?? lower.attention
    merged.denseSteps = denseSteps ?? lower.denseSteps
    merged.denseLayers = denseLayers ?? lower.denseLayers
    merged.kvCompression = kvCompression ?? lower.kvCompression
    merged.vaeTiling = vaeTiling ?? lower.vaeTiling
    merged.memoryLimit = memoryLimit ?? lower.memoryLimit
    merged.output = output ?? lower.output
    merged.codec = codec ?? lower.codec
    merged.crf = crf ?? lower.crf
    merged.preset = preset ?? lower.preset
    merged.saveLatents = saveLatents ?? lower.saveLatents
    merged.previewEvery = previewEvery ?? lower.previewEvery
    merged.previewPath = previewPath ?? lower.previewPath
    merged.attentionReport = attentionReport ?? lower.attentionReport
    merged.metadata = metadata ?? lower.metadata
    return merged
  }

  /// The same with `size` split into width and height, so that sources merge by extent.
  func splittingSize() throws -> FlagValues {
    guard let size else { return self }
    guard let pixels = PixelSize(size) else {
      throw CommandError.usage("--size '\(printable(size))': expected width x height such as 832x480")
    }
    guard width == nil || width == pixels.width, height == nil || height == pixels.height else {
      throw CommandError.usage("--size \(size) contradicts --width or --height given beside it")
    }
    var result = self
    result.width = pixels.width
    result.height = pixels.height
    result.size = nil
    return result
  }
}

extension FlagValues {
  /// JSON keys, in the order of the flags.
  static let keys = [
    "pipeline", "prompt", "prompts_file", "negative_prompt", "class_label", "steps", "guidance_scale", "seed", "width",
    "height", "size", "num_frames", "fps", "resolution_binning", "clean_caption", "batch_count", "scheduler",
    "flow_shift",
    "max_sequence_length", "dtype", "threads", "rng", "attention", "dense_steps", "dense_layers", "kv_compression",
    "vae_tiling", "memory_limit", "output", "codec", "crf", "preset", "save_latents", "preview_every", "preview_path",
    "attention_report",
    "metadata",
  ]

  private static let aliases = [
    "model": "pipeline", "num_inference_steps": "steps", "cfg_scale": "guidance_scale",
    "attention_backend": "attention", "frames": "num_frames",
  ]
  private static let negations = ["no_metadata": "metadata", "no_clean_caption": "clean_caption"]

  /// Reads flags from JSON text: an object whose keys are flag names or their aliases.
  /// - Parameter source: where the text is, for errors.
  init(json: Data, source: String) throws {
    let object: [String: JSONValue]
    do {
      object = try TolerantJSON.decode([String: JSONValue].self, from: json, path: source, convertKeys: false)
    } catch let failure as TolerantJSON.Failure {
      throw CommandError.usage("\(source): expected a JSON object of flags, found: \(failure.reason)")
    }
    var known: [String: JSONValue] = [:]
    for (key, value) in object where value != .null {
      let name = key.lowercased().replacing("-", with: "_")
      let (flag, content) = try Self.resolve(name, value, source: source)
      guard Self.keys.contains(flag) else {
        throw CommandError.usage(
          "\(source): unknown flag '\(printable(key))'; known: " + Self.keys.joined(separator: ", "))
      }
      guard known.updateValue(content, forKey: flag) == nil else {
        throw CommandError.usage("\(source): '\(flag)' is given twice")
      }
    }
    do {
      let data = try RunRecord.encoder().encode(known)
      self = try TolerantJSON.decode(FlagValues.self, from: data, path: source).splittingSize()
    } catch let failure as TolerantJSON.Failure {
      throw CommandError.usage("\(source): \(failure.reason)")
    } catch let error as CommandError {
      throw CommandError.usage("\(source): \(error.description)")
    }
  }

  private static func resolve(_ name: String, _ value: JSONValue, source: String) throws -> (String, JSONValue) {
    if aliases[name] == "attention" || name == "attention", case .object = value {
      // An object says what `--attention` says as text.
      return ("attention", .string(String(decoding: try RunRecord.encoder().encode(value), as: UTF8.self)))
    }
    if let flag = aliases[name] { return (flag, value) }
    guard let flag = negations[name] else { return (name, value) }
    guard case .bool(let isOff) = value else {
      throw CommandError.usage("\(source): expected true or false at '\(name)'")
    }
    return (flag, .bool(!isOff))
  }

  /// The flags that make a recorded run again.
  init(record: RunRecord, source: String) throws {
    try self.init(json: RunRecord.encoder().encode(record.request), source: source)
  }
}
