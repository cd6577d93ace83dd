import Checkpoints
import DiffusionModels
import DiffusionPipelines
import Evaluation
import Foundation
import Media
import Schedulers
import SparseAttention
import Sweeps
import Tensors
import Tokenizers
import TolerantJSON

/// Exit codes, by the meanings of `sysexits.h` where it has them.
public enum ExitStatus: Int32, Sendable, Hashable {
  case done = 0
  /// Some results of a batch failed; the others were made.
  case someFailed = 1
  case usage = 64
  case badData = 65
  case inputMissing = 66
  case unavailable = 69
  /// A mistake of this program's own.
  case internalError = 70
  case overMemoryLimit = 71
  case cannotWrite = 73
  case failedWhileRunning = 74
  case stopped = 130
}

/// An error of the command line's own: its exit status, and one line that says what, where, expected and found.
public struct CommandError: Error, Sendable, Hashable, CustomStringConvertible {
  public let status: ExitStatus
  public let description: String

  public init(_ status: ExitStatus, _ description: String) {
    self.status = status
    self.description = description
  }

  static func usage(_ description: String) -> CommandError { CommandError(.usage, description) }
}

/// The exit status an error asks for.
public func exitStatus(for error: any Error) -> ExitStatus {
  switch error {
  case let error as CommandError: return error.status
  case is GenerationStopped: return .stopped
  case let error as PipelineError:
    switch error {
    case .missing: return .inputMissing
    case .badData, .notFinite: return .badData
    case .unsupported: return .unavailable
    case .badRequest: return .usage
    }
  case let failure as TolerantJSON.Failure: return failure.isMissing ? .inputMissing : .badData
  case let failure as MappedFile.Failure:
    return failure.isOutOfMemory ? .overMemoryLimit : failure.isMissing ? .inputMissing : .badData
  case let error as CheckpointError:
    if case .missing = error { return .inputMissing }
    return .badData
  case let error as ModelError:
    if case .unsupported = error { return .unavailable }
    return .badData
  case let error as TokenizerError:
    switch error {
    case .missing: return .inputMissing
    case .malformed: return .badData
    case .unsupported: return .unavailable
    case .invalidLength: return .usage
    }
  case let error as MediaError:
    switch error {
    case .cannotWrite: return .cannotWrite
    case .badPNG, .badVideo: return .badData
    case .badFormat: return .usage
    case .unavailable: return .unavailable
    case .cannotEncode, .cannotEncodeVideo: return .failedWhileRunning
    }
  case let error as SchedulerError:
    switch error {
    case .unknownScheduler, .incompatible: return .usage
    case .unsupported: return .unavailable
    case .invalid, .missingClassName: return .badData
    }
  case let error as AttentionError:
    switch error {
    case .unknownMethod, .unknownOption, .badOption, .unsuitable: return .usage
    case .calibration(let path, _): return FileManager.default.fileExists(atPath: path) ? .badData : .inputMissing
    case .invalidPlan: return .internalError
    }
  case is KeyValueCompressionError: return .usage
  case let error as SweepError:
    switch error {
    case .controlDiffers: return .internalError
    case .otherSweep, .badData: return .badData
    case .unknownMetric: return .usage
    case .noSweep: return .inputMissing
    }
  case let error as EvaluationError:
    if case .weights(let path, _) = error {
      return FileManager.default.fileExists(atPath: path) ? .badData : .inputMissing
    }
    return .usage
  case let error as CocoaError:
    switch error.code {
    case .fileNoSuchFile, .fileReadNoSuchFile: return .inputMissing
    case .fileWriteNoPermission, .fileWriteInvalidFileName, .fileWriteVolumeReadOnly: return .cannotWrite
    default: return .failedWhileRunning
    }
  default: return .internalError
  }
}

/// The exit code an error asks for, as a number.
public func exitCode(for error: any Error) -> Int32 { exitStatus(for: error).rawValue }

/// What to print after `error: `: always one line, without control characters and of bounded length. Names inside a
/// stranger's file are part of it.
public func errorLine(for error: any Error) -> String {
  let lines = String(describing: error).split(whereSeparator: \.isNewline)
  let text = lines.map { $0.trimmingCharacters(in: .whitespaces) }.joined(separator: " ").unicodeScalars
  let shown = text.prefix(1000).map { CharacterSet.controlCharacters.contains($0) ? "?" : String($0) }.joined()
  return text.count > 1000 ? shown + "..." : shown
}
