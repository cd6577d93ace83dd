import ArgumentParser
import DiffusionPipelines

/// The `generate-video` command: flags in, clips out.
public struct GenerateVideoCommand: GenerationCommand {
  public static let configuration = CommandConfiguration(
    commandName: "generate-video",
    abstract: "Make video clips with a diffusion transformer.",
    discussion: generationDiscussion,
    version: "generate-video \(tesseraVersion)")
  static let kind = MediaKind.video

  @OptionGroup(title: "Model") var pipeline: PipelineArguments
  @OptionGroup(title: "Clip") var clip: ClipArguments
  @OptionGroup(title: "Picture") var sampling: SamplingArguments
  @OptionGroup(title: "Attention") var attention: AttentionArguments
  @OptionGroup(title: "Output") var output: VideoOutputArguments

  public init() {}

  var common: OutputArguments { output.common }

  func values() throws -> FlagValues {
    var flags = try FlagValues(pipeline, sampling, attention, common)
    (flags.numFrames, flags.fps) = (clip.numFrames, clip.fps)
    (flags.output, flags.codec, flags.crf, flags.preset) = (output.output, output.codec, output.crf, output.preset)
    return flags
  }
}
