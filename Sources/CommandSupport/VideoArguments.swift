import ArgumentParser

/// Flags of a clip's length and pace.
public struct ClipArguments: ParsableArguments {
  @Option(
    name: [.long, .customLong("frames")],
    help: ArgumentHelp(
      "Frames; brought to the nearest number that the model makes, 4k+1 for Wan. (default: the model's)",
      valueName: "count"))
  public var numFrames: Int?

  @Option(help: ArgumentHelp("Frames a second of the file. (default: the model's)", valueName: "rate"))
  public var fps: Double?

  public init() {}
}

/// Flags that say what is written, and how it is encoded.
public struct VideoOutputArguments: ParsableArguments {
  @Option(
    name: [.customShort("o"), .long],
    help: ArgumentHelp(
      """
      A .mp4, .webm, .mkv, .gif or .webp file; folder/ or a pattern such as f-%04d.png for frames as PNG; a pattern \
      such as clip-%02d.mp4 for several clips. (default: outputs/video-<seed>.mp4)
      """, valueName: "path"))
  public var output: String?

  @Option(
    help: ArgumentHelp(
      """
      h264, h265 or av1 in .mp4; vp9 or av1 in .webm; ffv1 (lossless RGB) or any of these in .mkv. (default: the \
      first of each)
      """, valueName: "name"))
  public var codec: String?

  @Option(
    help: ArgumentHelp(
      "Constant rate factor: lower is better and larger. (default: h264 18, h265 20, vp9 and av1 24)",
      valueName: "number"))
  public var crf: Int?

  @Option(help: ArgumentHelp("Encoding effort, from ultrafast to veryslow. (default: medium)", valueName: "name"))
  public var preset: String?

  @OptionGroup public var common: OutputArguments

  public init() {}
}

/// Flags that say what is written, and where.
public struct ImageOutputArguments: ParsableArguments {
  @Option(
    name: [.customShort("o"), .long],
    help: ArgumentHelp(
      "A .png file, folder/, or a pattern such as out-%04d.png. (default: outputs/image-<seed>.png)",
      valueName: "path"))
  public var output: String?

  @OptionGroup public var common: OutputArguments

  public init() {}
}
