import ArgumentParser
import DiffusionModels
import DiffusionPipelines

/// Flags that say what self-attention reads.
public struct AttentionArguments: ParsableArguments {
  @Option(
    name: [.long, .customLong("attention-backend")],
    help: ArgumentHelp(
      """
      Attention method with options, such as sliding-tile:window=1x3x3,dense-steps=4, or @file.json; list prints all \
      methods and their options. Known: \(AttentionChoice.knownMethods.joined(separator: ", ")). (default: dense)
      """, valueName: "method"))
  public var attention: String?

  @Option(help: ArgumentHelp("First steps kept dense. (default: the method's)", valueName: "count"))
  public var denseSteps: Int?

  @Option(help: ArgumentHelp("First layers kept dense. (default: the method's)", valueName: "count"))
  public var denseLayers: Int?

  @Option(
    help: ArgumentHelp(
      """
      Shorter keys and values in some layers, such as average:ratio=2,layers=4-7. Known: \
      \(KeyValueCompression.Mode.allCases.map(\.rawValue).joined(separator: ", ")). (default: the checkpoint's)
      """, valueName: "mode"))
  public var kvCompression: String?

  @Option(
    help: ArgumentHelp(
      "Write kept blocks, density and seconds by step and layer as .json, or draw them as .png.", valueName: "file"))
  public var attentionReport: String?

  public init() {}
}
