import Checkpoints
import Foundation
import Kernels
import Media
import Tensors

/// Text embeddings kept on disk between runs, so that drawing a prompt again needs no text encoder: that of Wan 2.1 is
/// 11 GB to read. A file is named by the hash of all that its contents depend on (this program, weights, configuration,
/// tokens, precision, code path) and holds the hash of its contents. One that is missing, damaged or not to be written
/// costs time and nothing else. Several processes may use one folder: files appear whole.
public struct EmbeddingCache: Sendable, Hashable {
  public let folder: URL
  /// Bytes kept; the files used least recently go first.
  public var limit = 512 << 20
  /// Bytes of weights from which on an encoder's work is worth a file.
  public var smallestEncoder = 64 << 20

  public init(folder: URL) { self.folder = folder }

  /// The folder `tessera/text` of the user's caches, or of the one that TESSERA_CACHE names; `nil` where that is `off`.
  public init?(environment: [String: String]) {
    let chosen = environment["TESSERA_CACHE"] ?? ""
    guard chosen != "off" else { return nil }
    let parent: String
    if !chosen.isEmpty {
      parent = chosen
    } else if let caches = environment["XDG_CACHE_HOME"], caches.hasPrefix("/") {
      parent = caches + "/tessera"
    } else if let home = environment["HOME"], home.hasPrefix("/") {
      parent = home + "/.cache/tessera"
    } else {
      return nil
    }
    self.init(folder: URL(fileURLWithPath: parent).appending(path: "text"))
  }

  /// What an embedding is filed under.
  /// - Parameter encoder: what tells this encoder from others: fingerprints, configuration.
  static func name(encoder: [String], tokens: [Int], precision: Precision) -> String {
    let parts = [program, Processor.level.description, precision.rawValue] + encoder + tokens.map(String.init)
    return SHA256.hex(of: Array(parts.joined(separator: "\n").utf8))
  }

  /// This build of this program: another may compute otherwise.
  private static let program: String = {
    #if arch(x86_64)
      let architecture = "x86-64"
    #elseif arch(arm64)
      let architecture = "arm64"
    #else
      let architecture = "other"
    #endif
    let file = Bundle.main.executableURL?.resolvingSymlinksInPath()
    let values = try? file?.resourceValues(forKeys: [.fileSizeKey, .contentModificationDateKey])
    let date = values?.contentModificationDate?.timeIntervalSince1970 ?? 0
    return "\(tesseraVersion) \(architecture) \(values?.fileSize ?? 0) \(date)"
  }()

  /// The embedding `[1, tokens, D]` of that name, or `nil` where there is none that is whole.
  func embedding(_ name: String, tokens: Int) -> Tensor? {
    let url = file(name)
    guard let stored = try? SafetensorsFile(url), let mapped = stored.tensors["embedding"]?.floats(),
      mapped.shape.count == 3, mapped.shape[0] == 1, mapped.shape[1] == tokens
    else { return nil }
    // Another process may take the file away: nothing is read from it after this.
    let tensor = mapped.copied()
    guard stored.tensors["digest"]?.floats() == Self.digest(tensor) else { return nil }
    // Marks it as used.
    try? FileManager.default.setAttributes([.modificationDate: Date()], ofItemAtPath: url.path)
    return tensor
  }

  /// Keeps embeddings if that can be done.
  func keep(_ embeddings: [(name: String, embedding: Tensor)]) {
    let files = embeddings.compactMap { name, embedding -> (URL, [UInt8])? in
      guard let bytes = try? SafetensorsFile.bytes([("embedding", embedding), ("digest", Self.digest(embedding))]),
        bytes.count <= limit
      else { return nil }
      return (file(name), bytes)
    }
    if files.isEmpty { return }
    makeRoom(for: files.reduce(0) { $0 + $1.1.count })
    for (url, bytes) in files { try? AtomicFile.write(bytes, to: url) }
  }

  private func file(_ name: String) -> URL { folder.appending(path: name + ".safetensors") }

  /// The SHA-256 of a tensor's bytes, a number for each of its own bytes.
  private static func digest(_ tensor: Tensor) -> Tensor {
    var hash = SHA256()
    hash.update(tensor.bytes)
    return Tensor([64], hash.hex().utf8.map(Float.init))
  }

  private func makeRoom(for bytes: Int) {
    let keys: Set<URLResourceKey> = [.fileSizeKey, .contentModificationDateKey]
    guard let files = try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: Array(keys))
    else { return }
    var kept = files.filter { $0.pathExtension == "safetensors" }.compactMap { url -> (URL, Int, Date)? in
      guard let values = try? url.resourceValues(forKeys: keys), let size = values.fileSize else { return nil }
      return (url, size, values.contentModificationDate ?? .distantPast)
    }
    kept.sort { $0.2 < $1.2 }
    var total = kept.reduce(bytes) { $0 + $1.1 }
    for (url, size, _) in kept where total > limit {
      try? FileManager.default.removeItem(at: url)
      total -= size
    }
  }
}
