import Foundation
import Kernels
import Media
import Schedulers
import SparseAttention
import Tensors

/// Makes images and clips with one pipeline folder: text, noise, denoising, decoding, each part loaded when its turn
/// comes and let go before the next, so that two never weigh on memory at once.
public final class DiffusionGenerator: MediaGenerator {
  private let folder: PipelineFolder
  private let geometry: ModelGeometry
  private let options: GeneratorOptions
  private var conditioner: TextConditioner?
  private var predictor: NoisePredictor?
  private var decoder: (model: LatentDecoder, precision: Precision)?
  private let resolveAttention: AttentionResolver
  /// Whether transformer and autoencoder stay loaded between results.
  public var keepsModels = false

  /// - Parameter methods: the attention methods that requests may name.
  public init(_ folder: PipelineFolder, options: GeneratorOptions, methods: AttentionMethods = .standard) throws {
    self.folder = folder
    self.options = options
    geometry = try ModelGeometry(folder)
    resolveAttention = AttentionResolver(folder, geometry, methods: methods)
    ThreadPool.shared.configure(threads: options.threads)
  }

  public func prepare(
    _ requests: [GenerationRequest], onEvent: (GenerationEvent) throws -> Bool
  ) throws {
    guard !folder.kind.takesClassLabel else { return }
    let conditioner =
      try self.conditioner ?? TextConditioner(folder, resolveAttention.weights, cache: options.embeddings)
    self.conditioner = conditioner
    try conditioner.prepare(requests, onEvent: onEvent)
  }

  public func denoise(
    _ request: GenerationRequest, resuming state: RunState?, onEvent: (GenerationEvent) throws -> Bool
  ) throws -> DenoisedResult {
    try denoise(request, noise: nil, resuming: state, onEvent: onEvent)
  }

  public func denoise(
    _ request: GenerationRequest, with engine: any AttentionEngine, onEvent: (GenerationEvent) throws -> Bool
  ) throws -> Tensor {
    let scheduler = try makeScheduler(request)
    try prepare([request], onEvent: onEvent)
    MemoryBlock.releaseKept()
    return try denoised(
      request, scheduler, noise: nil, engine, PhaseClock(), resuming: nil, onEvent, onStep: { _, _ in }
    ).latents
  }

  /// - Parameter noise: initial noise in place of what the seed would draw, for tests.
  package func denoise(
    _ request: GenerationRequest, noise given: Tensor?, resuming state: RunState? = nil,
    onEvent: (GenerationEvent) throws -> Bool
  ) throws -> DenoisedResult {
    let clock = PhaseClock()
    var record = try RunRecord.expected(request, folder, geometry, resolveAttention)
    let resolved = try resolveAttention(request)
    let attention = resolved.engine(request.precision)
    let sampler = request.wantsAttentionPatterns ? PatternSampler(watching: attention, of: resolved.context) : nil
    let scheduler = try makeScheduler(request)
    record.scheduler = RunRecord.SchedulerUsed(
      className: type(of: scheduler).className, config: try folder.rawConfig(of: "scheduler"))
    try state?.check(against: record)
    attention.resume(with: AttentionStatistics(state?.attention ?? []))

    if state?.steps != request.steps { try prepare([request], onEvent: onEvent) }
    MemoryBlock.releaseKept()
    clock.end("text")

    let dropsPairs = resolved.method != nil || resolved.compression != nil
    let (latents, noise) = try denoised(request, scheduler, noise: given, attention, clock, resuming: state) { event in
      if case .step = event, dropsPairs { _ = try onEvent(.density(attention.statistics.runDensity)) }
      return try onEvent(event)
    } onStep: { loop, steps in
      let state = try RunState(
        record, steps: steps, latents: loop.latents, solver: loop.solver, random: loop.random,
        attention: attention.statistics.records)
      _ = try onEvent(.state(state))
    }
    // The transformer is gone by now unless it is kept, and its memory with it.
    MemoryBlock.releaseKept()

    let statistics = attention.statistics
    record.measured(statistics)
    record.noise.sha256 = sha256(noise)
    record.seconds = clock.seconds.merging([
      "attention": statistics.computeSeconds, "attention plans": statistics.planSeconds,
    ]) { $1 }
    for (phase, peak) in clock.peakMemory { record.note(peak, after: phase) }
    record.compute.threads = ThreadPool.shared.threads
    return DenoisedResult(
      request: request, latents: latents, record: record,
      attention: AttentionTrace(statistics, samples: sampler?.samples ?? []))
  }

  /// The request's scheduler with its steps chosen.
  private func makeScheduler(_ request: GenerationRequest) throws -> any Scheduler {
    var configuration = try SchedulerConfiguration(contentsOf: folder.configFile(of: "scheduler"))
    if let shift = request.flowShift {
      configuration.flowShift = shift
      configuration.shift = shift
    }
    var scheduler = try Schedulers.makeScheduler(named: request.scheduler, configuration: configuration)
    try scheduler.setTimesteps(request.steps)
    return scheduler
  }

