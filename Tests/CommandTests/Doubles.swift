import CommandSupport
import DiffusionPipelines
import Foundation
import Media
import Schedulers
import SparseAttention
import Tensors
import TestSupport

/// A folder of its own, removed with the value.
final class TemporaryFolder {
  let url = FileManager.default.temporaryDirectory.appendingPathComponent("tessera-test-\(UUID().uuidString)")
  var path: String { url.path }

  init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(at: url) }

  func path(_ name: String) -> String { path + "/" + name }

  @discardableResult
  func write(_ text: String, to name: String) throws -> String {
    try write(Data(text.utf8), to: name)
  }

  @discardableResult
  func write(_ data: Data, to name: String) throws -> String {
    let file = url.appendingPathComponent(name)
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try data.write(to: file)
    return file.path
  }

  func read(_ name: String) throws -> String {
    try String(contentsOf: url.appendingPathComponent(name), encoding: .utf8)
  }

  func contains(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }
}

/// A safetensors file of zeros.
func safetensors(_ tensors: [String: [Int]]) -> Data {
  var entries: [String] = [], offset = 0
  for (name, shape) in tensors.sorted(by: { $0.key < $1.key }) {
    let end = offset + 4 * shape.reduce(1, *)
    entries.append(#""\#(name)":{"dtype":"F32","shape":\#(shape),"data_offsets":[\#(offset),\#(end)]}"#)
    offset = end
  }
  let header = Data("{\(entries.joined(separator: ","))}".utf8)
  let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
  return Data(length) + header + Data(count: offset)
}

/// Toy pipeline folders: real configurations, almost no weights.
enum ToyPipeline {
  static let pixArtIndex = """
    {"_class_name": "PixArtSigmaPipeline", "_diffusers_version": "0.30.0", "requires_safety_checker": false,
     "scheduler": ["diffusers", "DPMSolverMultistepScheduler"], "text_encoder": ["transformers", "T5EncoderModel"],
     "tokenizer": ["transformers", "T5Tokenizer"], "transformer": ["diffusers", "PixArtTransformer2DModel"],
     "vae": ["diffusers", "AutoencoderKL"], "safety_checker": [null, null]}
    """
  static let ditIndex = """
    {"_class_name": "DiTPipeline", "scheduler": ["diffusers", "DDIMScheduler"],
     "transformer": ["diffusers", "DiTTransformer2DModel"], "vae": ["diffusers", "AutoencoderKL"],
     "id2label": {"0": "tench, Tinca tinca", "1": "crane", "2": "crane", "3": "golden retriever"}}
    """
  private static let tinyVAE = """
    {"block_out_channels": [16, 32, 64], "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 8}
    """

  /// Writes a PixArt-Sigma folder; its sizes are those of a model with 3.5 million parameters.
  static func pixArt(in folder: TemporaryFolder, sampleSize: Int = 32, ownDefaults: String? = nil) throws -> String {
    try folder.write(pixArtIndex, to: "m/model_index.json")
    try folder.write(
      #"{"_class_name": "DPMSolverMultistepScheduler", "num_train_timesteps": 1000, "lambda_min_clipped": -Infinity}"#,
      to: "m/scheduler/scheduler_config.json")
    try folder.write("{}", to: "m/tokenizer/tokenizer_config.json")
    try folder.write(
      """
      {"d_model": 128, "d_ff": 256, "d_kv": 32, "num_heads": 4, "num_layers": 3, "feed_forward_proj": "gated-gelu"}
      """, to: "m/text_encoder/config.json")
    try folder.write(
      """
      {"num_layers": 8, "num_attention_heads": 4, "attention_head_dim": 32, "patch_size": 2, "in_channels": 4,
       "out_channels": 4, "sample_size": \(sampleSize), "caption_channels": 128, "cross_attention_dim": 128}
      """, to: "m/transformer/config.json")
    try folder.write(tinyVAE, to: "m/vae/config.json")
    try folder.write(
      safetensors(["shared.weight": [157, 128], "w": [64, 64]]), to: "m/text_encoder/model.safetensors")
    try folder.write(
      safetensors(["w": [256, 256], "b": [256]]), to: "m/transformer/diffusion_pytorch_model.safetensors")
    try folder.write(
      safetensors(["decoder.w": [8, 8, 3, 3], "encoder.w": [8, 8]]), to: "m/vae/diffusion_pytorch_model.safetensors")
    if let ownDefaults { try folder.write(ownDefaults, to: "m/tessera.json") }
    return folder.path("m")
  }

  /// Writes a DiT folder with four classes.
  static func diT(in folder: TemporaryFolder) throws -> String {
    try folder.write(ditIndex, to: "d/model_index.json")
    try folder.write(
      #"{"_class_name": "DDIMScheduler", "num_train_timesteps": 1000}"#, to: "d/scheduler/scheduler_config.json")
    try folder.write(
      """
      {"num_layers": 3, "num_attention_heads": 2, "attention_head_dim": 16, "patch_size": 2, "in_channels": 4,
       "out_channels": 8, "sample_size": 16, "num_embeds_ada_norm": 4}
      """, to: "d/transformer/config.json")
    try folder.write(tinyVAE, to: "d/vae/config.json")
    try folder.write(safetensors(["w": [16, 16]]), to: "d/transformer/diffusion_pytorch_model.safetensors")
    try folder.write(safetensors(["decoder.w": [8, 8]]), to: "d/vae/diffusion_pytorch_model.safetensors")
    return folder.path("d")
  }
}

/// Makes a flat picture without a model, and remembers what it was asked for.
final class FakeGenerator: MediaGenerator {
  let folder: PipelineFolder
  let geometry: ModelGeometry
  var requests: [GenerationRequest] = []
  /// Prompts that fail.
  var failing: Set<String> = []
  var emitsStates = false
  var keepsModels = false
  var prepared: [Int] = []

  init(_ folder: PipelineFolder) throws {
    self.folder = folder
    geometry = try ModelGeometry(folder)
  }

  func prepare(_ requests: [GenerationRequest], onEvent: (GenerationEvent) throws -> Bool) throws {
    prepared.append(requests.count)
    if requests.contains(where: { failing.contains($0.prompt) }) {
      throw PipelineError.badData(path: "fake", reason: "asked to fail")
    }
  }

  func denoise(
    _ request: GenerationRequest, resuming state: RunState?, onEvent: (GenerationEvent) throws -> Bool
  ) throws -> DenoisedResult {
    requests.append(request)
    if failing.contains(request.prompt) { throw PipelineError.badData(path: "fake", reason: "asked to fail") }
    _ = try onEvent(.phase("denoise"))
    let latents = Tensor([1, 1, 1, 2], [1, -2])
    let record = RunRecord(request: request, folder: folder, geometry: geometry)
    for step in (state?.steps ?? 0) + 1..<request.steps + 1 {
      if emitsStates {
        _ = try onEvent(
          .state(
            RunState(
              record, steps: step, latents: latents, solver: SolverState(), random: TorchRandom(seed: 0), attention: [])
          ))
      }
      guard try onEvent(.step(index: step, count: request.steps)) else { throw GenerationStopped(steps: step) }
      if let every = request.previewEvery, step % every == 0 {
        _ = try onEvent(.preview(Self.frame(0, of: request), index: step))
      }
    }
    return DenoisedResult(request: request, latents: latents, record: record)
  }

  /// Every pixel of a frame is seven more than its number.
  static func frame(_ index: Int, of request: GenerationRequest) -> Frame {
    let pixels = [UInt8](repeating: UInt8(7 + index), count: 3 * request.width * request.height)
    return Frame(width: request.width, height: request.height, pixels: pixels)
  }

  func decode(
    _ denoised: DenoisedResult, onFrame: (Frame) throws -> Void, onEvent: (GenerationEvent) throws -> Bool
  ) throws -> Double {
    for index in 0..<denoised.request.frames {
      try onFrame(Self.frame(index, of: denoised.request))
      guard folder.kind.isVideo else { continue }
      guard try onEvent(.step(index: index + 1, count: denoised.request.frames)) else {
        throw GenerationStopped(steps: denoised.request.steps)
      }
    }
    return 1
  }

  /// Asks nothing of the engine.
  func denoise(
    _ request: GenerationRequest, with engine: any AttentionEngine, onEvent: (GenerationEvent) throws -> Bool
  ) throws -> Tensor {
    try denoise(request, onEvent: onEvent).latents
  }
}

/// Takes so many frames and breaks.
final class BreakingSink: FrameSink {
  var rest: Int
  init(after frames: Int) { rest = frames }
  func append(_ frame: Frame) throws {
    rest -= 1
    if rest < 0 { throw MediaError.cannotEncodeVideo(reason: "No space left on device") }
  }
  func finish() throws { if rest == 0 { throw MediaError.cannotEncodeVideo(reason: "No space left on device") } }
  func abort() {}
}

/// A command's world in memory but for its files, and what the command did to it.
final class FakeWorld {
  var output = "", errors = ""
  var input = Data()
  var isTerminal = false
  var stopAfter: Int?
  var failing: Set<String> = []
  var unwritable: Set<String> = []
  /// Paths below these cannot be written to once the work is done.
  var unwritableFolders: [String] = []
  /// Videos break after so many frames; with as many as there are, when they are finished.
  var videoBreaksAfter: Int?
  var lacksEncoder = false
  var methods = AttentionMethods.toys
  /// Whether runs that make nothing report states that can be saved; each asks the clock.
  var emitsStates = false
  var generator: FakeGenerator?
  /// Whether pictures are drawn by the pipeline itself.
  var isReal = false
  private var questions = 0
  private var clock = 0.0

  /// Runs the command; its exit code.
  func run(_ arguments: String...) -> Int32 { run(arguments) }

  func run(_ arguments: [String]) -> Int32 { run(GenerateImageCommand.self, arguments) }

  func run(_ command: (some EnvironmentCommand).Type, _ arguments: [String]) -> Int32 {
    output = ""
    errors = ""
    return command.execute(arguments, environment: environment)
  }

  var lines: [String] { output.split(separator: "\n").map(String.init) }

  private var environment: CommandEnvironment {
    var environment = CommandEnvironment.live { folder, options in
      guard !self.isReal else { return try makeGenerator(folder, options: options, methods: self.methods) }
      let generator = try FakeGenerator(folder)
      generator.failing = self.failing
      generator.emitsStates = self.emitsStates
      self.generator = generator
      return generator
    }
    environment.methods = methods
    environment.writeOutput = { self.output += $0 }
    environment.writeError = { self.errors += $0 }
    environment.errorIsTerminal = isTerminal
    environment.readStandardInput = { self.input }
    environment.processor = ProcessorTraits(physicalCores: 2, speed: .avx512, memory: 8 << 30)
    environment.drawSeed = { 42 }
    environment.now = {
      self.clock += 1
      return self.clock
    }
    environment.stopRequested = {
      self.questions += 1
      return self.stopAfter.map { self.questions > $0 } ?? false
    }
    let write = environment.writeFile
    environment.writeFile = { bytes, path in
      guard !self.unwritable.contains(path), !self.unwritableFolders.contains(where: path.hasPrefix) else {
        throw CommandError(.failedWhileRunning, "\(path): full")
      }
      try write(bytes, path)
    }
    let open = environment.openVideo, prove = environment.proveVideo
    environment.proveVideo = { path, format, width, height, settings in
      if self.lacksEncoder {
        throw MediaError.unavailable(reason: "FFmpeg's libraries on this machine have no libx264")
      }
      return try prove(path, format, width, height, settings)
    }
    environment.openVideo = { path, format, width, height, settings in
      if let count = self.videoBreaksAfter { return BreakingSink(after: count) }
      return try open(path, format, width, height, settings)
    }
    return environment
  }
}
