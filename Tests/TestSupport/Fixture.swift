import Checkpoints
import Foundation
import Kernels
import Tensors
import TolerantJSON

/// A golden fixture: inputs and outputs that the reference implementation made, with the weights that made them.
public struct Fixture {
  public let store: WeightStore
  private let file: SafetensorsFile

  /// `Fixtures/<name>.safetensors` beside the test file.
  public init(_ name: String, file testFile: String = #filePath) throws {
    let url = URL(fileURLWithPath: testFile).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/\(name).safetensors")
    file = try SafetensorsFile(url)
    store = try WeightStore(file: url)
  }

  /// The weights below `weights.`.
  public func weights(_ precision: Precision = .float32) -> WeightScope { store.scope(precision)["weights"] }

  /// A tensor by its full name, such as `input.latents`.
  public func tensor(_ name: String) -> Tensor {
    guard let stored = file.tensors[name] else { preconditionFailure("fixture \(file.path) has no '\(name)'") }
    return stored.floats()
  }

  /// An integer tensor by its full name.
  public func integers(_ name: String) -> [Int] {
    file.tensors[name]?.integers() ?? tensor(name).elements.map { Int($0) }
  }

  public var names: [String] { file.tensors.keys.sorted() }
  public var metadata: [String: String] { file.metadata }

  /// The configuration the fixture was made with.
  public func configuration<T: Decodable>(_ type: T.Type, key: String = "config") throws -> T {
    try TolerantJSON.decode(type, from: Data((metadata[key] ?? "{}").utf8), path: file.path)
  }
}

/// `|a - b| / |b|` in L2.
public func relativeL2(_ a: Tensor, _ b: Tensor) -> Double { relativeError(a, b) }
