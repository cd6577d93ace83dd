import DiffusionPipelines
import Foundation
import Media

/// A whole run, checked: made before anything is loaded.
struct GenerationPlan {
  let kind: MediaKind
  let folder: PipelineFolder
  let geometry: ModelGeometry
  let weights: WeightSizes
  let resolveAttention: AttentionResolver
  let threads: Int
  /// Where a result would go that had no flags of its own.
  private let firstOutput: String
  /// Whether failures of single results spare the others.
  private(set) var isBatch: Bool
  private(set) var results: [PlannedResult] = []
  private(set) var failures: [FailedResult] = []
  /// What the user should know of before the run.
  private(set) var notices: [String] = []

  /// - Parameter flags: the command line over the configuration.
  init(_ flags: FlagValues, kind: MediaKind, environment: CommandEnvironment) throws {
    self.kind = kind
    threads = try checkedThreads(flags, environment.processor)
    firstOutput = try OutputPaths(flags, kind).main.path(index: 0, seed: 0, isOnly: true) { $0 }
    folder = try PipelineFolder(path: flags.pipeline ?? kind.defaultFolder)
    try kind.check(folder)
    geometry = try ModelGeometry(folder)
    let items: [(line: Int?, item: Result<PromptItem, any Error>)]
    if let file = flags.promptsFile {
      items = try readPromptsFile(file, kind: folder.kind).map { ($0.line, $0.item) }
    } else {
      items = [(nil, .success(PromptItem(values: FlagValues())))]
    }
    weights = try WeightSizes(folder)
    resolveAttention = AttentionResolver(folder, geometry, methods: environment.methods)
    let resolver = RequestResolver(
      folder: folder, geometry: geometry, processor: environment.processor,
      checkScheduler: environment.checkScheduler, resolveAttention: resolveAttention, drawSeed: environment.drawSeed)
    var planned: [(result: PlannedResult, flags: FlagValues)] = []
    isBatch = flags.promptsFile != nil
    for (index, entry) in items.enumerated() {
      do {
        let merged = try entry.item.get().values.over(flags)
        let requests = try resolver.requests(merged)
        isBatch = isBatch || requests.count > 1
        for request in requests {
          try checkMemory(request)
          _ = try OutputPaths(merged, kind)
          planned.append((PlannedResult(request: request, item: index, line: entry.line), merged))
        }
        guard planned.count <= 100_000 else {
          throw CommandError.usage("expected at most 100000 results in one run, found more")
        }
      } catch {
        guard isBatch else { throw error }
        let values = try? entry.item.get().values, place = "\(flags.promptsFile ?? "") line \(entry.line ?? 0)"
        let line = errorLine(for: error)
        let placed = entry.line == nil || line.hasPrefix(place) ? line : "\(place): \(line)"
        failures.append(
          FailedResult(
            item: index, line: entry.line, prompt: values?.prompt, seed: nil, output: nil, error: placed,
            exitCode: exitCode(for: error)))
      }
    }
    try assignPaths(planned)
    noteOddities(planned.map(\.flags), processor: environment.processor)
  }

  private func checkMemory(_ request: GenerationRequest) throws {
    guard let limit = request.memoryLimit else { return }
    let estimate = MemoryEstimate(request, geometry: geometry, weights: weights)
    guard estimate.peakBytes > limit, let phase = estimate.largestPhase else { return }
    throw CommandError(
      .overMemoryLimit,
      "--memory-limit: expected to fit \(formatBytes(limit)), found an estimated peak of "
        + "\(formatBytes(phase.peakBytes)) while running '\(phase.name)'")
  }

  /// Whether transformer and autoencoder may stay in memory at once.
  func modelsFitTogether(memory: Int) -> Bool {
    results.allSatisfy { result in
      let phases = MemoryEstimate(result.request, geometry: geometry, weights: weights).phases
      let allowed = Double(result.request.memoryLimit ?? memory / 4 * 3)
      return phases.filter { $0.name != "text" }.reduce(0.0) { $0 + Double($1.peakBytes) } <= allowed
    }
  }

