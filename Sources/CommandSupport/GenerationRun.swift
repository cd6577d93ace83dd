import DiffusionPipelines
import Foundation
import Media

/// Makes a plan's results one after the other and writes their files.
struct GenerationRun {
  let plan: GenerationPlan
  let environment: CommandEnvironment
  let printsJSON: Bool
  let isVerbose: Bool
  let resumes: Bool
  /// Seconds between saved states.
  let checkpointEvery: Double
  private var progress: ProgressPrinter
  private var failures: [FailedResult]

  /// What `--json` prints for a result.
  private struct Line: Encodable {
    var path: String
    var seed: UInt64
    var width, height: Int
    /// Of clips.
    var frames: Int?, fps: Double?
    var latents, attentionReport, runRecord: String?
    var seconds: Double
    var record: RunRecord
  }

  init(_ plan: GenerationPlan, _ output: OutputArguments, environment: CommandEnvironment) {
    self.plan = plan
    self.environment = environment
    printsJSON = output.json
    isVerbose = output.verbose && !output.quiet
    resumes = output.resume
    checkpointEvery = output.checkpointEvery ?? 60
    progress = ProgressPrinter(environment, isQuiet: output.quiet)
    failures = plan.failures
  }

  /// Runs it all; the exit status where no error ends it.
  mutating func run() throws -> ExitStatus {
    for notice in plan.notices { progress.line("note: \(notice)") }
    try proveOutputs()
    if !plan.results.isEmpty {
      let generator = try environment.makeGenerator(plan.folder, GeneratorOptions(threads: plan.threads))
      try makeAll(with: generator)
    }
    guard !failures.isEmpty else { return .done }
    try writeFailures()
    progress.close()
    environment.writeError(
      "error: \(failures.count) of \(plan.results.count + plan.failures.count) failed; see \(plan.failuresPath)\n")
    return .someFailed
  }

  /// Claims a result's path while it is made, so that two runs never mix their files.
  private func claim(_ result: PlannedResult) throws -> FileLock {
    guard let claim = try environment.claim(result.output) else {
      throw CommandError(.cannotWrite, "\(result.output): another run is writing it")
    }
    return claim
  }

  private mutating func proveOutputs() throws {
    var said: Set<String> = []
    for result in plan.results {
      try claim(result).release()
      switch result.clip {
      case nil: try environment.proveWritable(result.output)
      case .frames(let frames):
        try environment.proveWritable(frames.url(0).relativePath)
        let next = frames.url(result.request.frames).relativePath
        if FileManager.default.fileExists(atPath: next), said.insert(next).inserted {
          progress.line("note: \(next) is there already: it and what follows stay as they are")
        }
      case .file(let format, let settings):
        let notice = try environment.proveVideo(
          result.output, format, result.request.width, result.request.height, settings)
        if let notice, said.insert(notice).inserted { progress.line("note: \(notice)") }
      }
      for path in result.sideFiles { try environment.proveWritable(path) }
    }
  }

  /// Requests whose texts are encoded in one pass.
  private static let prepareCount = 64

  private mutating func makeAll(with generator: any MediaGenerator) throws {
    generator.keepsModels = plan.results.count > 1 && plan.modelsFitTogether(memory: environment.processor.memory)
    for (index, result) in plan.results.enumerated() {
      do {
        if index % Self.prepareCount == 0, plan.results.count > 1 { try prepare(from: index, with: generator) }
        try make(result, number: index + 1, with: generator)
      } catch let stop as GenerationStopped {
        progress.close()
        if !failures.isEmpty { try writeFailures() }
        throw stop
      } catch {
        progress.close()
        guard plan.isBatch else { throw error }
        environment.report(error)
        failures.append(
          FailedResult(
            item: result.item, line: result.line, prompt: result.request.prompt, seed: result.request.seed,
            output: result.output, error: errorLine(for: error), exitCode: exitCode(for: error)))
      }
    }
  }

  /// Encodes the texts of the next results together. Where one of them fails all are left to their own turn, so that a
  /// failure is counted to its own result.
  private mutating func prepare(from index: Int, with generator: any MediaGenerator) throws {
    let requests = plan.results[index...].prefix(Self.prepareCount).map(\.request)
    progress.prefix = ""
    do {
      try generator.prepare(requests) { event in
        try handle(event, of: plan.results[index])
        return !environment.stopRequested()
      }
    } catch let stop as GenerationStopped {
      throw stop
    } catch {
      progress.line("note: encoding texts one by one: \(errorLine(for: error))")
    }
  }

