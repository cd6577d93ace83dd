import Foundation
import Tensors

/// Fingerprints of a folder's weight files, each taken when it is first asked for.
final class WeightFingerprints {
  private static let components = ["text_encoder", "transformer", "vae"]

  private let folder: PipelineFolder
  private var files: [String: [RunRecord.WeightFile]] = [:]

  init(_ folder: PipelineFolder) { self.folder = folder }

  /// The weight files of all components that have weights.
  func all() throws -> [RunRecord.WeightFile] {
    try Self.components.filter { folder.components[$0] != nil }.flatMap(of(component:))
  }

  /// The weight files of one component.
  func of(component: String) throws -> [RunRecord.WeightFile] {
    if let known = files[component] { return known }
    let found = try folder.weightFiles(of: component).map { try RunRecord.WeightFile(component: component, url: $0) }
    files[component] = found
    return found
  }

  /// Names the transformer's weights: its file's fingerprint, or the hash of those of all its files.
  func modelHash() throws -> String {
    let fingerprints = try of(component: "transformer").map(\.fingerprint)
    guard fingerprints.count != 1 else { return fingerprints[0] }
    return "sha256:" + SHA256.hex(of: Array(fingerprints.joined(separator: "\n").utf8))
  }
}

extension RunRecord.WeightFile {
  public init(component: String, url: URL) throws {
    let file = try MappedFile(path: url.path)
    (self.component, self.file, bytes, fingerprint) = (component, url.lastPathComponent, file.count, file.fingerprint())
  }
}

extension RunRecord.CalibrationFile {
  init(path: String) throws {
    file = URL(fileURLWithPath: path).lastPathComponent
    fingerprint = try MappedFile(path: path).fingerprint()
  }
}

extension MappedFile {
  private static let wholeFileLimit = 64 << 20
  private static let sampleCount = 256, sampleBytes = 1 << 14

  /// Tells what is in the file. Up to 64 MiB all bytes are hashed; of a larger one, the first 64 KiB, the size, and 256
  /// samples of 16 KiB spread evenly: enough to tell two trainings apart, not to prove that no byte was changed.
  /// - Returns: `sha256:...` of all bytes, or `sampled-sha256:...`.
  fileprivate func fingerprint() -> String {
    var digest = SHA256()
    guard count > Self.wholeFileLimit else {
      for start in stride(from: 0, to: count, by: 1 << 20) {
        digest.update(bytes(start..<min(start + 1 << 20, count)))
      }
      return "sha256:" + digest.hex()
    }
    digest.update(bytes(0..<1 << 16))
    digest.update(Array("\(count)".utf8))
    let distance = (count - Self.sampleBytes) / (Self.sampleCount - 1)
    for index in 0..<Self.sampleCount {
      digest.update(bytes(index * distance..<index * distance + Self.sampleBytes))
    }
    return "sampled-sha256:" + digest.hex()
  }
}
