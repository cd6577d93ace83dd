import DiffusionPipelines
import Foundation
import Media

/// Takes a clip's frames, in order.
public protocol FrameSink {
  func append(_ frame: Frame) throws
  /// Completes the clip.
  func finish() throws
  /// Deletes what is not complete.
  func abort()
}

extension VideoWriter: FrameSink {}

/// Decodes one clip into its file or its frames. Where writing fails after all the work, the frames are kept elsewhere.
struct ClipDecoding {
  let result: PlannedResult
  let denoised: DenoisedResult
  let environment: CommandEnvironment
  /// Shows a line that stays.
  let say: (String) -> Void

  /// What went wrong with a sink, not with the decoder.
  private struct WriteFailure: Error { let cause: any Error }

  /// A PNG file a frame. What is written stays.
  private final class FrameFiles: FrameSink {
    private let sequence: FrameSequence, environment: CommandEnvironment
    private var count = 0

    init(_ sequence: FrameSequence, _ environment: CommandEnvironment) {
      (self.sequence, self.environment) = (sequence, environment)
    }

    func append(_ frame: Frame) throws {
      try environment.writeFile(environment.encodePNG(frame, nil), sequence.url(count).relativePath)
      count += 1
    }

    func finish() {}
    func abort() {}
  }

  /// - Parameter text: what the file says of itself, where it can.
  /// - Returns: wall-clock seconds of decoding and encoding.
  func run(
    with generator: any MediaGenerator, text: [String: String], onEvent: (GenerationEvent) throws -> Bool
  ) throws -> Double {
    do {
      return try decode(with: generator, onEvent: onEvent) { try open(text) }
    } catch let failure as WriteFailure {
      let line = errorLine(for: failure.cause)
      let cause = line.contains(result.output) ? line : "\(result.output): \(line)"
      say("note: \(cause); decoding again to keep the frames")
      let kept = try keepFrames(with: generator, onEvent: onEvent).map { "; the frames are kept in \($0)" } ?? ""
      throw CommandError(.failedWhileRunning, cause + kept)
    }
  }

  private func open(_ text: [String: String]) throws -> any FrameSink {
    switch result.clip! {
    case .file(let format, var settings):
      settings.text = format.holdsText ? text : [:]
      return try environment.openVideo(
        result.output, format, result.request.width, result.request.height, settings)
    case .frames(let sequence): return FrameFiles(sequence, environment)
    }
  }

  private func decode(
    with generator: any MediaGenerator, onEvent: (GenerationEvent) throws -> Bool, into open: () throws -> any FrameSink
  ) throws -> Double {
    func writing<T>(_ body: () throws -> T) throws -> T {
      do { return try body() } catch { throw WriteFailure(cause: error) }
    }
    let sink = try writing(open)
    do {
      let seconds = try generator.decode(
        denoised, onFrame: { frame in try writing { try sink.append(frame) } }, onEvent: onEvent)
      let start = environment.now()
      try writing(sink.finish)
      return seconds + environment.now() - start
    } catch {
      sink.abort()
      throw error
    }
  }

  /// Decodes once more, into PNG files: beside the output, or where the system keeps temporary files.
  /// - Returns: their folder; `nil` where nothing can be written.
  private func keepFrames(
    with generator: any MediaGenerator, onEvent: (GenerationEvent) throws -> Bool
  ) throws -> String? {
    let name = "tessera-rescued-\(result.request.seed)"
    let beside = result.beside("frames", "").dropLast(1)
    for wanted in [String(beside), FileManager.default.temporaryDirectory.appendingPathComponent(name).path] {
      let folder = unused { $0 == 1 ? wanted : "\(wanted)-\($0)" }
      let sequence = FrameSequence(folder: URL(fileURLWithPath: folder))
      do {
        _ = try decode(with: generator, onEvent: onEvent) { FrameFiles(sequence, environment) }
        return folder
      } catch is WriteFailure {
        try? FileManager.default.removeItem(atPath: folder)
      }
    }
    return nil
  }

  /// The first of the paths numbered from 1 where nothing is yet.
  private func unused(_ path: (Int) -> String) -> String {
    var count = 1
    while FileManager.default.fileExists(atPath: path(count)) { count += 1 }
    return path(count)
  }
}
