import Foundation
import Media
import Testing

@Suite struct FileLockTests {
  @Test func oneHolderAtATime() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "lock-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let url = folder.appending(path: "a/result.png"), file = folder.appending(path: "a/.result.png.lock")
    // Left behind by a process that is gone: it claims nothing.
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data().write(to: file)
    let claim = try #require(try FileLock(claiming: url))
    #expect(try FileLock(claiming: url) == nil)
    #expect(try FileLock(claiming: folder.appending(path: "a/other.png")) != nil)
    claim.release()
    #expect(!FileManager.default.fileExists(atPath: file.path))
    #expect(try FileLock(claiming: url) != nil)
    #expect(throws: MediaError.self) { try FileLock(claiming: URL(fileURLWithPath: "/proc/none/x")) }
  }
}