  /// Loads the transformer, draws the noise and takes all steps: the final latents and the noise, `[1, C, H, W]`.
  private func denoised(
    _ request: GenerationRequest, _ scheduler: any Scheduler, noise given: Tensor?, _ attention: any AttentionEngine,
    _ clock: PhaseClock, resuming state: RunState?, _ onEvent: (GenerationEvent) throws -> Bool,
    onStep: (DenoisingLoop, Int) throws -> Void
  ) throws -> (latents: Tensor, noise: Tensor) {
    var random: any RandomSource =
      request.noise == .torch ? TorchRandom(seed: request.seed) : PhiloxRandom(seed: request.seed)
    let drawn = random.normal(geometry.noiseShape(of: request, isVideo: folder.kind.isVideo))
    let noise = given ?? drawn
    if let state, state.steps == request.steps {
      guard state.latents.shape == noise.shape else {
        throw PipelineError.badRequest(
          "the saved state is of another run: expected latents \(noise.shape), found \(state.latents.shape)")
      }
      return (state.latents, noise)
    }

    let predictor = try loadPredictor(request, onEvent)
    defer { if !keepsModels { self.predictor = nil } }
    clock.end("load transformer")

    _ = try onEvent(.phase("denoise"))
    var loop = DenoisingLoop(
      scheduler, noise: noise, random: random,
      predict: predictor.guided(request, texts: conditioner?.embeddings(request) ?? [], attention: attention))
    if let state { try loop.resume(state) }
    while let step = try loop.step() {
      let number = step.index + 1, isLast = number == loop.count
      try onStep(loop, number)
      let goesOn = try onEvent(.step(index: number, count: loop.count))
      if let every = request.previewEvery, number % every == 0, !isLast {
        _ = try onEvent(.preview(try preview(of: step.latents, request), index: number))
      }
      if !goesOn && !isLast { throw GenerationStopped(steps: number) }
    }
    clock.end("denoise")
    return (loop.latents, noise)
  }

  public func decode(
    _ denoised: DenoisedResult, onFrame: (Frame) throws -> Void, onEvent: (GenerationEvent) throws -> Bool
  ) throws -> Double {
    let request = denoised.request, clock = PhaseClock()
    _ = try onEvent(.phase("decode"))
    if let reason = LatentDecoder.tiling(request, geometry).reason { _ = try onEvent(.notice(reason)) }
    defer { if !keepsModels { decoder = nil } }
    guard folder.kind.isVideo else {
      try onFrame(picture(of: denoised.latents, request))
      return clock.end("decode")
    }
    var count = 0
    try frames(of: denoised.latents, request) { frame in
      count += 1
      try onFrame(frame)
      if try !onEvent(.step(index: count, count: request.frames)) && count < request.frames {
        throw GenerationStopped(steps: request.steps)
      }
    }
    return clock.end("decode")
  }

  private func frames(
    of latents: Tensor, _ request: GenerationRequest, _ onFrame: (Frame) throws -> Void
  ) throws {
    let isTiled = LatentDecoder.tiling(request, geometry).isTiled
    try loadDecoder(request.precision.besideIntegers).clip(latents, tiled: isTiled) { picture in
      try onFrame(LatentDecoder.image(picture, width: request.width, height: request.height))
    }
  }

  /// The picture so far; of a clip a sheet of up to nine frames.
  private func preview(of latents: Tensor, _ request: GenerationRequest) throws -> Frame {
    guard folder.kind.isVideo else { return try picture(of: latents, request) }
    var all: [Frame] = []
    try frames(of: latents, request) { all.append($0) }
    let count = min(9, all.count)
    let picked = (0..<count).map { all[count == 1 ? 0 : $0 * (all.count - 1) / (count - 1)] }
    return ContactSheet.compose(picked, columns: min(3, count))
  }

  private func picture(of latents: Tensor, _ request: GenerationRequest) throws -> Frame {
    let isTiled = LatentDecoder.tiling(request, geometry).isTiled
    let picture = try loadDecoder(request.precision.besideIntegers)(latents, tiled: isTiled)
    return try LatentDecoder.image(picture, width: request.width, height: request.height)
  }

  private func loadPredictor(
    _ request: GenerationRequest, _ onEvent: (GenerationEvent) throws -> Bool
  ) throws -> NoisePredictor {
    let precision = request.precision, compression = request.keyValueCompression
    if let predictor, predictor.precision == precision, predictor.compression == compression { return predictor }
    predictor = nil
    _ = try onEvent(.phase("load transformer"))
    let loaded = try NoisePredictor(folder, precision: precision, compression: compression)
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
    digest.update(noise.bytes)
    return digest.hex()
  }
}

/// Opens a generator for a pipeline folder.
public func makeGenerator(
  _ folder: PipelineFolder, options: GeneratorOptions, methods: AttentionMethods = .standard
) throws -> DiffusionGenerator {
  try DiffusionGenerator(folder, options: options, methods: methods)
}

/// Wall-clock seconds by phase, and the process's peak memory at the end of each.
private final class PhaseClock {
  private let clock = ContinuousClock()
  private var start: ContinuousClock.Instant
  private(set) var seconds: [String: Double] = [:]
  private(set) var peakMemory: [String: ProcessMemory.Peak] = [:]

  init() { start = clock.now }

  /// Ends a phase that began where the last one ended.
  @discardableResult
  func end(_ phase: String) -> Double {
    let now = clock.now, passed = (now - start) / .seconds(1)
    seconds[phase, default: 0] += passed
    start = now
    peakMemory[phase] = ProcessMemory.peak
    return passed
  }
}