  private mutating func make(_ result: PlannedResult, number: Int, with generator: any MediaGenerator) throws {
    if environment.stopRequested() { throw GenerationStopped(steps: 0) }
    let request = result.request, claim = try claim(result)
    defer { claim.release() }
    if resumes, try isMade(result) {
      progress.line("\(result.output): is there already")
      if !printsJSON { environment.writeOutput(result.output + "\n") }
      return
    }
    let size =
      "\(request.width)x\(request.height)"
      + (plan.kind == .video ? ", \(request.frames) frame\(request.frames == 1 ? "" : "s")" : "")
    progress.prefix = plan.results.count > 1 ? "\(plan.kind.rawValue) \(number)/\(plan.results.count): " : ""
    progress.line(
      "\(progress.prefix)seed \(request.seed), \(size), \(request.steps) steps, "
        + "guidance \(request.guidanceScale), \(request.precision.rawValue)")
    let start = environment.now()
    var keeper = StateKeeper(result, every: checkpointEvery, environment: environment)
    let record: RunRecord
    do {
      record = try finish(result, denoise(result, with: generator, keeping: &keeper), with: generator)
    } catch {
      throw try keep(&keeper, result, after: error)
    }
    keeper.remove()
    progress.close()
    let seconds = environment.now() - start
    progress.line("\(result.output): \(fixed(seconds, 1)) s")
    if isVerbose { sayMore(record) }
    guard printsJSON else {
      environment.writeOutput(result.output + "\n")
      return
    }
    let isClip = result.clip != nil
    let line = Line(
      path: result.output, seed: request.seed, width: request.width, height: request.height,
      frames: isClip ? request.frames : nil, fps: isClip ? request.framesPerSecond : nil, latents: result.latents,
      attentionReport: result.report, runRecord: result.record, seconds: seconds, record: record)
    environment.writeOutput(String(decoding: try RunRecord.encoder().encode(line), as: UTF8.self) + "\n")
  }

  /// Takes all steps, from a saved state where the user wants to go on, and writes what is known before decoding.
  private mutating func denoise(
    _ result: PlannedResult, with generator: any MediaGenerator, keeping keeper: inout StateKeeper
  ) throws -> DenoisedResult {
    let state = resumes ? try keeper.read() : nil
    if let state {
      progress.line("going on after step \(state.steps) of \(result.request.steps), from \(keeper.path)")
    } else if keeper.exists {
      progress.line("note: \(keeper.path) holds a stopped run; --resume would go on with it, this run starts anew")
    }
    let denoised = try generator.denoise(result.request, resuming: state) { event in
      if case .state(let state) = event, let failure = keeper.take(state) { progress.line("note: \(failure)") }
      try handle(event, of: result)
      return !environment.stopRequested()
    }
    // Before decoding: what took longest is safe. A picture is decoded at once.
    if result.clip != nil {
      do { try keeper.save() } catch { progress.line("note: the state cannot be saved: \(errorLine(for: error))") }
    }
    if let path = result.latents { try environment.writeFile(latentsFile(denoised.latents), path) }
    if let path = result.report {
      let report = AttentionReport(denoised.record, denoised.attention)
      let bytes = try result.drawsReport ? environment.encodePNG(report.picture(), nil) : report.json()
      try environment.writeFile(bytes, path)
    }
    return denoised
  }

  /// Whether a result of the same request, weights and arithmetic lies where this one would go.
  private func isMade(_ result: PlannedResult) throws -> Bool {
    guard let text = try? recordOfOutput(result), var found = try? RunRecord(json: text, path: result.output) else {
      return false
    }
    (found.request.codec, found.request.crf, found.request.preset) = (nil, nil, nil)
    let expected = try RunRecord.expected(result.request, plan.folder, plan.geometry, plan.resolveAttention)
    return found.request == expected.request && found.model == expected.model
      && found.compute.dtype == expected.compute.dtype
  }

  private func recordOfOutput(_ result: PlannedResult) throws -> String? {
    switch result.clip {
    case nil: return try environment.readRecord(Data(contentsOf: URL(fileURLWithPath: result.output)))
    case .file where !FileManager.default.fileExists(atPath: result.output): return nil
    case .file, .frames: return try result.record.map { try String(contentsOfFile: $0, encoding: .utf8) }
    }
  }

