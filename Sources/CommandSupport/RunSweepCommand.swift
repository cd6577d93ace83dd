import ArgumentParser
import DiffusionPipelines
import Foundation
import Sweeps

/// `sweep-attention run`: a spec in; per cell a folder with pictures, record and metrics, and tables out.
public struct RunSweepCommand: EnvironmentCommand {
  public static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Compare attention methods against dense attention: quality, density and cost.",
    discussion: """
      Every prompt and seed is made once with dense attention and once with each variant, from the same noise. A run \
      that was stopped or killed goes on where it was: finished cells are skipped. --shard 2/5 does the second fifth; \
      sweep-attention merge puts the parts together.

      Exit codes: 0 done; 64 usage; 65 bad data; 66 input missing; 70 a control cell differs from dense attention; 73 \
      cannot write; 74 failed while running; 130 stopped, finished cells kept.
      """)

  @OptionGroup(title: "Model") var model: ModelArguments
  @OptionGroup(title: "Pictures") var sampling: SamplingArguments

  @Option(name: [.long, .customLong("frames")], help: ArgumentHelp("Frames of clips.", valueName: "count"))
  var numFrames: Int?

  @Option(help: ArgumentHelp("Seeds of each prompt, such as 0,3,7-9. (default: the spec's, or 0)", valueName: "seeds"))
  var seeds: String?

  @Option(help: ArgumentHelp("What to compare: methods, densities, prompts, sampling.", valueName: "file.json"))
  var spec: String?

  @Option(
    help: ArgumentHelp(
      "A method with options, in place of the spec's; may be given several times.", valueName: "method"))
  var attention: [String] = []

  @Option(help: ArgumentHelp("Shares of pairs to solve methods for, such as 0.5,0.3.", valueName: "list"))
  var density: String?

  @Option(
    help: ArgumentHelp(
      "psnr, ssim, ms-ssim, flip, lpips; of clips also the names of temporal metrics. (default: all but lpips)",
      valueName: "list"))
  var metrics: String?

  @Option(help: ArgumentHelp("LPIPS weights, made by Tools/make_lpips_weights.py.", valueName: "file.safetensors"))
  var lpipsWeights: [String] = []

  @Option(
    help: ArgumentHelp("Measure what attention loses, on the first so many prompts.", valueName: "count"))
  var recallPrompts: Int?

  @Option(help: ArgumentHelp("Do part i of n: whole groups of one prompt and seed.", valueName: "i/n"))
  var shard: String?

  @Option(
    name: [.customShort("o"), .long],
    help: ArgumentHelp("Folder for the sweep. (default: sweeps/<pipeline>)", valueName: "folder"))
  var output: String?

  @Flag(help: "Go on with what is in the folder, as is always done.")
  var resume = false

  @Flag(help: "Print cells, variants, memory and a time estimate; load nothing.")
  var dryRun = false

  @Flag(help: "Print one JSON object for each finished cell on standard output.")
  var json = false

  @Flag(name: [.customShort("q"), .long], help: "No progress and no notices.")
  var quiet = false

  public init() {}

  public var stoppedNote: String? { quiet ? nil : "finished cells are kept; the same command goes on" }

  public func run(in environment: CommandEnvironment) throws -> ExitStatus {
    var flags = try FlagValues(model, sampling).readingPrompt(from: environment)
    flags.numFrames = numFrames
    var plan = try SweepPlan(try fullSpec(flags), flags: flags, environment: environment)
    if let shard { try keep(shard, of: &plan) }
    let name = URL(fileURLWithPath: plan.folder.path).lastPathComponent
    let folder = SweepFolder(URL(fileURLWithPath: output ?? "sweeps/\(name)"))
    if !quiet { for notice in plan.notices { environment.writeError("note: \(notice)\n") } }
    guard !dryRun else {
      environment.writeOutput(try SweepForecast(plan, in: folder, processor: environment.processor).output(json: json))
      return .done
    }
    var run = SweepRun(plan, folder, environment: environment, isQuiet: quiet, printsJSON: json)
    try run.run()
    return .done
  }

  /// The spec file's content with what flags say over it.
  private func fullSpec(_ flags: FlagValues) throws -> SweepSpec {
    var full = try spec.map { try SweepSpec(file: $0) } ?? SweepSpec()
    if !attention.isEmpty { full.methods = attention.map { SweepSpec.Method(attention: $0) } }
    if let density {
      full.densities = try density.split(separator: ",", omittingEmptySubsequences: false).map { part in
        guard let value = Double(part) else {
          throw CommandError.usage("--density '\(printable(density))': expected numbers such as 0.5,0.3")
        }
        return value
      }
    }
    if let metrics { full.metrics = metrics.split(separator: ",").map(String.init) }
    if !lpipsWeights.isEmpty { full.lpipsWeights = lpipsWeights }
    if let recallPrompts { full.recallPrompts = recallPrompts }
    if let seeds { full.seeds = try parseSeeds(seeds) }
    if case .fixed(let seed)? = flags.seed { full.seeds = [seed] }
    if flags.prompt != nil || flags.classLabel != nil { (full.prompts, full.promptsFile) = (nil, nil) }
    for density in (full.densities ?? []) + full.methods.flatMap({ $0.densities ?? [] }) {
      guard density > 0, density <= 1 else {
        throw CommandError.usage("density \(density): expected a share of pairs above 0, up to 1")
      }
    }
    return full
  }

  private func keep(_ shard: String, of plan: inout SweepPlan) throws {
    let parts = shard.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
    guard parts.count == 2, let index = parts[0], let count = parts[1], (1...100_000).contains(count),
      (1...count).contains(index)
    else { throw CommandError.usage("--shard '\(printable(shard))': expected i/n such as 2/5") }
    plan.keep(shard: index, of: count)
  }
}
