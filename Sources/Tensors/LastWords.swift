#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// What a process says, and the code it ends with, where it cannot go on and nothing can be thrown: the language's runtime
/// or a library got no memory, or a mapped file has become shorter or its disk fails. (For tensors' memory there is
/// ``MemoryBlock/exhausted``.)
public enum LastWords {
  /// Prepares for both ends. Anything else that ends the process by a signal does so as before.
  /// - Parameters:
  ///   - outOfMemory: a line, and the process's exit code.
  ///   - fileLost: the same for a mapped file whose bytes can no longer be read.
  public static func prepare(outOfMemory: (line: String, code: Int32), fileLost: (line: String, code: Int32)) {
    memory = Ending(outOfMemory.line, outOfMemory.code)
    file = Ending(fileLost.line, fileLost.code)
    errno = 0
    // The runtime and C++ abort where an allocation fails; others go on with a null pointer, or trap. The thread's errno
    // still says why.
    for number in [SIGABRT, SIGSEGV, SIGILL, SIGTRAP] {
      previous[Int(number)] = signal(number) { number in
        if errno == ENOMEM { LastWords.memory.end() }
        signal(number, LastWords.previous[Int(number)])
        // Faults come again by themselves.
        if number == SIGABRT { raise(number) }
      }
    }
    _ = signal(SIGBUS) { _ in LastWords.file.end() }
  }

  /// Made beforehand: where it is used nothing can be allocated.
  private struct Ending {
    let bytes: UnsafeMutableBufferPointer<UInt8>, code: Int32

    init(_ line: String, _ code: Int32) {
      bytes = .allocate(capacity: line.utf8.count)
      _ = bytes.initialize(from: line.utf8)
      self.code = code
    }

    func end() -> Never {
      _ = write(STDERR_FILENO, bytes.baseAddress, bytes.count)
      _exit(code)
    }
  }

  // Written once, before other threads exist.
  nonisolated(unsafe) private static var memory = Ending("", 1), file = Ending("", 1)
  /// What was there before, by signal.
  nonisolated(unsafe) private static let previous = UnsafeMutablePointer<(@convention(c) (Int32) -> Void)?>.allocate(
    capacity: 128)
}
