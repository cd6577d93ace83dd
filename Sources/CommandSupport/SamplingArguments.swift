import ArgumentParser
import DiffusionPipelines

/// Flags that say what is drawn, and how.
public struct SamplingArguments: ParsableArguments {
  @Option(
    name: [.customShort("p"), .long],
    help: ArgumentHelp("What to draw; - reads standard input.", valueName: "text"))
  public var prompt: String?

  @Option(
    help: ArgumentHelp(
      "One prompt a line, or JSON lines whose keys are flags; a line's own values win over the command line.",
      valueName: "file"))
  public var promptsFile: String?

  @Option(name: [.customShort("n"), .long], help: ArgumentHelp("What to keep away from.", valueName: "text"))
  public var negativePrompt: String?

  @Option(help: ArgumentHelp("Class to draw, for class-conditional models: its number or name.", valueName: "class"))
  public var classLabel: String?

  @Option(
    name: [.long, .customLong("num-inference-steps")],
    help: ArgumentHelp("Denoising steps. (default: the model's)", valueName: "count"))
  public var steps: Int?

  @Option(
    name: [.long, .customLong("cfg-scale")], parsing: .unconditional,
    help: ArgumentHelp("Classifier-free guidance; 1 turns it off. (default: the model's)", valueName: "scale"))
  public var guidanceScale: Double?

  @Option(
    name: [.customShort("s"), .long], parsing: .unconditional,
    help: ArgumentHelp("64-bit seed; -1 draws one. (default: drawn)", valueName: "number"))
  public var seed: SeedChoice?

  @Option(name: [.customShort("W"), .long], help: ArgumentHelp("Width. (default: the model's)", valueName: "pixels"))
  public var width: Int?

  @Option(name: [.customShort("H"), .long], help: ArgumentHelp("Height. (default: the model's)", valueName: "pixels"))
  public var height: Int?

  @Option(help: ArgumentHelp("Width and height at once.", valueName: "WxH"))
  public var size: String?

  @Option(
    help: """
      auto: draw at the nearest size published for the model, where there is such a table, and scale back; off: draw \
      at the size asked for. (default: auto, or the model's)
      """)
  public var resolutionBinning: ResolutionBinning?

  @Flag(inversion: .prefixedNo, help: "Clean the prompt as upstream does, or leave it as typed. (default: the model's)")
  public var cleanCaption: Bool?

  @Option(
    name: [.customShort("b"), .long],
    help: ArgumentHelp("Results for each prompt, with seeds seed, seed+1, ... (default: 1)", valueName: "count"))
  public var batchCount: Int?

  @Option(help: ArgumentHelp("Scheduler class or short name. (default: the folder's)", valueName: "name"))
  public var scheduler: String?

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Shift of flow schedules. (default: the folder's)", valueName: "shift"))
  public var flowShift: Double?

  @Option(help: ArgumentHelp("Text tokens. (default: the model's)", valueName: "count"))
  public var maxSequenceLength: Int?

  @Option(help: "Noise generator: torch draws what PyTorch's CPU generator draws. (default: torch)")
  public var rng: NoiseGenerator?

  public init() {}
}
