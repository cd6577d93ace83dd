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
  public static func prepare(
    outOfMemory: (line: StaticString, code: Int32), fileLost: (line: StaticString, code: Int32)
  ) {
    (memory, file) = (outOfMemory, fileLost)
    errno = 0
    // The runtime and C++ abort where an allocation fails; others go on with a null pointer, or trap. The thread's errno
    // still says why.
    var action = sigaction()
    let handler: @convention(c) (Int32) -> Void = { number in
      if errno == ENOMEM { LastWords.end(LastWords.memory) }
      LastWords.withPrevious(number) { _ = sigaction(number, $0, nil) }
      // Faults come again by themselves.
      if number == SIGABRT { raise(number) }
    }
    #if canImport(Glibc)
      action.__sigaction_handler.sa_handler = handler
    #else
      action.__sigaction_u.__sa_handler = handler
    #endif
    action.sa_flags = SA_ONSTACK
    for number in [SIGABRT, SIGSEGV, SIGILL, SIGTRAP] { withPrevious(number) { _ = sigaction(number, &action, $0) } }
    _ = signal(SIGBUS) { _ in LastWords.end(LastWords.file) }
  }

  /// Allocates nothing.
  private static func end(_ ending: (line: StaticString, code: Int32)) -> Never {
    _ = write(STDERR_FILENO, ending.line.utf8Start, ending.line.utf8CodeUnitCount)
    _exit(ending.code)
  }

  // Written once, before other threads exist.
  nonisolated(unsafe) private static var memory: (line: StaticString, code: Int32) = ("", 1), file = memory
  /// What was there before, by signal.
  nonisolated(unsafe) private static var previous = (sigaction(), sigaction(), sigaction(), sigaction())

  /// Signals that allocations end in, each with a place in `previous`.
  private static func place(of number: Int32) -> Int? {
    switch number {
    case SIGABRT: 0
    case SIGSEGV: 1
    case SIGILL: 2
    case SIGTRAP: 3
    default: nil
    }
  }

  private static func withPrevious(_ number: Int32, _ body: (UnsafeMutablePointer<sigaction>) -> Void) {
    guard let place = place(of: number) else { return }
    withUnsafeMutableBytes(of: &previous) { body($0.baseAddress!.assumingMemoryBound(to: sigaction.self) + place) }
  }
}
