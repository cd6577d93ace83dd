import Synchronization

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// A block of memory aligned to a cache line. Large blocks are kept when let go and handed out again for the same size:
/// the layers of a model ask for the same sizes over and over, and pages fresh from the system cost more to touch than
/// many kernels to run (a third of all processor time of a PixArt-Sigma-XL run before).
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

  deinit { if !MemoryCache.shared.keep(pointer, byteCount) { free(pointer) } }

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
  private static let smallest = 1 << 18
  /// The most that is kept, in bytes.
  private static let limit = 1 << 30

  private struct State {
    var blocks: [Int: [UInt]] = [:]
    var bytes = 0
  }
  private let state = Mutex(State())

  func take(_ bytes: Int) -> UnsafeMutableRawPointer? {
    guard bytes >= Self.smallest else { return nil }
    let address = state.withLock { state -> UInt in
      guard let address = state.blocks[bytes]?.popLast() else { return 0 }
      state.bytes -= bytes
      return address
    }
    return UnsafeMutableRawPointer(bitPattern: address)
  }

  func keep(_ pointer: UnsafeMutableRawPointer, _ bytes: Int) -> Bool {
    guard bytes >= Self.smallest else { return false }
    return state.withLock { state in
      guard state.bytes + bytes <= Self.limit else { return false }
      state.blocks[bytes, default: []].append(UInt(bitPattern: pointer))
      state.bytes += bytes
      return true
    }
  }

  func releaseAll() {
    let blocks = state.withLock { state in
      defer { state = State() }
      return state.blocks.values.flatMap { $0 }
    }
    for address in blocks { free(UnsafeMutableRawPointer(bitPattern: address)) }
  }
}
