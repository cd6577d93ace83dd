import ArgumentParser
import DiffusionPipelines

/// Flags that say which model runs, and on what.
public struct ModelArguments: ParsableArguments {
  @Option(
    name: [.customShort("m"), .long, .customLong("model")],
    help: ArgumentHelp(
      """
      Folder in diffusers layout. (default: \(MediaKind.image.defaultFolder), or \(MediaKind.video.defaultFolder) \
      for clips)
      """, valueName: "folder"))
  public var pipeline: String?

  @Option(help: "Arithmetic of matrix products: auto takes bfloat16 where the processor has it. (default: auto)")
  public var dtype: DtypeChoice?

  @Option(
    name: [.customShort("t"), .long],
    help: ArgumentHelp("Threads that compute. (default: physical cores)", valueName: "count"))
  public var threads: Int?

  public init() {}
}

/// Flags that say which model runs, and on what terms.
public struct PipelineArguments: ParsableArguments {
  @OptionGroup public var model: ModelArguments

  @Option(help: ArgumentHelp("Refuse, before loading, what cannot fit: 6G, 512M, 1.5GiB.", valueName: "amount"))
  public var memoryLimit: String?

  @Option(help: "Decode in tiles; auto does where memory is short, and says so. (default: auto)")
  public var vaeTiling: AutoencoderTiling?

  @Option(
    help: ArgumentHelp(
      "Flags from a JSON file, or from a PNG, MP4, WebM or MKV that Tessera wrote; the command line wins.",
      valueName: "file"))
  public var config: String?

  public init() {}
}
