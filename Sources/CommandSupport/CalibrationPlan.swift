import DiffusionPipelines
import SparseAttention

/// A calibration, checked: made before anything is loaded.
struct CalibrationPlan {
  let folder: PipelineFolder
  let threads: Int
  /// Method and options.
  let choice: AttentionChoice
  let context: MethodContext
  /// The runs to watch.
  let requests: [GenerationRequest]
  let calibrator: any AttentionCalibrator
  /// Folder for the tables, without a slash at its end.
  let output: String

  init(
    _ flags: FlagValues, method: String, seeds: String?, output: String?, environment: CommandEnvironment
  ) throws {
    threads = try checkedThreads(flags, environment.processor)
    choice = try AttentionChoice(parsing: method)
    _ = try environment.methods.information(choice.method)
    folder = try PipelineFolder(path: flags.pipeline ?? MediaKind.image.defaultFolder)
    let geometry = try ModelGeometry(folder)
    let resolveAttention = AttentionResolver(folder, geometry, methods: environment.methods)
    let resolver = RequestResolver(
      folder: folder, geometry: geometry, processor: environment.processor,
      checkScheduler: environment.checkScheduler, resolveAttention: resolveAttention, drawSeed: environment.drawSeed)
    requests = try Self.requests(flags, seeds: seeds.map(parseSeeds), resolver)
    let first = requests[0]
    context = try resolveAttention.context(first)
    for request in requests {
      let other = try resolveAttention.context(request)
      guard other == context, request.precision == first.precision else {
        throw CommandError.usage(
          "calibration needs one size, number of steps and dtype: found \(Self.describe(context, first)) and "
            + Self.describe(other, request))
      }
    }
    var options = try choice.optionTexts()
    options["dense-steps"] = choice.denseSteps.map(String.init)
    options["dense-layers"] = choice.denseLayers.map(String.init)
    calibrator = try environment.methods.makeCalibrator(
      choice.method, options: options, context: context, executor: BlockSparseExecutor(first.precision))
    let wanted = output ?? folder.calibrationFolder
    self.output = wanted.count > 1 && wanted.hasSuffix("/") ? String(wanted.dropLast()) : wanted
    try environment.proveWritable(path(CalibrationHeader.fileName(method: choice.method, layout: context.layout)))
  }

  /// The path of a file of the calibration.
  func path(_ name: String) -> String { output.hasSuffix("/") ? output + name : "\(output)/\(name)" }

  /// What a calibration file says it was made from.
  static func source(_ request: GenerationRequest) -> String {
    let subject = request.classLabel.map { "class \($0.id)" } ?? request.prompt
    return "\(subject) [seed \(request.seed)]"
  }

  private static func describe(_ context: MethodContext, _ request: GenerationRequest) -> String {
    "\(request.modelWidth)x\(request.modelHeight) in \(context.stepCount) steps, \(request.precision.rawValue)"
  }

  private static func requests(
    _ flags: FlagValues, seeds: [UInt64]?, _ resolver: RequestResolver
  ) throws -> [GenerationRequest] {
    guard seeds == nil || (flags.seed == nil && flags.batchCount == nil) else {
      throw CommandError.usage("expected --seeds, or --seed with --batch-count, found both")
    }
    let items =
      try flags.promptsFile.map { try readPromptsFile($0, kind: resolver.folder.kind).map { try $0.item.get().values } }
      ?? [FlagValues()]
    return try items.flatMap { item -> [GenerationRequest] in
      let merged = item.over(flags)
      guard merged.attention == nil, merged.denseSteps == nil, merged.denseLayers == nil else {
        throw CommandError.usage("calibration watches dense attention: found attention flags in a line of the prompts")
      }
      guard let seeds else { return try resolver.requests(merged) }
      return try seeds.flatMap { seed -> [GenerationRequest] in
        var one = merged
        (one.seed, one.batchCount) = (.fixed(seed), 1)
        return try resolver.requests(one)
      }
    }
  }
}
