import Foundation
import Media
import Testing

struct AtomicFileTests {
  private let folder = FileManager.default.temporaryDirectory.appending(path: "atomic-\(UUID().uuidString)")

  private func contents(_ url: URL) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: url.path).sorted()
  }

  @Test(arguments: [0, 1, 5000, 3_000_000])
  func writesWholeFiles(count: Int) throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let url = folder.appending(path: "a/b/picture ü.png")
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 7) }
    try AtomicFile.write([1, 2, 3], to: url)
    try AtomicFile.write(bytes, to: url)
    #expect(try Array(Data(contentsOf: url)) == bytes)
    #expect(try contents(url.deletingLastPathComponent()) == ["picture ü.png"])
  }

  @Test func longNamesWork() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let url = folder.appending(path: String(repeating: "n", count: 250))
    try AtomicFile.write([7], to: url)
    #expect(try Array(Data(contentsOf: url)) == [7])
  }

  @Test func failureLeavesNothing() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    // The target is a folder with something in it: the rename fails at the very end.
    let target = folder.appending(path: "target")
    try FileManager.default.createDirectory(at: target.appending(path: "inside"), withIntermediateDirectories: true)
    #expect(throws: MediaError.self) { try AtomicFile.write([1], to: target) }
    #expect(throws: MediaError.self) { try AtomicFile.proveWritable(target) }
    #expect(try contents(folder) == ["target"])
  }

  /// Not even the superuser, whom modes do not stop, can write below a file, in `/proc`, or to a name too long.
  @Test(arguments: ["file/x.png", "/proc/nowhere/x.png", "/proc/x.png", String(repeating: "n", count: 300)])
  func unwritablePlaces(path: String) throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    try AtomicFile.write([1], to: folder.appending(path: "file"))
    let url = path.hasPrefix("/") ? URL(filePath: path) : folder.appending(path: path)
    #expect {
      try AtomicFile.write([1], to: url)
    } throws: { error in
      guard case MediaError.cannotWrite(let path, let reason) = error else { return false }
      return path == url.path && !reason.isEmpty
    }
    #expect(throws: MediaError.self) { try AtomicFile.proveWritable(url) }
    #expect(try contents(folder) == ["file"])
  }

  @Test func readOnlyFolder() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    try FileManager.default.createDirectory(
      at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o555])
    // The superuser may write there all the same.
    guard !FileManager.default.isWritableFile(atPath: folder.path) else { return }
    let url = folder.appending(path: "x.png")
    #expect(throws: MediaError.self) { try AtomicFile.write([1], to: url) }
    #expect(throws: MediaError.self) { try AtomicFile.proveWritable(url) }
  }

  @Test func provingChangesNothing() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let url = folder.appending(path: "new/x.png")
    try AtomicFile.proveWritable(url)
    #expect(try contents(folder.appending(path: "new")).isEmpty)
    try AtomicFile.write([4, 2], to: url)
    try AtomicFile.proveWritable(url)
    #expect(try Array(Data(contentsOf: url)) == [4, 2])
    #expect(try contents(folder.appending(path: "new")) == ["x.png"])
  }
}
