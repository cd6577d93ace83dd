import Foundation
import Kernels
import Tensors
import Testing

@testable import SparseAttention

/// A method as the contract suite tries it. A method that is not in ``table`` is tried with its defaults.
struct MethodCase: Sendable, CustomTestStringConvertible {
  let method: String
  var options: [String: String] = [:]
  /// Options with which the method drops nothing, on any grid; `nil` where it has none.
  var keepingAll: [String: String]?
  /// What a run needs before the method is made, such as calibration files in a folder of its own.
  var prepare: @Sendable (MethodContext, URL) throws -> MethodContext = { context, _ in context }

  var testDescription: String {
    ([method] + options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }).joined(separator: " ")
  }

  static let table = [
    MethodCase(method: "sliding-tile", keepingAll: ["window": "4096x4096x4096"]),
    MethodCase(method: "sliding-tile", options: ["window": "1x1x1", "tile": "3x5x7"]),
    MethodCase(method: "sliding-tile", options: ["calibration": "auto"], prepare: slidingTileTable),
    MethodCase(method: "radial", keepingAll: ["block": "131072"]),
    MethodCase(method: "radial", options: ["rule": "before-2025-11", "decay": "0.2", "sink": "false"]),
    MethodCase(method: "radial", options: ["rule": "paper", "block": "48", "thinning": "48", "along": "rows"]),
    MethodCase(method: "radial", options: ["tails": "false"]),
    MethodCase(method: "draft", keepingAll: ["sparsity": "0"]),
    MethodCase(method: "draft", options: ["pool": "5x7", "sparsity": "0.95"]),
    MethodCase(
      method: "paro", keepingAll: ["density": "1"],
      prepare: { try PAROFixture.write(for: $0, in: $1, densities: [0.5, 1], block: 128, groups: 2) }),
    MethodCase(method: "random", keepingAll: ["density": "1"]),
    MethodCase(method: "random", options: ["density": "0.02", "block": "48", "seed": "7"]),
  ]

  /// Every method there is.
  static var all: [MethodCase] {
    let listed = Set(table.map(\.method))
    return table
      + AttentionMethods.standard.names.filter { $0 != AttentionMethods.dense && !listed.contains($0) }
      .map { MethodCase(method: $0) }
  }

  /// The method, made for a run.
  func make(_ context: MethodContext, from methods: AttentionMethods = .standard, keepingAll: Bool = false) throws
    -> any AttentionMethod
  {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("contract-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    var options = options
    if keepingAll { options.merge(self.keepingAll!) { $1 } }
    return try methods.make(method, options: options, context: prepare(context, folder)).method!
  }

  /// A table with another window for each head, step and layer.
  @Sendable private static func slidingTileTable(_ context: MethodContext, _ folder: URL) throws -> MethodContext {
    var context = context
    (context.calibrationFolder, context.modelHash) = (folder.path, "contract")
    let choices = (0..<context.stepCount).map { step in
      (0..<context.layerCount).map { layer in (0..<context.heads).map { (step + layer + $0) % 3 } }
    }
    let table = SlidingTileTable(
      header: CalibrationHeader(method: "sliding-tile", context: context, prompts: []), tile: TileWindow([2, 8, 8]),
      candidates: [TileWindow([1, 3, 3]), TileWindow([3, 1, 2]), TileWindow([2, 2, 1])], choices: choices, losses: [])
    let name = CalibrationHeader.fileName(method: "sliding-tile", layout: context.layout)
    try Data(table.bytes()).write(to: folder.appendingPathComponent(name))
    return context
  }
}
