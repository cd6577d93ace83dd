import Synchronization

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// A block of memory aligned to a cache line. Large blocks are kept when let go and handed out again for the same size:
/// the layers of a model ask for the same sizes over and over, and pages fresh from the system cost more to touch than
/// many kernels to run (a third of all processor time of a PixArt-Sigma-XL run before). What is kept never makes the
/// process larger than a tenth more than what was in use at once.
public final class MemoryBlock: @unchecked Sendable {
  public let pointer: UnsafeMutableRawPointer
  /// Size in bytes.
  public let byteCount: Int

  /// Contents are arbitrary.
  public init<T: BitwiseCopyable>(count: Int, of type: T.Type) {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<T>.stride)
    precondition(count >= 0 && !overflow, "a block of \(count) elements")
    byteCount = bytes
    pointer = MemoryCache.shared.take(bytes) ?? MemoryBlock.allocate(bytes)
  }

  deinit {
    guard !MemoryCache.shared.keep(pointer, byteCount) else { return }
    if byteCount >= MemoryCache.smallest { ProcessMemory.look() }
    free(pointer)
  }

  private static func allocate(_ bytes: Int) -> UnsafeMutableRawPointer {
    var raw: UnsafeMutableRawPointer?
    if posix_memalign(&raw, 64, max(bytes, 1)) == 0, let raw { return raw }
    // Blocks of other sizes may be what is missing.
    releaseKept()
    if posix_memalign(&raw, 64, max(bytes, 1)) == 0, let raw { return raw }
    exhausted.withLock { $0(bytes) }
  }

  /// Ends the process where the system has no memory left, given the bytes that were asked for. Programs put their own
  /// last words here; no caller of a kernel could go on.
  public static let exhausted = Mutex<@Sendable (Int) -> Never> { bytes in
    fatalError("out of memory allocating \(bytes) bytes")
  }

  /// Gives all kept blocks back to the system. Called between the phases of a run, whose sizes differ.
  public static func releaseKept() { MemoryCache.shared.releaseAll() }
}

/// Blocks let go and not yet asked for again.
private final class MemoryCache: Sendable {
  static let shared = MemoryCache()
  /// Smaller blocks are left to the allocator, which keeps them itself.
  static let smallest = 1 << 18
  /// The most that is kept, in bytes.
  private static let limit = 1 << 30
  /// What may be kept beyond the most that was in use at once, at least, in bytes.
  private static let slack = 1 << 26

  private struct State {
    var blocks: [Int: [UInt]] = [:]
    /// Kept, in use, and the most that was in use, in bytes.
    var bytes = 0, used = 0, mostUsed = 0

    /// Takes kept blocks, largest first, until as many bytes are left as may be beside those in use.
    mutating func excess() -> [UInt] {
      let allowed = mostUsed + max(mostUsed / 10, MemoryCache.slack) - used
      var result: [UInt] = []
      while bytes > allowed, let size = blocks.keys.max() {
        result.append(blocks[size]!.removeLast())
        if blocks[size]!.isEmpty { blocks[size] = nil }
        bytes -= size
      }
      return result
    }
  }
  private let state = Mutex(State())

  func take(_ bytes: Int) -> UnsafeMutableRawPointer? {
    guard bytes >= Self.smallest else { return nil }
    let (address, excess) = state.withLock { state -> (UInt, [UInt]) in
      state.used += bytes
      state.mostUsed = max(state.mostUsed, state.used)
      if let address = state.blocks[bytes]?.popLast() {
        if state.blocks[bytes]!.isEmpty { state.blocks[bytes] = nil }
        state.bytes -= bytes
        return (address, [])
      }
      return (0, state.excess())
    }
    give(back: excess)
    return UnsafeMutableRawPointer(bitPattern: address)
  }

  func keep(_ pointer: UnsafeMutableRawPointer, _ bytes: Int) -> Bool {
    guard bytes >= Self.smallest else { return false }
    return state.withLock { state in
      state.used -= bytes
      guard state.bytes + bytes <= Self.limit else { return false }
      state.blocks[bytes, default: []].append(UInt(bitPattern: pointer))
      state.bytes += bytes
      return true
    }
  }

  func releaseAll() {
    let blocks = state.withLock { state in
      defer { (state.blocks, state.bytes) = ([:], 0) }
      return state.blocks.values.flatMap { $0 }
    }
    give(back: blocks)
  }

  private func give(back blocks: [UInt]) {
    if !blocks.isEmpty { ProcessMemory.look() }
    for address in blocks { free(UnsafeMutableRawPointer(bitPattern: address)) }
  }
}
