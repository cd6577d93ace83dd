import DiffusionPipelines
import Evaluation
import Foundation
import SparseAttention
import Sweeps
import Tensors

/// A sweep, checked: made before anything is loaded.
struct SweepPlan {
  let folder: PipelineFolder
  let geometry: ModelGeometry
  let weights: WeightSizes
  let resolveAttention: AttentionResolver
  let threads: Int
  let metrics: CellMetrics
  private(set) var sweep: Sweep
  /// What the user should know of before the run.
  private(set) var notices: [String] = []

  /// - Parameter flags: the command line, which wins over the spec's sampling.
  init(_ spec: SweepSpec, flags: FlagValues, environment: CommandEnvironment) throws {
    var notices: [String] = []
    let bases = spec.samplings.map { flags.over($0) }, base = bases[0]
    threads = try checkedThreads(base, environment.processor)
    let folder = try PipelineFolder(path: flags.pipeline ?? spec.pipeline ?? MediaKind.image.defaultFolder)
    let geometry = try ModelGeometry(folder)
    weights = try WeightSizes(folder)
    let resolveAttention = AttentionResolver(folder, geometry, methods: environment.methods)
    let resolver = RequestResolver(
      folder: folder, geometry: geometry, processor: environment.processor,
      checkScheduler: environment.checkScheduler, resolveAttention: resolveAttention, drawSeed: environment.drawSeed)
    guard base.attention == nil, base.denseSteps == nil, base.denseLayers == nil else {
      throw CommandError.usage("a sweep's methods are its own: found attention flags among the sampling flags")
    }
    guard !spec.methods.isEmpty else {
      throw CommandError.usage("expected methods to compare (--attention, or methods in the spec), found none")
    }
    let prompts = try Self.prompts(spec, base, kind: folder.kind)
    let seeds = spec.seeds ?? [0]
    let dtypes = try Self.dtypes(spec, base)

    // All groups have the same variants: they are solved for once, on the first request of each sampling.
    var variants: [FlagValues: [PlannedVariant]] = [:]
    var groups: [Sweep.Group] = [], references: Set<String> = []
    let modelHash = try resolveAttention.modelHash()
    var first: GenerationRequest?
    for (promptIndex, prompt) in prompts.enumerated() {
      for (seed, base, dtype) in Self.combinations(seeds, bases, dtypes) {
        var one = prompt.flags.over(base)
        (one.seed, one.batchCount, one.dtype) = (.fixed(seed), 1, dtype)
        (one.output, one.promptsFile) = (nil, nil)
        let request = try resolver.requests(one)[0]
        first = first ?? request
        guard request.width == first?.width, request.height == first?.height, request.frames == first?.frames else {
          throw CommandError.usage("a sweep has one size and length: found prompts of different sizes")
        }
        var sampling = base
        sampling.dtype = dtype
        let own: [PlannedVariant]
        if let known = variants[sampling] {
          own = known
        } else {
          let planner = VariantPlanner(spec: spec, resolveAttention: resolveAttention, folder: folder)
          own = try planner.variants(request, dtype: dtype, isFirst: variants.isEmpty)
          notices += planner.notices
          variants[sampling] = own
        }
        func cell(_ variant: PlannedVariant) throws -> Sweep.Cell {
          var own = request
          own.attention = variant.choice
          own.keyValueCompression = variant.compression ?? own.keyValueCompression
          let resolved = try resolveAttention(own)
          own.attention = resolved.choice
          let settings = RunRecord(request: own, folder: folder, geometry: geometry).request
          var described = variant.variant(request)
          described.attention = resolved.choice.text
          return Sweep.Cell(
            folder: try Sweep.folder(
              promptIndex: promptIndex, variant: described, settings: settings, modelHash: modelHash,
              calibration: resolved.calibration),
            request: own, variant: described,
            command: try settings.shellCommand(program: folder.kind.isVideo ? "generate-video" : "generate-image"))
        }
        let isFirst = promptIndex == 0 && seed == seeds[0]
        var group = Sweep.Group(
          prompt: one.prompt ?? one.classLabel?.text ?? "", promptIndex: promptIndex, seed: seed,
          reference: try cell(.reference(dtype)), cells: try own.filter { $0.role != .control || isFirst }.map(cell),
          probes: promptIndex < spec.recallPrompts && seed == seeds[0])
        group.expected = prompt.source?.expected
        // A flag of the command line or of a prompt may have made two samplings one.
        if references.insert(group.reference.folder).inserted { groups.append(group) }
      }
    }
    guard let first else { throw CommandError.usage("expected prompts, found none") }
    var made = try CellMetrics.make(
      spec.metrics, lpips: spec.lpipsWeights.map { URL(fileURLWithPath: $0) }, width: first.width,
      height: first.height, frames: first.frames)
    made.metrics.judge = try AdherencePlan(spec, folder).judge(
      of: prompts.compactMap(\.source), isClip: first.frames > 1, &notices)
    metrics = made.metrics
    for name in made.left { notices.append("\(name) left out: \(first.width)x\(first.height) is too small for it") }
    sweep = Sweep(
      header: SweepResults.Header(
        pipeline: folder.path, pipelineClass: folder.kind.rawValue, modelHash: modelHash, width: first.width,
        height: first.height, frames: first.frames, tokenGrid: geometry.tokenGrid(of: first),
        layers: geometry.transformer.layers,
        heads: geometry.transformer.heads, cpu: environment.cpu, threads: threads, version: tesseraVersion,
        metrics: made.metrics.listing),
      groups: groups)
    sweep.probedQueries = spec.recallQueries
    (self.folder, self.geometry) = (folder, geometry)
    self.resolveAttention = resolveAttention
    self.notices = notices
  }

  /// Keeps part `index` of `count`, from 1.
  mutating func keep(shard index: Int, of count: Int) { sweep = sweep.shard(index, of: count) }

  /// Floating-point operations of denoising a request.
  func denoisingFLOPs(_ request: GenerationRequest, density: Double) -> Double {
    let estimate = MemoryEstimate(request, geometry: geometry, weights: weights, attentionDensity: density)
    return estimate.phases.first { $0.name == "denoise" }?.flops ?? 0
  }

  private struct PlannedPrompt {
    var flags: FlagValues
    /// Where it comes from the spec itself.
    var source: SweepSpec.Prompt?
  }

  private static func prompts(_ spec: SweepSpec, _ flags: FlagValues, kind: PipelineKind) throws -> [PlannedPrompt] {
    if let file = flags.promptsFile ?? spec.promptsFile {
      return try readPromptsFile(file, kind: kind).map { PlannedPrompt(flags: try $0.item.get().values) }
    }
    if let prompts = spec.prompts {
      return prompts.map { prompt in
        var values = FlagValues()
        if kind.takesClassLabel { values.classLabel = LooseText(prompt.text) } else { values.prompt = prompt.text }
        return PlannedPrompt(flags: values, source: prompt)
      }
    }
    return [PlannedPrompt(flags: FlagValues())]
  }

  private static func combinations(
    _ seeds: [UInt64], _ samplings: [FlagValues], _ dtypes: [DtypeChoice]
  ) -> [(UInt64, FlagValues, DtypeChoice)] {
    seeds.flatMap { seed in samplings.flatMap { sampling in dtypes.map { (seed, sampling, $0) } } }
  }

  private static func dtypes(_ spec: SweepSpec, _ flags: FlagValues) throws -> [DtypeChoice] {
    var all: [DtypeChoice] = []
    for method in spec.methods {
      for dtype in method.dtype ?? [flags.dtype ?? .auto] where !all.contains(dtype) { all.append(dtype) }
    }
    return all
  }
}
