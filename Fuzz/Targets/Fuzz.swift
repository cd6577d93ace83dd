import Foundation

/// One reader of files or text from strangers. It may refuse its input, and must not trap, hang or ask for memory out of
/// proportion.
struct FuzzTarget {
  let name: String
  let run: ([UInt8]) throws -> Void
}

/// A folder of this process's own, in memory where the system has such a place.
let scratch: URL = {
  let memory = "/dev/shm"
  let base = FileManager.default.fileExists(atPath: memory) ? memory : NSTemporaryDirectory()
  let folder = URL(fileURLWithPath: base).appendingPathComponent("tessera-fuzz-\(getpid())")
  try! FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  atexit { try? FileManager.default.removeItem(at: scratch) }
  return folder
}()

/// A file in the scratch folder with these bytes.
func scratchFile(_ name: String, _ bytes: [UInt8]) throws -> URL {
  let url = scratch.appendingPathComponent(name)
  _ = FileManager.default.createFile(atPath: url.path, contents: Data(bytes))
  return url
}

/// `TESSERA_FUZZ_TARGET` names the target, since libFuzzer owns the command line.
private let chosen: FuzzTarget = {
  let name = ProcessInfo.processInfo.environment["TESSERA_FUZZ_TARGET"] ?? ""
  guard let target = allTargets.first(where: { $0.name == name }) else {
    FileHandle.standardError.write(
      Data("TESSERA_FUZZ_TARGET: expected one of \(allTargets.map(\.name).joined(separator: " "))\n".utf8))
    exit(64)
  }
  return target
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  try? chosen.run(Array(UnsafeBufferPointer(start: start, count: count)))
  return 0
}

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
  _ count: UnsafeMutablePointer<Int32>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

@main
enum Fuzz {
  static func main() {
    if CommandLine.arguments == [CommandLine.arguments[0], "list"] {
      for target in allTargets { print(target.name) }
      return
    }
    var count = CommandLine.argc, arguments = CommandLine.unsafeArgv
    exit(runDriver(&count, &arguments, testOneInput))
  }
}
