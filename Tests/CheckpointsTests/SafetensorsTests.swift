import Checkpoints
import Foundation
import Tensors
import Testing

/// Writes files for one test into a folder of its own.
struct Scratch {
  let folder: URL
  init() throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("tessera-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }
  @discardableResult func write(_ bytes: [UInt8], _ name: String) throws -> URL {
    let url = folder.appendingPathComponent(name)
    try Data(bytes).write(to: url)
    return url
  }
  func remove() { try? FileManager.default.removeItem(at: folder) }
}

/// A safetensors file of this header and so many data bytes.
func safetensors(_ header: String, data: [UInt8], declared: UInt64? = nil) -> [UInt8] {
  let length = declared ?? UInt64(header.utf8.count)
  return (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * UInt64($0))) } + Array(header.utf8) + data
}

private let two =
  #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[2,1],"data_offsets":[8,12]}}"#
private let twoData: [UInt8] = [0, 0, 128, 63, 0, 0, 0, 192, 128, 63, 0, 192]

@Suite struct SafetensorsTests {
  @Test func readsTypesAndShapes() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let store = try WeightStore(file: scratch.write(safetensors(two, data: twoData), "w.safetensors"))
    let weights = store.scope()
    #expect(try weights.tensor("a", 2).elements == [1, -2])
    #expect(throws: CheckpointError.unread(path: store.path, names: ["b"])) { try store.verifyAllRead() }
    #expect(try weights.tensor("b", 2, 1).elements == [1, -2])
    try store.verifyAllRead()
    #expect(store.byteCount == 12 && store.names == ["a", "b"])
    #expect(throws: CheckpointError.missingTensor(name: "x.c", path: store.path)) { try weights["x"].tensor("c", 1) }
    #expect(throws: CheckpointError.wrongShape(name: "a", path: store.path, expected: [1, 2], found: [2])) {
      try weights.tensor("a", 1, 2)
    }
  }

  #if os(Linux)
    /// What is made of a tensor is what is read from then on: the file's pages are let go. In a process of its own, where
    /// no other test maps files.
    @Test func preparedTensorsLeaveNoPages() async {
      await #expect(processExitsWith: .success) {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let count = 1 << 26, header = #"{"w":{"dtype":"F32","shape":[\#(count)],"data_offsets":[0,\#(4 * count)]}}"#
        let url = try scratch.write(safetensors(header, data: []), "w.safetensors")
        let handle = try FileHandle(forWritingTo: url)
        try handle.truncate(atOffset: UInt64(8 + header.utf8.count + 4 * count))
        try handle.close()
        let weights = try WeightStore(file: url).scope()
        func mapped() throws -> Int { try #require(ProcessMemory.current).mapped }
        let before = try mapped(), within = try weights.prepared("w", [count]) { _ in Result { try mapped() } }.get()
        #expect(within - before > 3 * count)
        #expect(try mapped() - before < count / 2)
        let tensor = try weights.tensor("w", count)
        #expect(try mapped() - before < count / 2)
        #expect(tensor.isFinite)
      }
    }
  #endif

  @Test func misalignedFloatsAreCopied() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let header = #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} "#  // 55 bytes: data starts off a word
    let store = try WeightStore(file: scratch.write(safetensors(header, data: [0, 0, 128, 63]), "w.safetensors"))
    #expect(try store.scope().tensor("a", 1).elements == [1])
  }

  @Test(arguments: [
    ("empty", [], "too few"),
    ("short", [1, 2, 3], "too few"),
    ("a header longer than the file", safetensors("{}", data: [], declared: 1000), "truncated"),
    ("a header of 2^63 bytes", safetensors("{}", data: [], declared: 1 << 63), "truncated"),
    ("no JSON", safetensors("nonsense", data: []), "not valid JSON"),
    ("an array", safetensors("[1]", data: []), "header"),
    ("truncated data", safetensors(two, data: Array(twoData.dropLast())), "truncated"),
    ("bytes of nobody", safetensors(two, data: twoData + [0]), "belong to no tensor"),
    (
      "unknown type", safetensors(#"{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}}"#, data: [0, 0, 0, 0]),
      "unknown type"
    ),
    (
      "negative extent", safetensors(#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, data: [0, 0, 0, 0]),
      "impossible shape"
    ),
    (
      "overflowing shape",
      safetensors(#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}"#, data: [0, 0, 0, 0]),
      "impossible shape"
    ),
    (
      "size and range disagree",
      safetensors(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, data: [0, 0, 0, 0]), "needs 8 bytes"
    ),
    (
      "overlap",
      safetensors(
        #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#,
        data: [0, 0, 0, 0, 0, 0]), "overlap"
    ),
    ("a hole", safetensors(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}}"#, data: [0, 0, 0, 0]), "hole"),
    (
      "reversed range", safetensors(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[4,3]}}"#, data: [0, 0, 0, 0]),
      "lies at"
    ),
    (
      "offsets out of range",
      safetensors(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,99999999999999999999]}}"#, data: [0]), "header"
    ),
    ("one offset", safetensors(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}"#, data: [0]), "header"),
    ("missing fields", safetensors(#"{"a":{"dtype":"U8"}}"#, data: []), "missing field"),
    ("deep nesting", safetensors(String(repeating: "[", count: 100_000), data: []), "header"),
  ])
  func refuses(_ what: String, _ bytes: [UInt8], _ reason: String) throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let url = try scratch.write(bytes, "w.safetensors")
    do {
      _ = try WeightStore(file: url)
      Issue.record("accepted \(what)")
    } catch let error as CheckpointError {
      #expect("\(error)".contains(reason), "\(what): \(error)")
      #expect("\(error)".hasPrefix(url.path) && !"\(error)".contains("\n"))
    }
  }

  @Test func integersAreNoWeights() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let header = #"{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}"#
    let store = try WeightStore(file: scratch.write(safetensors(header, data: [1, 0, 0, 0]), "w.safetensors"))
    #expect(throws: CheckpointError.wrongType(name: "a", path: store.path, found: "I32")) {
      try store.scope().tensor("a", 1)
    }
  }
}

