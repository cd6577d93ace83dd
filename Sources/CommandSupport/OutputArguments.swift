import ArgumentParser

/// Flags of what is written besides the result itself, and of what is said.
public struct OutputArguments: ParsableArguments {
  @Option(help: ArgumentHelp("Write the final latents: Float32, key latents.", valueName: "file.safetensors"))
  public var saveLatents: String?

  @Option(
    help: ArgumentHelp(
      "Decode a preview after every so many steps; of a clip a sheet of up to nine frames.", valueName: "steps"))
  public var previewEvery: Int?

  @Option(
    help: ArgumentHelp(
      "Where previews go; %04d counts steps. (default: the output's name with -preview)", valueName: "file.png"))
  public var previewPath: String?

  @Option(
    help: ArgumentHelp(
      "Seconds between saved states of a run, beside its output; 0 saves after every step. (default: 60)",
      valueName: "seconds"))
  public var checkpointEvery: Double?

  @Flag(help: "Go on from the saved state of a stopped run; results that are there already are not made again.")
  public var resume = false

  @Flag(inversion: .prefixedNo, help: "Write how a result was made into its file, or not. (default: --metadata)")
  public var metadata: Bool?

  @Flag(help: "Print token grid, density, weights, memory, operations and a time estimate; load nothing.")
  public var dryRun = false

  @Flag(help: "Print one JSON object for each result on standard output.")
  public var json = false

  @Flag(name: [.customShort("q"), .long], help: "No progress and no notices.")
  public var quiet = false

  @Flag(name: [.customShort("v"), .long], help: "Say more about what is done.")
  public var verbose = false

  public init() {}
}
