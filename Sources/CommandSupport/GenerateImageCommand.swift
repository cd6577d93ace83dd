import ArgumentParser
import DiffusionPipelines
import Foundation

/// The `generate-image` command: flags in, pictures out.
public struct GenerateImageCommand: EnvironmentCommand {
  public static let configuration = CommandConfiguration(
    commandName: "generate-image",
    abstract: "Draw images with a diffusion transformer.",
    discussion: """
      Where several sources give a flag, a prompts file's line wins over the command line, that over --config, and \
      that over the pipeline's own defaults. Result paths go to standard output, everything else to standard error.

      Exit codes: 0 done; 1 some results of a batch failed (see failures.json); 64 usage; 65 bad model data; 66 input \
      missing; 69 not available; 71 over the memory limit; 73 cannot write; 74 failed while running; 130 stopped.
      """,
    version: "generate-image \(tesseraVersion)")

  @OptionGroup(title: "Model") public var pipeline: PipelineArguments
  @OptionGroup(title: "Picture") public var sampling: SamplingArguments
  @OptionGroup(title: "Attention") public var attention: AttentionArguments
  @OptionGroup(title: "Output") public var output: OutputArguments

  public init() {}

  public var stoppedNote: String? { output.quiet ? nil : "nothing of the unfinished picture is saved" }

  public func run(in environment: CommandEnvironment) throws -> ExitStatus {
    guard attention.attention != "list" else {
      environment.writeOutput(environment.methods.listing)
      return .done
    }
    let plan = try ImagePlan(flags(in: environment), environment: environment)
    guard output.dryRun else {
      for failure in plan.failures { environment.writeError("error: \(failure.error)\n") }
      var run = ImageRun(plan, output, environment: environment)
      return try run.run()
    }
    try plan.checkOutputFolders()
    if !output.quiet { for notice in plan.notices { environment.writeError("note: \(notice)\n") } }
    for failure in plan.failures { environment.writeError("error: \(failure.error)\n") }
    if let report = try DryRunReport(plan, processor: environment.processor) {
      let json = { String(decoding: try RunRecord.encoder().encode(report), as: UTF8.self) + "\n" }
      environment.writeOutput(try output.json ? json() : report.text)
    }
    return plan.failures.isEmpty ? .done : .someFailed
  }

  /// The command line over the configuration file, standard input read where asked for.
  private func flags(in environment: CommandEnvironment) throws -> FlagValues {
    let own = try FlagValues(pipeline, sampling, attention, output).readingPrompt(from: environment)
    guard let file = pipeline.config else { return own }
    var configured = try readConfiguration(file, readRecord: environment.readRecord)
    if own.promptsFile != nil {
      configured.prompt = nil
      configured.classLabel = nil
    }
    if own.prompt != nil || own.classLabel != nil { configured.promptsFile = nil }
    return own.over(configured)
  }
}
