import Foundation
import Tensors
import TolerantJSON

@testable import Checkpoints
@testable import CommandSupport
@testable import DiffusionModels
@testable import DiffusionPipelines
@testable import Media
@testable import Schedulers
@testable import SparseAttention
@testable import Tokenizers

private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

let allTargets: [FuzzTarget] = [
  FuzzTarget(name: "safetensors") { bytes in
    let file = try SafetensorsFile(scratchFile("x.safetensors", bytes))
    for tensor in file.tensors.values {
      _ = tensor.isFinite
      _ = tensor.floats().isFinite
    }
  },
  FuzzTarget(name: "index") { bytes in
    _ = try scratchFile("model.safetensors.index.json", bytes)
    _ = try WeightFiles(folder: scratch)
  },
  FuzzTarget(name: "json") { bytes in
    let value = try TolerantJSON.decode(
      [String: JSONValue].self, from: Data(bytes), path: "x.json", convertKeys: false)
    _ = try RunRecord.encoder().encode(value)
  },
  FuzzTarget(name: "state") { bytes in _ = try RunState(contentsOf: scratchFile("x-state.safetensors", bytes)) },
  FuzzTarget(name: "spiece") { bytes in
    let folder = scratch.appendingPathComponent("spiece")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    _ = try scratchFile("spiece/spiece.model", bytes)
    try tokenize(T5Tokenizer(folder: folder))
  },
  FuzzTarget(name: "tokenizer") { bytes in
    let folder = scratch.appendingPathComponent("tokenizer")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    _ = try scratchFile("tokenizer/tokenizer.json", bytes)
    try tokenize(T5Tokenizer(folder: folder))
  },
  FuzzTarget(name: "caption") { bytes in
    let prompt = text(bytes)
    _ = (CaptionCleaner.plain(prompt), CaptionCleaner.basic(prompt))
    _ = try toyTokenizer.encode(CaptionCleaner.clean(prompt), maxLength: 120)
  },
  FuzzTarget(name: "scheduler") { bytes in
    let configuration = try SchedulerConfiguration(contentsOf: scratchFile("scheduler.json", bytes))
    for name in [nil, "ddpm", "ddim", "euler", "dpm++", "unipc", "lcm", "flow-euler"] {
      guard var scheduler = try? makeScheduler(named: name, configuration: configuration) else { continue }
      try? scheduler.setTimesteps(4)
    }
  },
  FuzzTarget(name: "record") { bytes in
    _ = try FlagValues(record: RunRecord(json: text(bytes), path: "x.json"), source: "x.json")
  },
  FuzzTarget(name: "config") { bytes in
    _ = try readConfiguration(scratchFile("config", bytes).path, environment: environment)
  },
  FuzzTarget(name: "prompts") { bytes in
    _ = try readPromptsFile(scratchFile("prompts.jsonl", bytes).path, kind: .pixArtSigma)
  },
  FuzzTarget(name: "sweep") { bytes in _ = try SweepSpec(file: scratchFile("spec.json", bytes).path) },
  FuzzTarget(name: "png") { bytes in _ = try PNGFile.decode(bytes) },
  FuzzTarget(name: "calibration") { bytes in
    let path = try scratchFile("calibration.json", bytes).path
    for interpolate in [false, true] {
      _ = try? SlidingTileTable(path: path, context: methodContext, interpolate: interpolate)
      _ = try? PAROPlanFile(path, context: methodContext, interpolate: interpolate)
    }
  },
  FuzzTarget(name: "attention") { bytes in
    let given = text(bytes)
    _ = try? KeyValueCompression(parsing: given)
    // A file of the user's is no string of the user's.
    guard !given.hasPrefix("@") else { return }
    var request = GenerationRequest(
      width: 64, height: 64, steps: 4, guidanceScale: 3, seed: 5, maxSequenceLength: 16)
    request.attention = try AttentionChoice(parsing: given)
    _ = try toyResolver(request)
  },
  FuzzTarget(name: "pipeline", run: dryRun),
]

