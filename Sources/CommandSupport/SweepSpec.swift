import DiffusionPipelines
import Foundation
import TolerantJSON

/// What a sweep compares, as a spec file or flags say it. Unknown keys are errors.
///
///     {
///       "pipeline": "pipelines/tabletop-image",
///       "prompts_file": "prompts.txt",              beside the spec; or "prompts": ["...", ...]; see ``Prompt``
///       "seeds": "0-1",
///       "sampling": {"steps": 20, "size": "256x256"},        flags of generate-image or generate-video; `steps` and
///                                                            `scheduler` may be lists: each of them is swept
///       "densities": [0.5, 0.3, 0.2, 0.1],                   for all methods that have none of their own
///       "methods": ["draft:pool=4x4", {"attention": "radial:block=32", "dense_steps": [0, 5], "dtype": ["float32"]}],
///       "metrics": ["psnr", "ssim"], "random_baseline": true, "controls": true,
///       "recall": {"prompts": 1, "queries": 64},
///       "judge": "judge.safetensors"        beside the spec, or else in the pipeline's folder, where it is the default
///     }
struct SweepSpec: Sendable, Hashable {
  /// One method, in all combinations of what it lists.
  struct Method: Sendable, Hashable {
    var attention: String
    /// What plots call it; the method with the options given where there is no name.
    var family: String?
    /// Shares of pairs to solve the options for; empty runs the options as they are.
    var densities: [Double]?
    var denseSteps: [Int]?, denseLayers: [Int]?
    var dtype: [DtypeChoice]?
    var kvCompression: String?
  }

  var pipeline: String?
  var prompts: [Prompt]?
  /// As a path of this process's.
  var promptsFile: String?
  var seeds: [UInt64]?
  /// At least one: flags that differ in steps and scheduler at most.
  var samplings = [FlagValues()]
  var densities: [Double]?
  var methods: [Method] = []
  var metrics: [String]?
  var lpipsWeights: [String] = []
  var hasRandomBaseline = true
  var hasControls = true
  /// As it is written, and beside the spec: what a judge weighs adherence with.
  var judge: (written: String, beside: String)? {
    judgeFile.map { ($0, Self.path($0, beside: source)) }
  }
  private var judgeFile: String?
  /// The spec's file.
  private var source = ""
  /// Prompts whose cells are run once more to measure what attention lost, and queries sampled a call.
  var recallPrompts = 0, recallQueries = 64
}

extension SweepSpec {
  private static let keys = [
    "pipeline", "prompts", "prompts_file", "seeds", "sampling", "densities", "methods", "metrics", "lpips_weights",
    "random_baseline", "controls", "recall", "judge",
  ]
  private static let methodKeys = [
    "attention", "family", "densities", "dense_steps", "dense_layers", "dtype", "kv_compression",
  ]

  /// Reads a spec file; paths in it are relative to its folder, the pipeline's to the working directory.
  init(file path: String) throws {
    let data = try TolerantJSON.read(URL(fileURLWithPath: path), limit: 16 << 20)
    let reader = SpecReader(source: path)
    let object = try reader.object(data)
    try reader.check(object, keys: Self.keys, at: "")
    self.init()
    pipeline = try reader.value(object, "pipeline")
    prompts = try Self.prompts(object["prompts"], reader)
    (judgeFile, source) = (try reader.value(object, "judge"), path)
    func beside(_ name: String) -> String { Self.path(name, beside: path) }
    promptsFile = try (reader.value(object, "prompts_file") as String?).map(beside)
    seeds = try reader.seeds(object["seeds"])
    samplings = try Self.samplings(object["sampling"], reader)
    densities = try reader.value(object, "densities")
    metrics = try reader.value(object, "metrics")
    lpipsWeights = try (reader.value(object, "lpips_weights") ?? [String]()).map(beside)
    hasRandomBaseline = try reader.value(object, "random_baseline") ?? true
    hasControls = try reader.value(object, "controls") ?? true
    if case .object(let recall)? = object["recall"] {
      try reader.check(recall, keys: ["prompts", "queries"], at: "recall.")
      recallPrompts = try reader.value(recall, "prompts") ?? 1
      recallQueries = try reader.value(recall, "queries") ?? 64
    } else if let other = object["recall"], other != .null {
      throw reader.error("recall", "an object such as {\"prompts\": 1}")
    }
    guard case .array(let entries)? = object["methods"] ?? .array([]) else { throw reader.error("methods", "a list") }
    methods = try entries.enumerated().map { index, entry in
      switch entry {
      case .string(let attention): return Method(attention: attention)
      case .object(let object): return try Self.method(object, reader, at: "methods[\(index)].")
      default: throw reader.error("methods[\(index)]", "a text or an object")
      }
    }
  }

  /// All combinations of the steps and schedulers that sampling flags list.
  private static func samplings(_ flags: JSONValue?, _ reader: SpecReader) throws -> [FlagValues] {
    guard let flags, flags != .null else { return [FlagValues()] }
    guard case .object(let object) = flags else { throw reader.error("sampling", "an object", found: flags) }
    var all = [object]
    for key in ["steps", "scheduler"] {
      guard case .array(let values)? = object[key] else { continue }
      guard !values.isEmpty else { throw reader.error("sampling.\(key)", "at least one", found: object[key]) }
      all = all.flatMap { one in values.map { one.merging([key: $0]) { $1 } } }
    }
    return try all.map {
      try FlagValues(json: RunRecord.encoder().encode(JSONValue.object($0)), source: "\(reader.source): sampling")
    }
  }

  private static func path(_ name: String, beside file: String) -> String {
    let folder = (file as NSString).deletingLastPathComponent
    return name.hasPrefix("/") || folder.isEmpty ? name : folder + "/" + name
  }

  private static func method(
    _ object: [String: JSONValue], _ reader: SpecReader, at place: String
  ) throws -> Method {
    try reader.check(object, keys: methodKeys, at: place)
    guard let attention: String = try reader.value(object, "attention") else {
      throw reader.error(place + "attention", "a method with its options")
    }
    return Method(
      attention: attention, family: try reader.value(object, "family"),
      densities: try reader.value(object, "densities"), denseSteps: try reader.value(object, "dense_steps"),
      denseLayers: try reader.value(object, "dense_layers"), dtype: try reader.value(object, "dtype"),
      kvCompression: try reader.value(object, "kv_compression"))
  }
}
