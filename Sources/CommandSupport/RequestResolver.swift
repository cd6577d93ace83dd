import DiffusionModels
import DiffusionPipelines
import Foundation
import Media
import Tensors

/// Turns flags into requests: fills in the pipeline's defaults and checks every value, before any weight is loaded.
struct RequestResolver {
  let folder: PipelineFolder
  let geometry: ModelGeometry
  let processor: ProcessorTraits
  /// Throws unless the request's scheduler exists, fits the folder's configuration and takes that many steps.
  let checkScheduler: (GenerationRequest, PipelineFolder) throws -> Void
  let resolveAttention: AttentionResolver
  let drawSeed: () -> UInt64

  /// The requests of one prompt: as many as its batch count, seeds counting up.
  func requests(_ flags: FlagValues) throws -> [GenerationRequest] {
    let defaults = folder.defaults
    let size = try self.size(flags)
    let batchCount = try within(flags.batchCount ?? 1, 1...100_000, "--batch-count")
    let seed: UInt64
    switch flags.seed ?? .drawn {
    case .fixed(let value): seed = value
    case .drawn: seed = drawSeed()
    }
    var request = GenerationRequest(
      width: size.width, height: size.height,
      steps: try within(flags.steps ?? defaults.steps ?? 50, 1...10_000, "--steps"),
      guidanceScale: try finite(flags.guidanceScale ?? defaults.guidanceScale ?? 1, "--guidance-scale"), seed: seed,
      maxSequenceLength: try within(
        flags.maxSequenceLength ?? defaults.maxSequenceLength ?? 1, 1...4096, "--max-sequence-length"))
    request.modelWidth = size.modelWidth
    request.modelHeight = size.modelHeight
    request.resolutionBinning = size.binning
    try fillSubject(&request, flags)
    try fillLength(&request, flags)
    request.cleanCaption = flags.cleanCaption ?? defaults.cleanCaption ?? true
    request.scheduler = flags.scheduler
    if let shift = flags.flowShift {
      guard shift.isFinite, shift > 0 else {
        throw CommandError.usage("--flow-shift: expected above 0, found \(shift)")
      }
      request.flowShift = shift
    }
    request.precision = try precision(flags.dtype ?? .auto)
    request.noise = flags.rng ?? .torch
    request.autoencoderTiling = flags.vaeTiling ?? .auto
    request.attention = try attention(flags)
    request.keyValueCompression = try flags.kvCompression.map { try KeyValueCompression(parsing: $0) }
    _ = try resolveAttention(request)
    request.wantsLatents = flags.saveLatents != nil
    request.previewEvery = try flags.previewEvery.map { try within($0, 1...10_000, "--preview-every") }
    if flags.previewPath != nil, flags.previewEvery == nil {
      throw CommandError.usage("--preview-path needs --preview-every")
    }
    request.memoryLimit = try flags.memoryLimit.map { try parseMemorySize($0.text) }
    try checkScheduler(request, folder)
    return (0..<batchCount).map { index in
      var copy = request
      copy.seed = SeedChoice.seed(seed, at: index)
      return copy
    }
  }

  // MARK: What is drawn

  private func fillSubject(_ request: inout GenerationRequest, _ flags: FlagValues) throws {
    let className = folder.kind.rawValue
    if folder.kind.takesClassLabel {
      guard flags.prompt == nil, flags.negativePrompt == nil else {
        throw CommandError.usage("\(className) draws classes: expected --class-label, found a prompt")
      }
      guard let label = flags.classLabel?.text else {
        throw CommandError.usage("\(className) draws classes: expected --class-label with a class's number or name")
      }
      request.classLabel = try folder.classLabel(label, classes: geometry.transformer.classes)
    } else {
      guard flags.classLabel == nil else {
        throw CommandError.usage("\(className) draws prompts: expected --prompt, found --class-label")
      }
      guard let prompt = flags.prompt else {
        throw CommandError.usage("expected --prompt or --prompts-file, found neither")
      }
      request.prompt = try sound(prompt, "--prompt")
      request.negativePrompt = try sound(
        flags.negativePrompt ?? folder.defaults.negativePrompt ?? "", "--negative-prompt")
    }
  }

  private func fillLength(_ request: inout GenerationRequest, _ flags: FlagValues) throws {
    guard folder.kind.isVideo else {
      guard flags.numFrames == nil, flags.fps == nil, flags.codec == nil, flags.crf == nil, flags.preset == nil else {
        throw CommandError.usage(
          "\(folder.kind.rawValue) makes images: num-frames, fps, codec, crf and preset are for videos")
      }
      return
    }
    let asked = try within(flags.numFrames ?? folder.defaults.numFrames ?? 1, 1...100_000, "--num-frames")
    request.frames = geometry.nearestFrames(asked)
    let latents = geometry.latentFrames(request.frames), patch = geometry.transformer.patchFrames
    guard latents % patch == 0 else {
      throw CommandError.usage(
        "--num-frames \(asked): expected latent frames in multiples of \(patch) (patch), found \(latents)")
    }
    request.framesPerSecond = try FrameRate(flags.fps ?? folder.defaults.fps ?? 16).framesPerSecond
    let tokens = geometry.tokenGrid(of: request).reduce(1, *)
    guard tokens <= Self.maxTokens else {
      throw CommandError.usage(
        "\(request.width)x\(request.height), \(request.frames) frames: expected at most \(Self.maxTokens) tokens, "
          + "found \(tokens)")
    }
  }

