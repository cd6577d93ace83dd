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
    try makeParent(of: url)
    let temporary = temporaryPath(for: url)
    let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw failure(url) }
    do {
      do {
        try writeAll(bytes, to: descriptor, for: url)
        guard fsync(descriptor) == 0 else { throw failure(url) }
      } catch {
        close(descriptor)
        throw error
      }
      // A full disk over a network can be reported this late.
      guard close(descriptor) == 0 else { throw failure(url) }
      guard unsafe rename(temporary, url.path) == 0 else { throw failure(url) }
    } catch {
      _ = unsafe unlink(temporary)
      throw error
    }
    flushFolder(of: url)
  }

  /// Throws unless a file can be written at `url`: for the time before hours of work. Missing folders are made; an
  /// existing file is not touched, and no file is left behind.
  public static func proveWritable(_ url: URL) throws {
    try makeParent(of: url)
    if (try? url.resourceValues(forKeys: [.isDirectoryKey]))?.isDirectory == true {
      throw MediaError.cannotWrite(path: url.path, reason: "it is a folder")
    }
    // A name too long shows here; the temporary name is a shorter one.
    guard unsafe access(url.path, F_OK) == 0 || errno == ENOENT else { throw failure(url) }
    let temporary = temporaryPath(for: url)
    let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw failure(url) }
    defer {
      close(descriptor)
      _ = unsafe unlink(temporary)
    }
    // Creating a file can work on a full disk where writing one does not.
    try writeAll([UInt8](repeating: 0, count: 4096), to: descriptor, for: url)
    guard fsync(descriptor) == 0 else { throw failure(url) }
  }

  private static func makeParent(of url: URL) throws {
    do {
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    } catch {
      let cause = (error as NSError).userInfo[NSUnderlyingErrorKey] as? any Error
      throw MediaError.cannotWrite(path: url.path, reason: (cause ?? error).localizedDescription)
    }
  }

  /// Hidden, in the same folder (so that a rename is atomic), and no two alike in this process or another.
  private static func temporaryPath(for url: URL) -> String {
    let name = ".\(url.lastPathComponent.prefix(60)).\(getpid())-\(UInt32.random(in: 0...UInt32.max)).tmp"
    return url.deletingLastPathComponent().appending(path: name).path
  }

  private static func writeAll(_ bytes: [UInt8], to descriptor: Int32, for url: URL) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let written = unsafe rest.withUnsafeBytes { unsafe Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if written < 0 {
        if errno == EINTR { continue }
        throw failure(url)
      }
      rest = rest.dropFirst(written)
    }
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
    let reason = POSIXErrorCode(rawValue: code).map { POSIXError($0).localizedDescription } ?? "error \(code)"
    return .cannotWrite(path: url.path, reason: reason)
  }
}
