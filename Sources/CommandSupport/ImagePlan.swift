import DiffusionPipelines
import Foundation

/// One result to make, and where its files go.
struct PlannedImage: Sendable {
  var request: GenerationRequest
  /// Its prompt's place in the run, from 0, and its line in the prompts file.
  var item: Int
  var line: Int?
  var output = ""
  var latents: String?
  var report: String?
  var preview: OutputPath?
  /// Whether other results share the preview's name, so that the seed goes in.
  var previewIsShared = false
  var writesMetadata = true

  /// Whether the attention report is a picture.
  var drawsReport: Bool { report?.lowercased().hasSuffix(".png") == true }

  /// Where the preview after step `index` goes.
  func previewPath(step index: Int) -> String {
    guard let preview else { return OutputPath.inserting("-preview", into: output) }
    let path = preview.path(index: index, seed: request.seed, isOnly: true)
    return previewIsShared ? OutputPath.inserting("-\(request.seed)", into: path) : path
  }
}

/// A result that could not be made, as `failures.json` lists it.
struct ImageFailure: Sendable, Codable {
  var item: Int
  var line: Int?
  var prompt: String?
  var seed: UInt64?
  var output: String?
  var error: String
  var exitCode: Int32
}

/// A whole run, checked: made before anything is loaded.
struct ImagePlan {
  let folder: PipelineFolder
  let geometry: ModelGeometry
  let weights: WeightSizes
  let resolveAttention: AttentionResolver
  let threads: Int
  /// Where a result would go that had no flags of its own.
  private let firstOutput: String
  /// Whether failures of single results spare the others.
  private(set) var isBatch: Bool
  private(set) var images: [PlannedImage] = []
  private(set) var failures: [ImageFailure] = []
  /// What the user should know of before the run.
  private(set) var notices: [String] = []

  /// - Parameter flags: the command line over the configuration.
  init(_ flags: FlagValues, environment: CommandEnvironment) throws {
    threads = try checkedThreads(flags, environment.processor)
    firstOutput = try Self.outputs(flags).image.path(index: 0, seed: 0, isOnly: true)
    folder = try PipelineFolder(path: flags.pipeline ?? ModelArguments.defaultFolder)
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
    var planned: [(image: PlannedImage, flags: FlagValues)] = []
    isBatch = flags.promptsFile != nil
    for (index, entry) in items.enumerated() {
      do {
        let merged = try entry.item.get().values.over(flags)
        let requests = try resolver.requests(merged)
        isBatch = isBatch || requests.count > 1
        for request in requests {
          try checkMemory(request)
          try Self.checkPaths(merged)
          planned.append((PlannedImage(request: request, item: index, line: entry.line), merged))
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
          ImageFailure(
            item: index, line: entry.line, prompt: values?.prompt, seed: nil, output: nil, error: placed,
            exitCode: exitCode(for: error)))
      }
    }
    try assignPaths(planned)
    noteOddities(processor: environment.processor)
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
    images.allSatisfy { image in
      let phases = MemoryEstimate(image.request, geometry: geometry, weights: weights).phases
      let allowed = Double(image.request.memoryLimit ?? memory / 4 * 3)
      return phases.filter { $0.name != "text" }.reduce(0.0) { $0 + Double($1.peakBytes) } <= allowed
    }
  }

  private static func outputs(_ flags: FlagValues) throws -> (
    image: OutputPath, latents: OutputPath?, report: OutputPath?, preview: OutputPath?
  ) {
    return (
      try OutputPath(flags.output, kind: "image", extensions: ["png"]),
      try flags.saveLatents.map { try OutputPath($0, kind: "latents", extensions: ["safetensors"]) },
      try flags.attentionReport.map { try OutputPath($0, kind: "attention", extensions: ["json", "png"]) },
      try flags.previewPath.map { try OutputPath($0, kind: "preview", extensions: ["png"]) }
    )
  }

  private static func checkPaths(_ flags: FlagValues) throws { _ = try outputs(flags) }

  /// Gives every result its files' names, no name twice.
  private mutating func assignPaths(_ planned: [(image: PlannedImage, flags: FlagValues)]) throws {
    var sharing: [String: Int] = [:]
    for (_, flags) in planned {
      for text in [flags.output, flags.saveLatents, flags.attentionReport, flags.previewPath].compactMap({ $0 }) {
        sharing[text, default: 0] += 1
      }
    }
    var paths = UniquePaths()
    var renamed: Set<String> = []
    for (index, entry) in planned.enumerated() {
      var image = entry.image
      let outputs = try Self.outputs(entry.flags)
      func isOnly(_ text: String?) -> Bool { text.map { sharing[$0] == 1 } ?? false }
      func place(_ output: OutputPath, _ text: String?) -> String {
        let wanted = output.path(index: index, seed: image.request.seed, isOnly: isOnly(text))
        let path = paths.claim(wanted)
        if let text, output.isPlainFile, path != text, renamed.insert(text).inserted {
          notices.append("several results for \(text): names get the seed put in, as in \(path)")
        }
        return path
      }
      image.output = place(outputs.image, entry.flags.output)
      image.latents = outputs.latents.map { place($0, entry.flags.saveLatents) }
      image.report = outputs.report.map { place($0, entry.flags.attentionReport) }
      image.request.wantsAttentionPatterns = image.drawsReport
      image.preview = outputs.preview
      image.previewIsShared = !isOnly(entry.flags.previewPath)
      image.writesMetadata = entry.flags.metadata ?? true
      images.append(image)
    }
  }

  private mutating func noteOddities(processor: ProcessorTraits) {
    let requests = images.map(\.request)
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
    for path in Set(images.flatMap { [$0.output, $0.latents, $0.report].compactMap { $0 } }).sorted() {
      var folder = URL(fileURLWithPath: path).deletingLastPathComponent()
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
    let folder = ((images.first?.output ?? firstOutput) as NSString).deletingLastPathComponent
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
