import ArgumentParser
import DiffusionPipelines

/// The `generate-image` command: flags in, pictures out.
public struct GenerateImageCommand: GenerationCommand {
  public static let configuration = CommandConfiguration(
    commandName: "generate-image",
    abstract: "Draw images with a diffusion transformer.",
    discussion: generationDiscussion,
    version: "generate-image \(tesseraVersion)")
  static let kind = MediaKind.image

  @OptionGroup(title: "Model") var pipeline: PipelineArguments
  @OptionGroup(title: "Picture") var sampling: SamplingArguments
  @OptionGroup(title: "Attention") var attention: AttentionArguments
  @OptionGroup(title: "Output") var output: ImageOutputArguments

  public init() {}

  var common: OutputArguments { output.common }

  func values() throws -> FlagValues {
    var flags = try FlagValues(pipeline, sampling, attention, common)
    flags.output = output.output
    return flags
  }
}
