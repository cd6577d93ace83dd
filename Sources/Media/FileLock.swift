import Foundation

#if canImport(Glibc)
  import Glibc
#endif

/// A claim on something that only one process should write at a time, as a hidden file that this process has locked.
///
/// The system drops the lock when the process ends, however it ends: a file that was left behind claims nothing.
public final class FileLock {
  private let path: String
  private var descriptor: Int32?

  /// Claims what `url` names, or returns `nil` where another holder has it. Missing folders are made.
  public init?(claiming url: URL) throws {
    let folder = url.deletingLastPathComponent()
    try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    path = folder.appending(path: ".\(url.lastPathComponent.prefix(60)).lock").path
    while true {
      let opened = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
      guard opened >= 0 else {
        throw MediaError.cannotWrite(path: url.path, reason: unsafe String(cString: strerror(errno)))
      }
      guard flock(opened, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK else {
        close(opened)
        return nil
      }
      // Another process may have deleted the file between the two calls, and with it the claim.
      var own = stat(), there = stat()
      if unsafe fstat(opened, &own) == 0, unsafe stat(path, &there) == 0, own.st_ino == there.st_ino {
        descriptor = opened
        return
      }
      close(opened)
    }
  }

  deinit { release() }

  /// Gives the claim back.
  public func release() {
    guard let descriptor else { return }
    _ = unsafe unlink(path)
    close(descriptor)
    self.descriptor = nil
  }
}