  /// Saves what there is of a run that ended early.
  /// - Returns: the error to report.
  private mutating func keep(
    _ keeper: inout StateKeeper, _ result: PlannedResult, after error: any Error
  ) throws -> any Error {
    if let error = error as? PipelineError, case .notFinite = error { return error }
    do {
      guard let steps = try keeper.saveSomewhere() else { return error }
      progress.line("\(steps) of \(result.request.steps) steps are saved in \(keeper.savedPath)")
      if keeper.savedPath != keeper.path { progress.line("note: move it to \(keeper.path) first") }
      let settings = RunRecord(request: result.request, folder: plan.folder, geometry: plan.geometry).request
      let command = try settings.shellCommand(program: "generate-\(plan.kind.rawValue)")
      progress.line("to go on: \(command) --output \(shellQuoted(result.output)) --resume")
    } catch let failure {
      progress.line("note: the state cannot be saved: \(errorLine(for: failure))")
    }
    return error
  }

  /// Decodes a result and writes its picture or clip.
  /// - Returns: the complete record.
  private mutating func finish(
    _ result: PlannedResult, _ denoised: DenoisedResult, with generator: any MediaGenerator
  ) throws -> RunRecord {
    guard let clip = result.clip else {
      let made = try generator.decoded(denoised) { event in
        try handle(event, of: result)
        return !environment.stopRequested()
      }
      progress.close()
      try writePicture(made.image, result.writesMetadata ? made.record : nil, to: result)
      return made.record
    }
    var record = denoised.record
    if case .file(let format, let settings) = clip {
      (record.request.codec, record.request.crf) = (format.codec.rawValue, settings.crf)
      record.request.preset = settings.preset?.rawValue
    }
    let text = result.writesMetadata ? try record.metadataText() : []
    var progress = progress
    let decoding = ClipDecoding(result: result, denoised: denoised, environment: environment) { progress.line($0) }
    let seconds = try decoding.run(
      with: generator, text: Dictionary(uniqueKeysWithValues: text.map { ($0.key, $0.value) })
    ) { event in
      try handle(event, of: result)
      return !environment.stopRequested()
    }
    record.decodingEnded(after: seconds)
    if let path = result.record {
      try environment.writeFile(Array(RunRecord.encoder(pretty: true).encode(record)) + [UInt8(ascii: "\n")], path)
    }
    return record
  }

  private mutating func sayMore(_ record: RunRecord) {
    let density = record.attention
    progress.line(
      "  attention density: \(fixed(density.density ?? 1, 4)) of sparse calls, \(fixed(density.runDensity ?? 1, 4)) of the run"
    )
    for (phase, seconds) in (record.seconds ?? [:]).sorted(by: { $0.key < $1.key }) {
      let peak = record.peakMemoryBytes?[phase].map { ", peak memory so far \(formatBytes($0))" } ?? ""
      let mapped = record.peakMappedBytes?[phase].map { ", \(formatBytes($0)) of it mapped files" } ?? ""
      progress.line("  \(phase): \(fixed(seconds, 2)) s\(peak)\(mapped)")
    }
  }

  private mutating func handle(_ event: GenerationEvent, of result: PlannedResult) throws {
    switch event {
    case .phase(let name): progress.begin(name)
    case .density(let density): progress.density = density
    case .state: break
    case .step(let index, let count): progress.step(index, of: count)
    case .notice(let text): progress.line("note: \(text)")
    case .preview(let picture, let index):
      try environment.writeFile(environment.encodePNG(picture, nil), result.previewPath(step: index))
    }
  }

  /// Writes the picture; where that fails after all the work, keeps it in the system's temporary folder.
  private func writePicture(_ picture: Frame, _ record: RunRecord?, to result: PlannedResult) throws {
    let bytes = try environment.encodePNG(picture, record)
    do {
      try environment.writeFile(bytes, result.output)
    } catch {
      let name = (result.output as NSString).lastPathComponent
      let rescue = FileManager.default.temporaryDirectory.appendingPathComponent("tessera-rescued-\(name)").path
      let isKept = (try? environment.writeFile(bytes, rescue)) != nil
      throw CommandError(
        .failedWhileRunning,
        errorLine(for: error)
          + (isKept ? "; the picture is kept as \(rescue)" : ""))
    }
  }

  private func writeFailures() throws {
    let bytes = Array(try RunRecord.encoder(pretty: true).encode(failures)) + [UInt8(ascii: "\n")]
    try environment.proveWritable(plan.failuresPath)
    try environment.writeFile(bytes, plan.failuresPath)
  }
}
