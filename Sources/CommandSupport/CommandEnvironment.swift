import DiffusionPipelines
import Foundation
import Media
import SparseAttention

/// What of the processor matters to defaults and estimates.
public struct ProcessorTraits: Sendable, Hashable {
  public var physicalCores: Int
  public var speed: CPUSpeed
  /// The machine's memory, in bytes.
  public var memory: Int
  public var hasBFloat16: Bool { speed == .avx512BFloat16 }

  public init(physicalCores: Int, speed: CPUSpeed, memory: Int) {
    self.physicalCores = physicalCores
    self.memory = memory
    self.speed = speed
  }
}

/// Everything of the outside world that a command touches, so that tests can stand in for it.
public struct CommandEnvironment {
  /// Writes text to standard output or standard error as it is.
  public var writeOutput: (String) -> Void
  public var writeError: (String) -> Void
  /// Whether standard error is a terminal, where one line can be drawn over and over.
  public var errorIsTerminal: Bool
  public var readStandardInput: () throws -> Data
  public var processor: ProcessorTraits
  /// The code path of the kernels.
  public var cpu: String
  public var drawSeed: () -> UInt64
  /// Seconds on a clock that never goes back.
  public var now: () -> Double
  /// Whether the user asked to stop.
  public var stopRequested: () -> Bool
  /// Throws unless the request's scheduler exists, fits the folder's configuration and takes that many steps.
  public var checkScheduler: (GenerationRequest, PipelineFolder) throws -> Void
  /// A picture as a PNG file's bytes, with the run's record in its metadata.
  public var encodePNG: (Frame, RunRecord?) throws -> [UInt8]
  /// The run record in a PNG file's metadata, as JSON.
  public var readRecord: (Data) throws -> String?
  /// The text in a video file, by key.
  public var readVideoText: (String) throws -> [String: String]
  /// Throws unless a file can be made at this path; makes its folder.
  public var proveWritable: (String) throws -> Void
  /// Claims a result's path for this process; `nil` where another run has it.
  public var claim: (String) throws -> FileLock?
  /// Writes a file whole or not at all.
  public var writeFile: ([UInt8], String) throws -> Void
  /// Throws unless a video of that width and height can be made at this path: encoder, settings, folder. What is to be
  /// said of its size, if anything.
  public var proveVideo: (String, VideoFormat, Int, Int, VideoSettings) throws -> String?
  /// Opens a video file that appears whole or not at all.
  public var openVideo: (String, VideoFormat, Int, Int, VideoSettings) throws -> any FrameSink
  /// The attention methods that flags may name.
  public var methods: AttentionMethods
  public var makeGenerator: (PipelineFolder, GeneratorOptions) throws -> any MediaGenerator

  /// An error's line on standard error.
  func report(_ error: any Error) { writeError("error: \(errorLine(for: error))\n") }
}
