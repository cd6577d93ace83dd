import DiffusionPipelines
import Foundation
import TolerantJSON

/// One prompt of a run: what its line says, over which the other sources lie.
struct PromptItem: Sendable {
  var values: FlagValues
  /// The line's number from 1, where the prompt came from a file.
  var line: Int?
}

/// Reads the lines of a prompts file. A line that cannot be read is a failure of its own and spares the others.
///
/// A file is JSON lines if its name ends in `.jsonl` or `.ndjson` or its first line begins with `{`; each line is then
/// an object of flags, or a string. Otherwise each line is a prompt (a class label for class-conditional pipelines).
/// Empty lines are skipped.
func readPromptsFile(_ path: String, kind: PipelineKind) throws -> [(line: Int, item: Result<PromptItem, any Error>)] {
  let data = try TolerantJSON.read(URL(fileURLWithPath: path), allowsPipes: true)
  let bytes = data.starts(with: [0xef, 0xbb, 0xbf]) ? data.dropFirst(3) : data
  let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated()
    .map { line in
      let isCRLF = line.element.last == UInt8(ascii: "\r")
      return (number: line.offset + 1, bytes: Data(isCRLF ? line.element.dropLast() : line.element))
    }
    .filter { line in !line.bytes.allSatisfy { $0 == 0x20 || $0 == 0x09 } }
  guard let first = lines.first else {
    throw CommandError.usage("\(path): expected a prompt a line, found none")
  }
  let ending = (path as NSString).pathExtension.lowercased()
  let isJSON = ["jsonl", "ndjson"].contains(ending) || first.bytes.first == UInt8(ascii: "{")
  return lines.map { line in
    let source = "\(path) line \(line.number)"
    let item = Result<PromptItem, any Error> {
      var values = FlagValues()
      if isJSON, line.bytes.first(where: { $0 != 0x20 && $0 != 0x09 }) != UInt8(ascii: "\"") {
        values = try FlagValues(json: line.bytes, source: source)
        if values.pipeline != nil || values.threads != nil || values.promptsFile != nil {
          throw CommandError.usage("\(source): pipeline, threads and prompts_file hold for the whole run")
        }
      } else {
        let text = try isJSON ? jsonString(line.bytes, source: source) : utf8(line.bytes, source: source)
        if kind.takesClassLabel { values.classLabel = LooseText(text) } else { values.prompt = text }
      }
      return PromptItem(values: values, line: line.number)
    }
    return (line.number, item)
  }
}

private func jsonString(_ bytes: Data, source: String) throws -> String {
  guard let text = try? JSONDecoder().decode(String.self, from: bytes) else {
    throw CommandError.usage("\(source): expected a JSON object or string")
  }
  return text
}

/// `bytes` as text; anything but UTF-8 is an error, never repaired.
func utf8(_ bytes: Data, source: String) throws -> String {
  guard let text = String(validating: bytes, as: UTF8.self) else {
    throw CommandError.usage("\(source): expected UTF-8 text, found other bytes")
  }
  return text
}

/// Reads `--config`: a JSON object of flags, a run record, or a picture or video that carries one.
func readConfiguration(_ path: String, environment: CommandEnvironment) throws -> FlagValues {
  if try isVideo(path) {
    guard let json = try environment.readVideoText(path)[RunRecord.metadataKey] else {
      throw CommandError(.badData, "\(path): expected a run record in the video's metadata, found none")
    }
    return try FlagValues(record: RunRecord(json: json, path: path), source: path)
  }
  let data = try TolerantJSON.read(URL(fileURLWithPath: path), limit: 1 << 30)
  if data.starts(with: [0x89, 0x50, 0x4e, 0x47]) {
    guard let json = try environment.readRecord(data) else {
      throw CommandError(.badData, "\(path): expected a run record in the picture's metadata, found none")
    }
    return try FlagValues(record: RunRecord(json: json, path: path), source: path)
  }
  struct Header: Decodable { let schema: String? }
  if let header = try? TolerantJSON.decode(Header.self, from: data, path: path), header.schema != nil {
    return try FlagValues(record: RunRecord(json: utf8(data, source: path), path: path), source: path)
  }
  return try FlagValues(json: data, source: path)
}

/// Whether a file begins as MP4 or Matroska files do. What cannot be read is left to the next reader's error.
private func isVideo(_ path: String) throws -> Bool {
  guard let file = FileHandle(forReadingAtPath: path), let start = try file.read(upToCount: 8) else { return false }
  return Array(start.dropFirst(4)) == Array("ftyp".utf8) || start.starts(with: [0x1a, 0x45, 0xdf, 0xa3])
}

extension FlagValues {
  /// What the command line says of model and picture.
  init(_ model: ModelArguments, _ sampling: SamplingArguments) throws {
    self.init()
    pipeline = model.pipeline
    dtype = model.dtype
    threads = model.threads
    prompt = sampling.prompt
    promptsFile = sampling.promptsFile
    negativePrompt = sampling.negativePrompt
    classLabel = sampling.classLabel.map { LooseText($0) }
    steps = sampling.steps
    guidanceScale = sampling.guidanceScale
    seed = sampling.seed
    width = sampling.width
    height = sampling.height
    size = sampling.size
    resolutionBinning = sampling.resolutionBinning
    cleanCaption = sampling.cleanCaption
    batchCount = sampling.batchCount
    scheduler = sampling.scheduler
    flowShift = sampling.flowShift
    maxSequenceLength = sampling.maxSequenceLength
    rng = sampling.rng
    self = try splittingSize()
  }

  /// The same with the prompt `-` read from standard input. Throws where there is a prompt and a prompts file.
  func readingPrompt(from environment: CommandEnvironment) throws -> FlagValues {
    guard promptsFile == nil || (prompt == nil && classLabel == nil) else {
      throw CommandError.usage("expected --prompt or --prompts-file, found both")
    }
    guard prompt == "-" else { return self }
    let text = try utf8(environment.readStandardInput(), source: "standard input")
      .trimmingCharacters(in: .newlines)
    guard !text.isEmpty else { throw CommandError.usage("standard input: expected a prompt, found none") }
    var result = self
    result.prompt = text
    return result
  }

  /// What the command line says of all but the result's own file.
  init(
    _ pipeline: PipelineArguments, _ sampling: SamplingArguments, _ attention: AttentionArguments,
    _ output: OutputArguments
  ) throws {
    try self.init(pipeline.model, sampling)
    memoryLimit = pipeline.memoryLimit.map { LooseText($0) }
    vaeTiling = pipeline.vaeTiling
    self.attention = attention.attention
    denseSteps = attention.denseSteps
    denseLayers = attention.denseLayers
    kvCompression = attention.kvCompression
    attentionReport = attention.attentionReport
    saveLatents = output.saveLatents
    previewEvery = output.previewEvery
    previewPath = output.previewPath
    metadata = output.metadata
  }
}
