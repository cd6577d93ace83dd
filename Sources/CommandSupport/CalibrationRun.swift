import DiffusionPipelines
import SparseAttention

/// Watches a plan's runs and writes what its calibrator made of them.
struct CalibrationRun {
  let plan: CalibrationPlan
  let environment: CommandEnvironment
  private var progress: ProgressPrinter

  init(_ plan: CalibrationPlan, environment: CommandEnvironment, isQuiet: Bool) {
    self.plan = plan
    self.environment = environment
    progress = ProgressPrinter(environment, isQuiet: isQuiet)
  }

  mutating func run() throws {
    let context = plan.context
    progress.line(
      "calibrating \(plan.choice.method) for \(context.layout.gridName) tokens, \(context.stepCount) steps, "
        + "\(context.layerCount) layers of \(context.heads) heads")
    defer { progress.close() }
    try watch()
    progress.begin("making tables")
    let made = try plan.calibrator.finish(prompts: plan.requests.map(CalibrationPlan.source))
    progress.close()
    guard let table = made.files.first else { return }
    // The JSON file last: where it is, all that it names is there.
    for file in made.files.dropFirst() + [table] { try environment.writeFile(file.bytes, plan.path(file.name)) }
    for line in made.summary { progress.line(line) }
    environment.writeOutput(plan.path(table.name) + "\n")
  }

  private mutating func watch() throws {
    let generator = try environment.makeGenerator(plan.folder, GeneratorOptions(threads: plan.threads))
    generator.keepsModels = true
    try generator.prepare(plan.requests) { event in
      show(event)
      return !environment.stopRequested()
    }
    for (index, request) in plan.requests.enumerated() {
      if environment.stopRequested() { throw GenerationStopped(steps: 0) }
      progress.prefix = plan.requests.count > 1 ? "run \(index + 1)/\(plan.requests.count): " : ""
      progress.line(progress.prefix + CalibrationPlan.source(request))
      _ = try generator.denoise(request, with: plan.calibrator) { event in
        show(event)
        return !environment.stopRequested()
      }
    }
    progress.prefix = ""
    if environment.stopRequested() { throw GenerationStopped(steps: plan.context.stepCount) }
  }

  private mutating func show(_ event: GenerationEvent) {
    switch event {
    case .phase(let name): progress.begin(name)
    case .step(let index, let count): progress.step(index, of: count)
    case .notice(let text): progress.line("note: \(text)")
    case .density, .preview, .state: break
    }
  }
}
