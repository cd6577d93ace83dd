import Foundation
import Kernels
import Schedulers
import SparseAttention
import Tensors

/// Makes images with one pipeline folder: text, noise, denoising, decoding, each part loaded when its turn comes and
/// let go before the next, so that two never weigh on memory at once.
public final class DiffusionGenerator: ImageGenerator {
  private let folder: PipelineFolder
  private let geometry: ModelGeometry
  private let options: GeneratorOptions
  private var conditioner: TextConditioner?
  private var predictor: NoisePredictor?
  private var decoder: (model: LatentDecoder, precision: Precision)?
  private var weightFiles: [RunRecord.WeightFile]?
  /// Whether transformer and autoencoder stay loaded between results.
  public var keepsModels = false

  public init(_ folder: PipelineFolder, options: GeneratorOptions) throws {
    self.folder = folder
    self.options = options
    geometry = try ModelGeometry(folder)
    ThreadPool.shared.configure(threads: options.threads)
  }

  public func prepare(
    _ requests: [GenerationRequest], onEvent: (GenerationEvent) throws -> Bool
  ) throws {
    guard !folder.kind.takesClassLabel else { return }
    let conditioner = try self.conditioner ?? TextConditioner(folder)
    self.conditioner = conditioner
    try conditioner.prepare(requests, onEvent: onEvent)
  }

  public func generate(
    _ request: GenerationRequest, onEvent: (GenerationEvent) throws -> Bool
  ) throws -> GenerationResult {
    try generate(request, noise: nil, onEvent: onEvent)
  }

  /// - Parameter noise: initial noise `[1, C, H, W]` in place of what the seed would draw, for tests.
  package func generate(
    _ request: GenerationRequest, noise given: Tensor?, onEvent: (GenerationEvent) throws -> Bool
  ) throws -> GenerationResult {
    var record = RunRecord(request: request, folder: folder, geometry: geometry)
    let clock = PhaseClock()
    var scheduler = try makeScheduler(request)
    try scheduler.setTimesteps(request.steps)
    record.scheduler = RunRecord.SchedulerUsed(
      className: type(of: scheduler).className, config: try folder.rawConfig(of: "scheduler"))

    try prepare([request], onEvent: onEvent)
    MemoryBlock.releaseKept()
    clock.end("text")

    let predictor = try loadPredictor(request.precision, onEvent)
    clock.end("load transformer")

    var random: any RandomSource =
      request.noise == .torch
      ? TorchRandom(seed: request.seed) : PhiloxRandom(seed: request.seed)
    let scale = geometry.autoencoder.scaleFactor
    let drawn = random.normal([
      1, geometry.transformer.inChannels, request.modelHeight / scale, request.modelWidth / scale,
    ])
    let noise = given ?? drawn
    record.noise.sha256 = sha256(noise)

    let attention = DenseAttention()
    var loop = DenoisingLoop(
      scheduler, noise: noise, random: random,
      predict: predictor.guided(request, texts: conditioner?.embeddings(request) ?? [], attention: attention))
    try denoise(&loop, request, onEvent)
    clock.end("denoise")

    if !keepsModels { self.predictor = nil }
    MemoryBlock.releaseKept()
    let latents = loop.latents
    _ = try onEvent(.phase("decode"))
    let tiling = LatentDecoder.tiling(request, geometry)
    if let reason = tiling.reason { _ = try onEvent(.notice(reason)) }
    let picture = try loadDecoder(request.precision)(latents, tiled: tiling.isTiled)
    if !keepsModels { decoder = nil }
    let image = try LatentDecoder.image(picture, width: request.width, height: request.height)
    clock.end("decode")

    let statistics = attention.statistics
    record.attention.density = statistics.density
    record.attention.runDensity = statistics.density
    record.seconds = clock.seconds.merging(["attention": statistics.seconds]) { $1 }
    record.compute.cpu = Processor.level.description
    record.compute.threads = ThreadPool.shared.threads
    weightFiles = try weightFiles ?? RunRecord.WeightFile.all(in: folder)
    record.model.weights = weightFiles ?? []
    return GenerationResult(image: image, latents: latents, record: record)
  }

  private func makeScheduler(_ request: GenerationRequest) throws -> any Scheduler {
    var configuration = try SchedulerConfiguration(contentsOf: folder.configFile(of: "scheduler"))
    if let shift = request.flowShift {
      configuration.flowShift = shift
      configuration.shift = shift
    }
    return try Schedulers.makeScheduler(named: request.scheduler, configuration: configuration)
  }

  private func denoise(
    _ loop: inout DenoisingLoop, _ request: GenerationRequest, _ onEvent: (GenerationEvent) throws -> Bool
  ) throws {
    _ = try onEvent(.phase("denoise"))
    while let step = try loop.step() {
      let goesOn = try onEvent(.step(index: step.index + 1, count: loop.count))
      let isLast = step.index + 1 == loop.count
      if let every = request.previewEvery, (step.index + 1) % every == 0, !isLast {
        let picture = try loadDecoder(request.precision)(
          step.latents, tiled: LatentDecoder.tiling(request, geometry).isTiled)
        let image = try LatentDecoder.image(picture, width: request.width, height: request.height)
        _ = try onEvent(.preview(image, index: step.index + 1))
      }
      if !goesOn && !isLast { throw GenerationStopped(steps: step.index + 1) }
    }
  }

  private func loadPredictor(
    _ precision: Precision, _ onEvent: (GenerationEvent) throws -> Bool
  ) throws -> NoisePredictor {
    if let predictor, predictor.precision == precision { return predictor }
    predictor = nil
    _ = try onEvent(.phase("load transformer"))
    let loaded = try NoisePredictor(folder, precision: precision)
    predictor = loaded
    return loaded
  }

  private func loadDecoder(_ precision: Precision) throws -> LatentDecoder {
    if let decoder, decoder.precision == precision { return decoder.model }
    decoder = nil
    let model = try LatentDecoder(folder, precision: precision)
    decoder = (model, precision)
    return model
  }

  /// SHA-256 of the noise as little-endian Float32.
  private func sha256(_ noise: Tensor) -> String {
    var digest = SHA256()
    digest.update(
      noise.elements.flatMap { value in
        let bits = value.bitPattern
        return [
          UInt8(truncatingIfNeeded: bits), UInt8(truncatingIfNeeded: bits >> 8),
          UInt8(truncatingIfNeeded: bits >> 16), UInt8(truncatingIfNeeded: bits >> 24),
        ]
      })
    return digest.hex()
  }
}

/// Opens a generator for a pipeline folder.
public func makeImageGenerator(_ folder: PipelineFolder, options: GeneratorOptions) throws -> DiffusionGenerator {
  try DiffusionGenerator(folder, options: options)
}

/// Wall-clock seconds by phase.
private final class PhaseClock {
  private let clock = ContinuousClock()
  private var start: ContinuousClock.Instant
  private(set) var seconds: [String: Double] = [:]

  init() { start = clock.now }

  /// Ends a phase that began where the last one ended.
  func end(_ phase: String) {
    let now = clock.now
    seconds[phase, default: 0] += (now - start) / .seconds(1)
    start = now
  }
}
