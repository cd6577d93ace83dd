import ArgumentParser
import DiffusionPipelines

/// `sweep-attention calibrate`: dense runs in, a method's tables for one pipeline and grid out.
public struct CalibrateCommand: EnvironmentCommand {
  public static let configuration = CommandConfiguration(
    commandName: "calibrate",
    abstract: "Make the tables of an attention method for a pipeline, a size and a number of steps.",
    discussion: """
      Runs the pipeline with dense attention for every prompt and seed, watches what each head reads, and writes \
      <method>-<grid>.json, with what belongs to it, where generate-image --attention looks for it. Prints the file's \
      path on standard output, findings and progress on standard error. generate-image --attention list names the \
      methods that have tables, and their options here.

      Exit codes: 0 done; 64 usage; 65 bad model data; 66 input missing; 73 cannot write; 74 failed while running; 130 \
      stopped, nothing written.
      """)

  @OptionGroup(title: "Model") public var model: ModelArguments
  @OptionGroup(title: "Runs to watch") public var sampling: SamplingArguments

  @Option(
    name: [.long, .customLong("frames")],
    help: ArgumentHelp("Frames of clips. (default: the model's)", valueName: "count"))
  public var numFrames: Int?

  @Option(help: ArgumentHelp("Method to calibrate, with options: name:key=value,...", valueName: "method"))
  public var method: String

  @Option(
    help: ArgumentHelp("Seeds of each prompt, such as 0,3,7-9, in place of --seed and -b.", valueName: "seeds"))
  public var seeds: String?

  @Option(
    name: [.customShort("o"), .long],
    help: ArgumentHelp("Folder for the tables. (default: attention, in the pipeline)", valueName: "folder"))
  public var output: String?

  @Flag(name: [.customShort("q"), .long], help: "No progress and no findings.")
  public var quiet = false

  public init() {}

  public var stoppedNote: String? { quiet ? nil : "nothing is written" }

  public func run(in environment: CommandEnvironment) throws -> ExitStatus {
    var flags = try FlagValues(model, sampling).readingPrompt(from: environment)
    flags.numFrames = numFrames
    let plan = try CalibrationPlan(flags, method: method, seeds: seeds, output: output, environment: environment)
    var run = CalibrationRun(plan, environment: environment, isQuiet: quiet)
    try run.run()
    return .done
  }
}

/// Reads seeds such as `0,3,7-9`.
func parseSeeds(_ text: String) throws -> [UInt64] {
  func fail() -> CommandError {
    .usage("--seeds '\(printable(text))': expected numbers and ranges such as 0,3,7-9, at most 10000 in all")
  }
  var seeds: [UInt64] = []
  for part in text.split(separator: ",", omittingEmptySubsequences: false) {
    let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { UInt64($0) }
    guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1], first <= last,
      last - first < 10_000
    else { throw fail() }
    seeds += first...last
    guard seeds.count <= 10_000 else { throw fail() }
  }
  return seeds
}
