import ArgumentParser
import DiffusionPipelines

/// The `sweep-attention` command.
public struct SweepAttentionCommand: EnvironmentCommand {
  public static let configuration = CommandConfiguration(
    commandName: "sweep-attention",
    abstract: "Prepare and compare attention methods for a pipeline.",
    version: "sweep-attention \(tesseraVersion)",
    subcommands: [
      RunSweepCommand.self, ReportSweepCommand.self, CompareSweepsCommand.self, MergeSweepsCommand.self,
      CalibrateCommand.self,
    ])

  public init() {}

  public func run(in environment: CommandEnvironment) throws -> ExitStatus {
    environment.writeOutput(Self.helpMessage() + "\n")
    return .done
  }
}
