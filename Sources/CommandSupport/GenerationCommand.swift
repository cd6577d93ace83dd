import DiffusionPipelines

/// A program that makes results from prompts: flags in, files out.
protocol GenerationCommand: EnvironmentCommand {
  static var kind: MediaKind { get }
  var pipeline: PipelineArguments { get }
  var sampling: SamplingArguments { get }
  var attention: AttentionArguments { get }
  /// Flags that all programs of this kind share.
  var common: OutputArguments { get }
  /// What the command line says.
  func values() throws -> FlagValues
}

extension GenerationCommand {
  public var stoppedNote: String? { common.quiet ? nil : "--resume goes on with what was saved" }

  public func run(in environment: CommandEnvironment) throws -> ExitStatus {
    guard attention.attention != "list" else {
      environment.writeOutput(environment.methods.listing)
      return .done
    }
    let plan = try GenerationPlan(flags(in: environment), kind: Self.kind, environment: environment)
    guard common.dryRun else {
      for failure in plan.failures { environment.writeError("error: \(failure.error)\n") }
      var run = GenerationRun(plan, common, environment: environment)
      return try run.run()
    }
    try plan.checkOutputFolders()
    if !common.quiet { for notice in plan.notices { environment.writeError("note: \(notice)\n") } }
    for failure in plan.failures { environment.writeError("error: \(failure.error)\n") }
    if let report = try DryRunReport(plan, processor: environment.processor) {
      let json = { String(decoding: try RunRecord.encoder().encode(report), as: UTF8.self) + "\n" }
      environment.writeOutput(try common.json ? json() : report.text)
    }
    return plan.failures.isEmpty ? .done : .someFailed
  }

  /// The command line over the configuration file, standard input read where asked for.
  private func flags(in environment: CommandEnvironment) throws -> FlagValues {
    let own = try values().readingPrompt(from: environment)
    guard let file = pipeline.config else { return own }
    var configured = try readConfiguration(file, environment: environment)
    if own.promptsFile != nil {
      configured.prompt = nil
      configured.classLabel = nil
    }
    if own.prompt != nil || own.classLabel != nil { configured.promptsFile = nil }
    return own.over(configured)
  }
}

/// What both programs' help says of sources and exit codes.
let generationDiscussion = """
  Where several sources give a flag, a prompts file's line wins over the command line, that over --config, and \
  that over the pipeline's own defaults. Result paths go to standard output, everything else to standard error.

  Exit codes: 0 done; 1 some results of a batch failed (see failures.json); 64 usage; 65 bad model data; 66 input \
  missing; 69 not available; 71 over the memory limit; 73 cannot write; 74 failed while running; 130 stopped.
  """