  /// Gives every result its files' names, no name twice.
  private mutating func assignPaths(_ planned: [(result: PlannedResult, flags: FlagValues)]) throws {
    var sharing: [String: Int] = [:]
    for (_, flags) in planned {
      for text in [flags.output, flags.saveLatents, flags.attentionReport, flags.previewPath].compactMap({ $0 }) {
        sharing[text, default: 0] += 1
      }
    }
    var paths = UniquePaths()
    var renamed: Set<String> = []
    for (index, entry) in planned.enumerated() {
      var result = entry.result
      let outputs = try OutputPaths(entry.flags, kind)
      func isOnly(_ text: String?) -> Bool { text.map { sharing[$0] == 1 } ?? false }
      func place(_ output: ResultPath, _ text: String?) -> String {
        let path = output.path(index: index, seed: result.request.seed, isOnly: isOnly(text)) { paths.claim($0) }
        if let text, output.changesWithSeveral, !isOnly(text), renamed.insert(text).inserted {
          notices.append("several results for \(text): names get the seed put in, as in \(path)")
        }
        return path
      }
      result.output = place(outputs.main, entry.flags.output)
      result.latents = outputs.latents.map { place(.file($0), entry.flags.saveLatents) }
      result.report = outputs.report.map { place(.file($0), entry.flags.attentionReport) }
      result.request.wantsAttentionPatterns = result.drawsReport
      result.preview = outputs.preview
      result.previewIsShared = !isOnly(entry.flags.previewPath)
      result.writesMetadata = entry.flags.metadata ?? true
      if case .clip(let path) = outputs.main {
        result.clip = try path.output(
          at: result.output, entry.flags, framesPerSecond: result.request.framesPerSecond)
        if result.writesMetadata { result.record = paths.claim(result.recordPath) }
      }
      results.append(result)
    }
  }

  private mutating func noteOddities(_ flags: [FlagValues], processor: ProcessorTraits) {
    let requests = results.map(\.request)
    for (flags, request) in zip(flags, requests) {
      guard kind == .video, let asked = flags.numFrames ?? folder.defaults.numFrames, asked != request.frames else {
        continue
      }
      notices.append(
        "\(asked) frames asked for: making \(request.frames), one more than a multiple of "
          + "\(geometry.autoencoder.temporalFactor)")
      break
    }
    if let first = requests.first(where: { $0.width != $0.modelWidth || $0.height != $0.modelHeight }) {
      notices.append(
        "drawing at the published size \(first.modelWidth)x\(first.modelHeight) and scaling to "
          + "\(first.width)x\(first.height) (--resolution-binning off draws as asked)")
    }
    if requests.contains(where: { !$0.usesGuidance && !$0.negativePrompt.isEmpty }) {
      notices.append("without guidance (scale 1 or less) the negative prompt has no effect")
    }
    if !processor.hasBFloat16, requests.contains(where: { $0.precision == .bfloat16 }) {
      notices.append("this processor has no bfloat16 products; float32 would be faster")
    }
  }

  /// Throws where a result's nearest existing folder cannot be written to. Makes nothing, for dry runs.
  func checkOutputFolders() throws {
    for path in Set(results.flatMap { [$0.output, $0.latents, $0.report].compactMap { $0 } }).sorted() {
      let url = URL(fileURLWithPath: path)
      var folder = path.hasSuffix("/") ? url : url.deletingLastPathComponent()
      while !FileManager.default.fileExists(atPath: folder.path), folder.path != "/" {
        folder.deleteLastPathComponent()
      }
      guard isFolder(folder.path), FileManager.default.isWritableFile(atPath: folder.path) else {
        throw CommandError(.cannotWrite, "\(path): \(folder.path) cannot be written to")
      }
    }
  }

  /// Where `failures.json` goes: beside the first result.
  var failuresPath: String {
    let output = results.first?.output ?? firstOutput
    let folder = output.hasSuffix("/") ? String(output.dropLast()) : (output as NSString).deletingLastPathComponent
    return folder.isEmpty ? "failures.json" : folder + "/failures.json"
  }
}

/// The threads asked for, or as many as there are cores.
func checkedThreads(_ flags: FlagValues, _ processor: ProcessorTraits) throws -> Int {
  let threads = flags.threads ?? processor.physicalCores
  guard (1...1024).contains(threads) else {
    throw CommandError.usage("--threads: expected 1 to 1024, found \(threads)")
  }
  return threads
}
