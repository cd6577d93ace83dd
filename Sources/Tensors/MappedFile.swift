// The only file that maps memory: Linux and macOS calls.
#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// A whole file mapped read-only into memory.
public final class MappedFile: @unchecked Sendable {
  /// The path it was opened by.
  public let path: String
  /// Size in bytes when it was mapped.
  public let count: Int
  private let base: UnsafeMutableRawPointer
  private let descriptor: Int32

  /// Why a file could not be mapped.
  public struct Failure: Error, CustomStringConvertible {
    public let path: String, reason: String
    public var isMissing = false
    /// Whether the system had no memory, or no addresses, left for it.
    public var isOutOfMemory = false
    public var description: String { "\(path): \(reason)" }
  }

  public init(path: String) throws {
    // Opening a pipe must not wait for its writer; it is refused below.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw Failure(path: path, reason: String(cString: strerror(errno)), isMissing: errno == ENOENT)
    }
    var isOpen = false
    defer { if !isOpen { close(descriptor) } }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw Failure(path: path, reason: String(cString: strerror(errno)))
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw Failure(path: path, reason: "not a regular file")
    }
    self.path = path
    self.descriptor = descriptor
    count = Int(status.st_size)
    if count == 0 {
      base = UnsafeMutableRawPointer(bitPattern: 64)!
      isOpen = true
      return
    }
    guard let mapped = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), mapped != MAP_FAILED else {
      let isOutOfMemory = errno == ENOMEM
      throw Failure(
        path: path, reason: "cannot map \(count) bytes: " + String(cString: strerror(errno)),
        isOutOfMemory: isOutOfMemory)
    }
    base = mapped
    isOpen = true
  }

  deinit {
    if count > 0 {
      ProcessMemory.look()
      munmap(base, count)
    }
    close(descriptor)
  }

  /// The bytes in `range`, copied.
  public func bytes(_ range: Range<Int>) -> [UInt8] {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    return Array(UnsafeRawBufferPointer(rebasing: buffer[range]))
  }

  /// Copies the bytes in `range` out of the file itself, so that no page of the map is touched. Cheaper than the map for
  /// what is read once.
  /// - Returns: whether all could be read.
  public func read(_ range: Range<Int>, into out: UnsafeMutableRawPointer) -> Bool {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    var done = 0
    while done < range.count {
      let got = pread(descriptor, out + done, range.count - done, off_t(range.lowerBound + done))
      if got > 0 {
        done += got
      } else if got == 0 || errno != EINTR {
        return false
      }
    }
    return true
  }

  var buffer: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

  /// Tells the system that the pages wholly inside `range` are not needed for now; they are read again when touched.
  public func discard(_ range: Range<Int>) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let start = (range.lowerBound + page - 1) / page * page, end = range.upperBound / page * page
    guard end > start else { return }
    ProcessMemory.look()
    madvise(base + start, end - start, MADV_DONTNEED)
  }
}