@Suite struct WeightFileTests {
  private let one = safetensors(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, data: [7])
  private let other = safetensors(#"{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, data: [8])

  private func reason(_ body: (Scratch) throws -> Void) throws -> String {
    let scratch = try Scratch()
    defer { scratch.remove() }
    try body(scratch)
    do {
      _ = try WeightStore(folder: scratch.folder)
      return "accepted"
    } catch let error as CheckpointError { return "\(error)" }
  }

  @Test func shardsAndVariants() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    try scratch.write(one, "model-00001-of-00002.bf16.safetensors")
    try scratch.write(other, "model-00002-of-00002.bf16.safetensors")
    let index =
      #"{"metadata":{},"weight_map":{"a":"model-00001-of-00002.bf16.safetensors","b":"model-00002-of-00002.bf16.safetensors"}}"#
    try scratch.write(Array(index.utf8), "model.safetensors.index.bf16.json")
    #expect(try WeightStore(folder: scratch.folder).names == ["a", "b"])
    #expect(try WeightStore(folder: scratch.folder, variant: "bf16").names == ["a", "b"])
    #expect(throws: CheckpointError.self) { try WeightStore(folder: scratch.folder, variant: "fp16") }
    try scratch.write(one, "diffusion_pytorch_model.fp16.safetensors")
    #expect(try WeightStore(folder: scratch.folder, variant: "fp16").names == ["a"])
  }

  @Test func saysWhatIsWrong() throws {
    #expect(try reason { _ in }.contains("no weights"))
    #expect(try reason { try $0.write([1], "diffusion_pytorch_model.bin") }.contains("save_pretrained"))
    func index(_ map: String) throws -> String {
      try reason {
        try $0.write(one, "model-1.safetensors")
        try $0.write(Array(#"{"weight_map":\#(map)}"#.utf8), "model.safetensors.index.json")
      }
    }
    #expect(try index(#"{"a":"model-1.safetensors"}"#) == "accepted")
    #expect(try index(#"{"a":"../model-1.safetensors"}"#).contains("not a safetensors file of this folder"))
    #expect(try index(#"{"a":"/etc/passwd"}"#).contains("not a safetensors file of this folder"))
    #expect(try index(#"{"a":"model-1.bin"}"#).contains("not a safetensors file of this folder"))
    #expect(try index(#"{"a":"model-2.safetensors"}"#).contains("no such file"))
    #expect(try index(#"{"z":"model-1.safetensors"}"#).contains("lacks it"))
    #expect(try index("{}").contains("0 shards"))
    #expect(try index("[]").contains("weight_map"))
  }
}
