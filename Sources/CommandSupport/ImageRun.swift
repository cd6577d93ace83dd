import DiffusionPipelines
import Foundation
import Media

/// Makes a plan's images one after the other and writes their files.
struct ImageRun {
  let plan: ImagePlan
  let environment: CommandEnvironment
  let printsJSON: Bool
  let isVerbose: Bool
  private var progress: ProgressPrinter
  private var failures: [ImageFailure]

  /// What `--json` prints for a result.
  private struct Line: Encodable {
    var path: String
    var seed: UInt64
    var width, height: Int
    var latents, attentionReport: String?
    var seconds: Double
    var record: RunRecord
  }

  init(_ plan: ImagePlan, _ output: OutputArguments, environment: CommandEnvironment) {
    self.plan = plan
    self.environment = environment
    printsJSON = output.json
    isVerbose = output.verbose && !output.quiet
    progress = ProgressPrinter(environment, isQuiet: output.quiet)
    failures = plan.failures
  }

  /// Runs it all; the exit status where no error ends it.
  mutating func run() throws -> ExitStatus {
    for notice in plan.notices { progress.line("note: \(notice)") }
    try proveOutputs()
    if !plan.images.isEmpty {
      let generator = try environment.makeGenerator(plan.folder, GeneratorOptions(threads: plan.threads))
      try makeAll(with: generator)
    }
    guard !failures.isEmpty else { return .done }
    try writeFailures()
    progress.close()
    environment.writeError(
      "error: \(failures.count) of \(plan.images.count + plan.failures.count) failed; see \(plan.failuresPath)\n")
    return .someFailed
  }

  private func proveOutputs() throws {
    for image in plan.images {
      for path in [image.output, image.latents, image.report].compactMap({ $0 }) {
        try environment.proveWritable(path)
      }
      if image.request.previewEvery != nil { try environment.proveWritable(image.previewPath(step: 0)) }
    }
  }

  /// Requests whose texts are encoded in one pass.
  private static let prepareCount = 64

  private mutating func makeAll(with generator: any ImageGenerator) throws {
    generator.keepsModels = plan.images.count > 1 && plan.modelsFitTogether(memory: environment.processor.memory)
    for (index, image) in plan.images.enumerated() {
      do {
        if index % Self.prepareCount == 0, plan.images.count > 1 { try prepare(from: index, with: generator) }
        try make(image, number: index + 1, with: generator)
      } catch let stop as GenerationStopped {
        progress.close()
        if !failures.isEmpty { try writeFailures() }
        throw stop
      } catch {
        progress.close()
        guard plan.isBatch else { throw error }
        environment.report(error)
        failures.append(
          ImageFailure(
            item: image.item, line: image.line, prompt: image.request.prompt, seed: image.request.seed,
            output: image.output, error: errorLine(for: error), exitCode: exitCode(for: error)))
      }
    }
  }

  /// Encodes the texts of the next results together. Where one of them fails all are left to their own turn, so that a
  /// failure is counted to its own result.
  private mutating func prepare(from index: Int, with generator: any ImageGenerator) throws {
    let requests = plan.images[index...].prefix(Self.prepareCount).map(\.request)
    progress.prefix = ""
    do {
      try generator.prepare(requests) { event in
        try handle(event, of: plan.images[index])
        return !environment.stopRequested()
      }
    } catch let stop as GenerationStopped {
      throw stop
    } catch {
      progress.line("note: encoding texts one by one: \(errorLine(for: error))")
    }
  }

  private mutating func make(_ image: PlannedImage, number: Int, with generator: any ImageGenerator) throws {
    if environment.stopRequested() { throw GenerationStopped(steps: 0) }
    let request = image.request
    progress.prefix = plan.images.count > 1 ? "image \(number)/\(plan.images.count): " : ""
    progress.line(
      "\(progress.prefix)seed \(request.seed), \(request.width)x\(request.height), \(request.steps) steps, "
        + "guidance \(request.guidanceScale), \(request.precision.rawValue)")
    let start = environment.now()
    let result = try generator.generate(request) { event in
      try handle(event, of: image)
      return !environment.stopRequested()
    }
    progress.close()
    let record = image.writesMetadata ? result.record : nil
    try writePicture(result.image, record, to: image)
    if let path = image.latents { try environment.writeFile(latentsFile(result.latents), path) }
    if let path = image.report {
      let report = AttentionReport(result.record, result.attention)
      let bytes = try image.drawsReport ? environment.encodePNG(report.picture(), nil) : report.json()
      try environment.writeFile(bytes, path)
    }
    let seconds = environment.now() - start
    progress.line("\(image.output): \(fixed(seconds, 1)) s")
    if isVerbose {
      let density = result.record.attention
      progress.line(
        "  attention density: \(fixed(density.density ?? 1, 4)) of sparse calls, \(fixed(density.runDensity ?? 1, 4)) of the run"
      )
      for (phase, seconds) in (result.record.seconds ?? [:]).sorted(by: { $0.key < $1.key }) {
        progress.line("  \(phase): \(fixed(seconds, 2)) s")
      }
    }
    guard printsJSON else {
      environment.writeOutput(image.output + "\n")
      return
    }
    let line = Line(
      path: image.output, seed: request.seed, width: result.image.width, height: result.image.height,
      latents: image.latents, attentionReport: image.report, seconds: seconds, record: result.record)
    environment.writeOutput(String(decoding: try RunRecord.encoder().encode(line), as: UTF8.self) + "\n")
  }

  private mutating func handle(_ event: GenerationEvent, of image: PlannedImage) throws {
    switch event {
    case .phase(let name): progress.begin(name)
    case .density(let density): progress.density = density
    case .step(let index, let count): progress.step(index, of: count)
    case .notice(let text): progress.line("note: \(text)")
    case .preview(let picture, let index):
      try environment.writeFile(environment.encodePNG(picture, nil), image.previewPath(step: index))
    }
  }

  /// Writes the picture; where that fails after all the work, keeps it in the system's temporary folder.
  private func writePicture(_ picture: Frame, _ record: RunRecord?, to image: PlannedImage) throws {
    let bytes = try environment.encodePNG(picture, record)
    do {
      try environment.writeFile(bytes, image.output)
    } catch {
      let name = (image.output as NSString).lastPathComponent
      let rescue = FileManager.default.temporaryDirectory.appendingPathComponent("tessera-rescued-\(name)").path
      let isKept = (try? environment.writeFile(bytes, rescue)) != nil
      throw CommandError(
        .failedWhileRunning,
        "\(image.output): cannot write: \(errorLine(for: error))"
          + (isKept ? "; the picture is kept as \(rescue)" : ""))
    }
  }

  private func writeFailures() throws {
    let bytes = Array(try RunRecord.encoder(pretty: true).encode(failures)) + [UInt8(ascii: "\n")]
    try environment.proveWritable(plan.failuresPath)
    try environment.writeFile(bytes, plan.failuresPath)
  }
}
