import DiffusionPipelines
import Foundation
import Sweeps

/// Runs a planned sweep, and shows how far it is.
struct SweepRun {
  let plan: SweepPlan
  let folder: SweepFolder
  let environment: CommandEnvironment
  let printsJSON: Bool
  private var progress: ProgressPrinter
  private var finished = 0
  private var isWaiting = false
  private let start: Double

  init(
    _ plan: SweepPlan, _ folder: SweepFolder, environment: CommandEnvironment, isQuiet: Bool, printsJSON: Bool
  ) {
    (self.plan, self.folder, self.environment, self.printsJSON) = (plan, folder, environment, printsJSON)
    progress = ProgressPrinter(environment, isQuiet: isQuiet)
    start = environment.now()
  }

  mutating func run() throws {
    try environment.proveWritable(folder.url.appendingPathComponent("sweep.json").path)
    let pending = try SweepRunner.pending(plan.sweep, in: folder).count
    progress.line(
      "\(plan.sweep.cellCount) cells, \(plan.sweep.cellCount - pending) of them done, in \(folder.url.relativePath)")
    let generator = try environment.makeGenerator(plan.folder, GeneratorOptions(threads: plan.threads))
    let plan = plan
    var runner = SweepRunner(
      plan.sweep, in: folder, metrics: plan.metrics, generator: generator, resolveAttention: plan.resolveAttention,
      flops: { plan.denoisingFLOPs($0, density: $1) })
    defer { progress.close() }
    try runner.run { event in
      show(event)
      return !environment.stopRequested()
    }
    progress.close()
    try writeResults()
  }

  private mutating func show(_ event: SweepEvent) {
    switch event {
    case .cell(let number, let count, let cell, let probing):
      guard !probing else {
        progress.prefix += "measuring attention: "
        return
      }
      let passed = environment.now() - start
      let left =
        finished == 0
        ? ""
        : " [\(ProgressPrinter.clock(passed))<"
          + ProgressPrinter.clock(passed / Double(finished) * Double(count - number + 1)) + "]"
      progress.prefix = "cell \(number)/\(count)\(left) \(cell.folder): "
      progress.begin("start")
    case .generation(.phase(let name)): progress.begin(name)
    case .generation(.step(let index, let count)): progress.step(index, of: count)
    case .generation(.density(let density)): progress.density = density
    case .generation(.notice(let text)): progress.line("note: \(text)")
    case .generation(.preview), .generation(.state): break
    case .ran: finished += 1
    case .controlPassed(let cell): progress.line("\(cell.folder): equals dense attention, as it must")
    case .measured: break
    case .waiting:
      if !isWaiting { progress.line("waiting for cells that another process runs") }
      isWaiting = true
    }
  }

  private mutating func writeResults() throws {
    let pages = try SweepPages(folder: folder, environment: environment).write()
    progress.line(pages.summary)
    environment.writeOutput(pages.report + "\n")
  }
}