/// The toy pipelines of the tests, where `make fuzz` says they are.
private let fixtures = URL(fileURLWithPath: ProcessInfo.processInfo.environment["TESSERA_FIXTURES"] ?? "")

private let environment: CommandEnvironment = {
  var environment = CommandEnvironment.live { try makeGenerator($0, options: $1) }
  environment.writeOutput = { _ in }
  environment.writeError = { _ in }
  environment.processor = ProcessorTraits(physicalCores: 1, speed: .avx2, memory: 8 << 30)
  return environment
}()

private func tokenize(_ tokenizer: T5Tokenizer) throws {
  _ = try tokenizer.encode("A red ball,\u{a0}ﬁne \u{1f600} <extra_id_3>", maxLength: 16)
}

private let toyTokenizer = try! T5Tokenizer(folder: fixtures.appendingPathComponent("toy-pixart-sigma/tokenizer"))

private let toyResolver: AttentionResolver = {
  let folder = try! PipelineFolder(path: fixtures.appendingPathComponent("toy-pixart-sigma").path)
  return AttentionResolver(folder, try! ModelGeometry(folder))
}()

/// What the calibrations among the seeds were made for; the masks lie beside them.
private let methodContext: MethodContext = {
  _ = try! scratchFile("m.masks", [UInt8](repeating: 0x5a, count: 16))
  return MethodContext(
    layout: TokenLayout(height: 8, width: 8), layerCount: 2, stepCount: 2, heads: 2, modelHash: "h")
}()

// MARK: A pipeline folder with one file replaced

private let replaced: [(pipeline: String, file: String)] = [
  ("toy-pixart-sigma", "model_index.json"), ("toy-pixart-sigma", "transformer/config.json"),
  ("toy-pixart-sigma", "vae/config.json"), ("toy-pixart-sigma", "text_encoder/config.json"),
  ("toy-pixart-sigma", "scheduler/scheduler_config.json"), ("toy-pixart-sigma", "tessera.json"),
  ("toy-dit", "model_index.json"), ("toy-dit", "transformer/config.json"), ("toy-dit", "vae/config.json"),
  ("toy-wan", "model_index.json"), ("toy-wan", "transformer/config.json"), ("toy-wan", "vae/config.json"),
  ("toy-wan", "text_encoder/config.json"), ("toy-wan", "scheduler/scheduler_config.json"),
]

private let copies: URL = {
  let folder = scratch.appendingPathComponent("pipelines")
  try! FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  for name in Set(replaced.map(\.pipeline)) {
    try! FileManager.default.copyItem(
      at: fixtures.appendingPathComponent(name), to: folder.appendingPathComponent(name))
  }
  return folder
}()

/// The first byte chooses the file, the others are its content: all that happens before weights are read.
private func dryRun(_ bytes: [UInt8]) throws {
  guard let first = bytes.first, first >= 0x41 else { return }
  let (pipeline, name) = replaced[Int(first - 0x41) % replaced.count]
  let folder = copies.appendingPathComponent(pipeline), file = folder.appendingPathComponent(name)
  let original = try? Data(contentsOf: file)
  defer {
    if let original { try? original.write(to: file) } else { try? FileManager.default.removeItem(at: file) }
  }
  try Data(bytes.dropFirst()).write(to: file)
  let subject = pipeline == "toy-dit" ? ["--class-label", "1"] : ["--prompt", "a ball"]
  let arguments =
    ["--pipeline", folder.path, "--dry-run", "--steps", "2", "--output", scratch.path + "/"] + subject
  let status =
    pipeline == "toy-wan"
    ? GenerateVideoCommand.execute(arguments + ["--frames", "5"], environment: environment)
    : GenerateImageCommand.execute(arguments, environment: environment)
  precondition(status != ExitStatus.internalError.rawValue, "an error that no exit code is for")
}