  /// More than a year of attention on any processor of today.
  private static let maxTokens = 1 << 24

  /// Text that files and metadata can hold.
  private func sound(_ text: String, _ name: String) throws -> String {
    guard text.utf8.count <= 1 << 20 else {
      throw CommandError.usage("\(name): expected at most 1 MiB of text, found \(text.utf8.count) bytes")
    }
    guard !text.utf8.contains(0) else { throw CommandError.usage("\(name): expected text, found a zero byte") }
    return text
  }

  // MARK: Size

  private typealias Size = (width: Int, height: Int, modelWidth: Int, modelHeight: Int, binning: ResolutionBinning)

  private func size(_ flags: FlagValues) throws -> Size {
    var own = PixelSize("\(geometry.defaultSide)x\(geometry.defaultSide)")
    if let text = folder.defaults.size {
      own = PixelSize(text)
      if own == nil {
        throw PipelineError.badData(
          path: folder.url.appendingPathComponent("tessera.json").path,
          reason: "expected defaults.size such as 128x128, found '\(printable(text))'")
      }
    }
    let limit = 1...32_768
    let width = try within(flags.width ?? own?.width ?? 0, limit, "width")
    let height = try within(flags.height ?? own?.height ?? 0, limit, "height")
    guard 3 * width * height <= PNGFile.maxPixelBytes else {
      throw CommandError.usage(
        "size \(width)x\(height): expected at most \(PNGFile.maxPixelBytes / 3) pixels, found \(width * height)")
    }
    let binning = flags.resolutionBinning ?? folder.defaults.resolutionBinning ?? .auto
    let bins = AspectBins.table(sampleSize: geometry.transformer.sampleSize, of: folder.kind)
    if binning == .auto, let bins {
      let bin = AspectBins.nearest(height: height, width: width, in: bins)
      try checkMultiple(bin.width, "width")
      try checkMultiple(bin.height, "height")
      return (width, height, bin.width, bin.height, .auto)
    }
    try checkMultiple(width, "width")
    try checkMultiple(height, "height")
    return (width, height, width, height, binning)
  }

  private func checkMultiple(_ value: Int, _ name: String) throws {
    let multiple = geometry.sizeMultiple
    guard value % multiple != 0 else { return }
    let below = value / multiple * multiple
    let nearest = below == 0 ? "\(multiple)" : "\(below) and \(below + multiple)"
    throw CommandError.usage(
      "\(name) \(value): expected a multiple of \(multiple) "
        + "(patch \(geometry.transformer.patchSize) x autoencoder \(geometry.autoencoder.scaleFactor)); "
        + "nearest: \(nearest)")
  }

  // MARK: Arithmetic and attention

  private func precision(_ choice: DtypeChoice) throws -> Precision {
    switch choice {
    case .auto: return processor.hasBFloat16 ? .bfloat16 : .float32
    case .float32: return .float32
    case .bfloat16: return .bfloat16
    case .int8: return .int8
    }
  }

  private func attention(_ flags: FlagValues) throws -> AttentionChoice {
    var choice = try flags.attention.map { try AttentionChoice(parsing: $0) } ?? .dense
    choice.denseSteps = flags.denseSteps ?? choice.denseSteps
    choice.denseLayers = flags.denseLayers ?? choice.denseLayers
    return choice
  }

  private func within(_ value: Int, _ range: ClosedRange<Int>, _ name: String) throws -> Int {
    guard range.contains(value) else {
      throw CommandError.usage("\(name): expected \(range.lowerBound) to \(range.upperBound), found \(value)")
    }
    return value
  }

  private func finite(_ value: Double, _ name: String) throws -> Double {
    guard value.isFinite else { throw CommandError.usage("\(name): expected a finite number, found \(value)") }
    return value
  }
}

extension PipelineFolder {
  /// The class that `text` names: a number, or one of the names of `id2label`, whose variants stand between commas.
  func classLabel(_ text: String, classes: Int?) throws -> ClassLabel {
    let count = classes ?? labels.count
    if let id = Int(text) {
      guard id >= 0, id < count else {
        throw CommandError.usage("--class-label \(id): expected 0 to \(count - 1)")
      }
      return ClassLabel(id: id, name: labels[id])
    }
    func plain(_ name: some StringProtocol) -> String { name.trimmingCharacters(in: .whitespaces).lowercased() }
    let wanted = plain(text)
    let exact = labels.filter { plain($0.value) == wanted }
    let variants = labels.filter { $0.value.split(separator: ",").contains { plain($0) == wanted } }
    let ids = (exact.isEmpty ? variants : exact).keys.sorted()
    guard let id = ids.first else {
      let like = labels.filter { $0.value.lowercased().contains(wanted) }.sorted { $0.key < $1.key }.prefix(3)
      let hint = like.map { "\($0.key) (\($0.value))" }.joined(separator: "; ")
      throw CommandError.usage(
        "--class-label: no class is named '\(printable(text))'" + (hint.isEmpty ? "" : "; like it: \(hint)"))
    }
    guard ids.count == 1 else {
      throw CommandError.usage(
        "--class-label: '\(printable(text))' names classes \(ids.map(String.init).joined(separator: ", ")); "
          + "give a number")
    }
    return ClassLabel(id: id, name: labels[id])
  }
}
