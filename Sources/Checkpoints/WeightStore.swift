import Foundation
import Synchronization
import Tensors
import TolerantJSON

/// All weights of one component: one safetensors file, or the shards that an index names.
public final class WeightStore: Sendable {
  /// The folder or file the weights came from, for messages.
  public let path: String
  /// The files read, in order of name.
  public let files: [URL]
  /// The metadata of a single file; empty for shards.
  public let metadata: [String: String]
  private let tensors: [String: StoredTensor]
  private let read = Mutex<Set<String>>([])
  let fault = Mutex<CheckpointError?>(nil)

  /// Opens one safetensors file.
  public convenience init(file: URL) throws { try self.init(path: file.path, files: [file], index: nil) }

  /// Opens the weights in a component's folder.
  /// - Parameter variant: `bf16` or `fp16` to insist on such files; `nil` takes the plain ones, or the only variant.
  public convenience init(folder: URL, variant: String? = nil) throws {
    let found = try WeightFiles(folder: folder, variant: variant)
    try self.init(path: folder.path, files: found.files, index: found.index)
  }

  private init(path: String, files: [URL], index: [String: String]?) throws {
    self.path = path
    self.files = files
    var tensors: [String: StoredTensor] = [:]
    var metadata: [String: String] = [:]
    for url in files {
      let file = try SafetensorsFile(url)
      if files.count == 1 { metadata = file.metadata }
      for (name, tensor) in file.tensors {
        guard tensors.updateValue(tensor, forKey: name) == nil else {
          throw CheckpointError.malformed(path: path, reason: "tensor '\(name)' is in more than one shard")
        }
      }
    }
    if let index {
      for (name, file) in index.sorted(by: { $0.key < $1.key }) {
        guard let tensor = tensors[name], URL(fileURLWithPath: tensor.file.path).lastPathComponent == file else {
          throw CheckpointError.malformed(
            path: path, reason: "the index places tensor '\(name)' in \(file), which lacks it")
        }
      }
    }
    self.tensors = tensors
    self.metadata = metadata
  }

  /// Names of all tensors, sorted.
  public var names: [String] { tensors.keys.sorted() }

  /// Bytes of all tensors.
  public var byteCount: Int { tensors.values.reduce(0) { $0 + $1.range.count } }

  /// The root of the weights.
  public func scope(_ precision: Precision = .float32) -> WeightScope {
    WeightScope(store: self, path: "", precision: precision)
  }

  /// Throws if the model left tensors unread, which means that it is not the model these weights belong to.
  public func verifyAllRead(ignoring isIgnored: (String) -> Bool = { _ in false }) throws {
    let left = read.withLock { seen in tensors.keys.filter { !seen.contains($0) && !isIgnored($0) }.sorted() }
    if !left.isEmpty { throw CheckpointError.unread(path: path, names: left) }
  }

  /// Lets the system drop the pages of all tensors below a path; they are read again when touched.
  public func discardPages(below path: String) {
    for (name, tensor) in tensors where path.isEmpty || name.hasPrefix(path + ".") { tensor.discardPages() }
  }

  func find(_ name: String) -> StoredTensor? { tensors[name] }

  func take(_ name: String) throws -> StoredTensor {
    guard let tensor = tensors[name] else { throw CheckpointError.missingTensor(name: name, path: path) }
    read.withLock { _ = $0.insert(name) }
    return tensor
  }
}

/// Finds a component's weight files by the names diffusers and transformers give them.
public struct WeightFiles {
  /// The safetensors files, in order of name.
  public let files: [URL]
  /// Tensor name to file name, for shards.
  public let index: [String: String]?

  private struct Index: Decodable { var weight_map: [String: String] }

  public init(folder: URL, variant: String? = nil) throws {
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    } catch {
      throw CheckpointError.missing(path: folder.path, reason: "no such folder")
    }
    let suffixes = variant.map { [".\($0)"] } ?? ["", ".bf16", ".fp16"]
    for base in ["diffusion_pytorch_model", "model"] {
      for suffix in suffixes {
        let single = "\(base)\(suffix).safetensors", index = "\(base).safetensors.index\(suffix).json"
        if names.contains(single) {
          files = [folder.appendingPathComponent(single)]
          self.index = nil
          return
        }
        let indexName = [index, "\(base)\(suffix).safetensors.index.json"].first { names.contains($0) }
        if let indexName {
          (files, self.index) = try Self.shards(folder, indexName)
          return
        }
      }
    }
    if let pickle = names.first(where: { name in [".bin", ".pt", ".pth", ".ckpt"].contains { name.hasSuffix($0) } }) {
      throw CheckpointError.pickleOnly(folder: folder.path, file: pickle)
    }
    let wanted = variant.map { "*.\($0).safetensors" } ?? "diffusion_pytorch_model.safetensors or model.safetensors"
    throw CheckpointError.missing(path: folder.path, reason: "no weights; expected \(wanted), or an index of shards")
  }

  private static func shards(_ folder: URL, _ indexName: String) throws -> ([URL], [String: String]) {
    let url = folder.appendingPathComponent(indexName)
    let map: [String: String]
    do {
      map = try TolerantJSON.decode(Index.self, from: TolerantJSON.read(url), path: url.path, convertKeys: false)
        .weight_map
    } catch let failure as TolerantJSON.Failure {
      throw CheckpointError.malformed(path: failure.path, reason: failure.reason)
    }
    let shards = Set(map.values).sorted()
    guard !shards.isEmpty, shards.count <= 10_000 else {
      throw CheckpointError.malformed(path: url.path, reason: "an index of \(shards.count) shards")
    }
    for shard in shards where shard.contains("/") || shard.contains("\\") || !shard.hasSuffix(".safetensors") {
      throw CheckpointError.malformed(
        path: url.path, reason: "shard '\(shard)' is not a safetensors file of this folder")
    }
    return (shards.map { folder.appendingPathComponent($0) }, map)
  }
}
