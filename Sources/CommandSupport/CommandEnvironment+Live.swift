import DiffusionPipelines
import Foundation
import Kernels
import Media
import Schedulers
import SparseAttention
import Tensors

extension ProcessorTraits {
  /// This machine's.
  public static var current: ProcessorTraits {
    let speed: CPUSpeed =
      switch Processor.level {
      case .portable: .portable
      case .avx2: .avx2
      case .avx2VNNI: .avx2VNNI
      case .avx512: .avx512
      case .avx512BF16: .avx512BFloat16
      }
    return ProcessorTraits(
      physicalCores: max(1, Processor.physicalCores), speed: speed,
      memory: Int(clamping: ProcessInfo.processInfo.physicalMemory))
  }

  /// Throws where the environment asks for a code path that there is not.
  static func checkLimit() throws {
    guard !Processor.isLimitKnown else { return }
    let found = ProcessInfo.processInfo.environment["TESSERA_CPU"] ?? ""
    let known = Processor.Level.allCases.map(\.description).joined(separator: ", ")
    throw CommandError.usage("TESSERA_CPU in the environment: expected one of \(known); found '\(found)'")
  }
}

extension CommandEnvironment {
  /// The process's own streams, files, clock and Ctrl-C.
  public static func live(
    makeGenerator: @escaping (PipelineFolder, GeneratorOptions) throws -> any MediaGenerator
  ) -> CommandEnvironment {
    let start = ContinuousClock.now
    return CommandEnvironment(
      // A reader that has gone away is no reason to lose a run.
      writeOutput: { try? FileHandle.standardOutput.write(contentsOf: Data($0.utf8)) },
      writeError: { try? FileHandle.standardError.write(contentsOf: Data($0.utf8)) },
      errorIsTerminal: isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb",
      readStandardInput: { try FileHandle.standardInput.readToEnd() ?? Data() },
      processor: .current,
      cpu: Processor.level.description,
      drawSeed: { UInt64(UInt32.random(in: .min ... .max)) },
      now: {
        let passed = (ContinuousClock.now - start).components
        return Double(passed.seconds) + Double(passed.attoseconds) * 1e-18
      },
      stopRequested: { StopSignal.shared.isRequested },
      checkScheduler: checkScheduler,
      encodePNG: { frame, record in try PNGFile.encode(frame, text: record.map { try $0.metadataText() } ?? []) },
      readRecord: { data in try PNGFile.decode(Array(data)).text.first { $0.key == RunRecord.metadataKey }?.value },
      readVideoText: VideoFile.metadata,
      proveWritable: { try AtomicFile.proveWritable(URL(fileURLWithPath: $0)) },
      claim: { try FileLock(claiming: URL(fileURLWithPath: $0)) },
      writeFile: { bytes, path in
        do {
          try AtomicFile.write(bytes, to: URL(fileURLWithPath: path))
        } catch {
          throw CommandError(.failedWhileRunning, errorLine(for: error))
        }
      },
      proveVideo: { path, format, width, height, settings in
        try VideoWriter.prove(
          URL(fileURLWithPath: path), format: format, width: width, height: height, settings: settings)
      },
      openVideo: { path, format, width, height, settings in
        try VideoWriter(
          to: URL(fileURLWithPath: path), format: format, width: width, height: height, settings: settings)
      },
      methods: .standard,
      makeGenerator: { folder, options in
        var options = options
        options.embeddings = EmbeddingCache(environment: ProcessInfo.processInfo.environment)
        return try makeGenerator(folder, options)
      })
  }

  /// What a program does before all else, once: gives ends that no error can tell of a documented exit code and a line,
  /// and begins to listen for Ctrl-C.
  /// - Parameter unfinished: what becomes of what is not finished when it comes.
  public static func takeOverProcess(unfinished: String) {
    prepareLastWords()
    StopSignal.shared.listen {
      let text = "\nstopping after this step; \(unfinished). Ctrl-C again stops now\n"
      try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
    }
  }

  private static func prepareLastWords() {
    LastWords.prepare(
      outOfMemory: ("error: out of memory; what was saved stays\n", ExitStatus.overMemoryLimit.rawValue),
      fileLost: (
        "error: a mapped file became shorter or unreadable while it was used; what was saved stays\n",
        ExitStatus.failedWhileRunning.rawValue
      ))
    MemoryBlock.exhausted.withLock {
      $0 = { bytes in
        let line = "error: out of memory: no further \(formatBytes(bytes)) to be had; what was saved stays\n"
        try? FileHandle.standardError.write(contentsOf: Data(line.utf8))
        _exit(ExitStatus.overMemoryLimit.rawValue)
      }
    }
  }

  private static func checkScheduler(_ request: GenerationRequest, _ folder: PipelineFolder) throws {
    let configuration = try SchedulerConfiguration(contentsOf: folder.configFile(of: "scheduler"))
    var scheduler: any Scheduler
    do {
      scheduler = try makeScheduler(named: request.scheduler, configuration: configuration)
    } catch SchedulerError.unknownScheduler(let name, let known) where request.scheduler == nil {
      throw PipelineError.unsupported(
        path: try folder.configFile(of: "scheduler").path, what: "scheduler class '\(name)'", known: known)
    }
    do {
      try scheduler.setTimesteps(request.steps)
    } catch SchedulerError.invalid(let scheduler, let reason) {
      throw CommandError.usage("\(scheduler): \(reason)")
    }
  }
}
