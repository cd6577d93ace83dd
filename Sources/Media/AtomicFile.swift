import Foundation

#if canImport(Glibc)
  import Glibc
#endif

/// Files that appear whole or not at all. The only file of this library with calls to the system.
public enum AtomicFile {
  /// Writes `bytes` to a hidden file beside `url`, flushes it to the disk and renames it. Missing folders are made.
  ///
  /// On failure nothing is left behind and what was at `url` is as it was.
  public static func write(_ bytes: [UInt8], to url: URL) throws {
    let draft = try DraftFile(for: url)
    defer { draft.discard() }
    try draft.write(bytes)
    try draft.commit()
  }

  /// Throws unless a file can be written at `url`: for the time before hours of work. Missing folders are made; an
  /// existing file is not touched, and no file is left behind.
  public static func proveWritable(_ url: URL) throws {
    let draft = try DraftFile(for: url)
    defer { draft.discard() }
    // Creating a file can work on a full disk where writing one does not.
    try draft.write([UInt8](repeating: 0, count: 4096))
    try draft.flush()
  }
}

/// A hidden file beside a path, to be written here or by a C library: it takes the path's place, or vanishes.
final class DraftFile {
  /// The path it is to take.
  let url: URL
  /// Where it is until then.
  let path: String
  /// Kept open, so that whatever goes wrong with the file on its way to the disk is reported to `flush`. `nil` once
  /// committed or discarded.
  private var descriptor: Int32?

  /// Makes an empty file, and missing folders. What is at `url` stays until `commit`.
  init(for url: URL) throws {
    try Self.makeParent(of: url)
    if (try? url.resourceValues(forKeys: [.isDirectoryKey]))?.isDirectory == true {
      throw MediaError.cannotWrite(path: url.path, reason: "it is a folder")
    }
    // A name too long shows here; the temporary name is a shorter one.
    guard unsafe access(url.path, F_OK) == 0 || errno == ENOENT else { throw Self.failure(url) }
    self.url = url
    path = Self.temporaryPath(for: url)
    let opened = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard opened >= 0 else { throw Self.failure(url) }
    descriptor = opened
  }

  deinit { discard() }

  /// Adds `bytes` at the end.
  func write(_ bytes: [UInt8]) throws {
    guard let descriptor else { preconditionFailure("write to a finished draft of \(url.path)") }
    var rest = bytes[...]
    while !rest.isEmpty {
      let written = unsafe rest.withUnsafeBytes { unsafe Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if written < 0 {
        if errno == EINTR { continue }
        throw Self.failure(url)
      }
      rest = rest.dropFirst(written)
    }
  }

  /// Waits until all that was written, here or by others, is on the disk.
  func flush() throws {
    guard let descriptor else { preconditionFailure("flush of a finished draft of \(url.path)") }
    guard fsync(descriptor) == 0 else { throw Self.failure(url) }
  }

  /// Puts the file in its place. When that fails, the file is gone and what was at `url` is as it was.
  func commit() throws {
    defer { discard() }
    try flush()
    guard let descriptor else { return }
    self.descriptor = nil
    // A full disk over a network can be reported this late.
    guard close(descriptor) == 0, unsafe rename(path, url.path) == 0 else {
      let error = Self.failure(url)
      _ = unsafe unlink(path)
      throw error
    }
    Self.flushFolder(of: url)
  }

  /// Deletes the file unless it was committed.
  func discard() {
    guard let descriptor else { return }
    close(descriptor)
    _ = unsafe unlink(path)
    self.descriptor = nil
  }

  private static func makeParent(of url: URL) throws {
    do {
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    } catch {
      let cause = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
      let system = cause.flatMap {
        $0.domain == NSPOSIXErrorDomain ? unsafe String(cString: strerror(Int32($0.code))) : nil
      }
      throw MediaError.cannotWrite(path: url.path, reason: system ?? error.localizedDescription)
    }
  }

  /// Hidden, in the same folder (so that a rename is atomic), and no two alike in this process or another.
  private static func temporaryPath(for url: URL) -> String {
    let name = ".\(url.lastPathComponent.prefix(60)).\(getpid())-\(UInt32.random(in: 0...UInt32.max)).tmp"
    return url.deletingLastPathComponent().appending(path: name).path
  }

  /// Makes the rename itself durable. Not every file system can; the file is whole either way.
  private static func flushFolder(of url: URL) {
    let descriptor = unsafe open(url.deletingLastPathComponent().path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }

  private static func failure(_ url: URL) -> MediaError {
    let code = errno
    return .cannotWrite(path: url.path, reason: unsafe String(cString: strerror(code)))
  }
}
