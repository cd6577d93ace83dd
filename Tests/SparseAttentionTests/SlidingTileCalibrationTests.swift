import Foundation
import Kernels
import Tensors
import Testing

@testable import SparseAttention

/// A run of two steps, two layers and two heads over 4 x 4 tiles of 8 x 8 tokens, and the table made from it.
@Suite struct SlidingTileCalibrationTests {
  static let layout = TokenLayout(height: 32, width: 32, suffix: 3)
  static let run = MethodContext(layout: layout, layerCount: 2, stepCount: 2, heads: 2, modelHash: "abc")

  /// Whether a head reads its own row of tiles (otherwise its own column of tiles).
  static func readsRows(step: Int, layer: Int, head: Int) -> Bool { (step + layer + head) % 2 == 0 }

  /// `[2, 2, N, 16]`: each query is drawn to the keys of its row or column of tiles.
  static func queries(_ site: AttentionSite) -> Tensor {
    var elements = [Float](repeating: 0, count: 2 * 2 * layout.count * 16)
    for pair in 0..<4 {
      let alongRows = readsRows(step: site.call.step, layer: site.layer, head: pair % 2)
      for token in 0..<layout.visualCount {
        let tile = (alongRows ? token / 32 : token % 32) / 8
        elements[(pair * layout.count + token) * 16 + tile] = 8
      }
    }
    return Tensor([2, 2, layout.count, 16], elements)
  }

  /// Runs the calibrator through both guidance branches of all steps.
  static func calibrate(_ options: [String: String], context: MethodContext = run) throws -> CalibrationOutput {
    let executor = BlockSparseExecutor(.float32)
    let calibrator = try AttentionMethods.standard.makeCalibrator(
      "sliding-tile", options: options, context: context, executor: executor)
    for step in 0..<2 {
      for branch in 0..<2 {
        for layer in 0..<2 {
          let site = site(layout, heads: 2, step: step, of: 2, layer: layer, branch: branch)
          let q = queries(site), v = random(q.shape, seed: UInt64(branch))
          let result = try calibrator(q, q, v, at: site)
          #expect(result == (try executor.attend(q, q, v, plan: nil, scale: 0.25)), "not the dense result")
        }
      }
    }
    return try calibrator.finish(prompts: ["a cube"])
  }

  static func write(_ bytes: [UInt8]) throws -> String {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("sliding-\(UUID().uuidString).json").path
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return path
  }

  static func make(_ path: String, _ options: [String: String] = [:], context: MethodContext = run) throws
    -> any GeometricPlanner
  {
    let options = options.merging(["calibration": path]) { $1 }
    let made = try AttentionMethods.standard.make("sliding-tile", options: options, context: context)
    return made.method as! any GeometricPlanner
  }

  @Test func everyHeadGetsTheWindowItReads() throws {
    let output = try Self.calibrate(["candidates": "1x1x4/1x4x1"])
    #expect(output.files.map(\.name) == ["sliding-tile-1x32x32.json"])
    #expect(output.summary.count == 2 && output.summary[0].contains("1x1x4, density 0.250: 50.0%"))
    let path = try Self.write(output.files[0].bytes)
    defer { try? FileManager.default.removeItem(atPath: path) }
    let method = try Self.make(path)
    let rows = try pattern("sliding-tile", ["window": "1x1x4"], over: Self.layout)
    let columns = try pattern("sliding-tile", ["window": "1x4x1"], over: Self.layout)
    for step in 0..<2 {
      for layer in 0..<2 {
        let site = site(Self.layout, heads: 2, step: step, of: 2, layer: layer, branch: 1)
        let plan = try method.plan(site)
        for head in 0..<2 {
          #expect(
            plan.patterns[plan.heads[head].pattern]
              == (Self.readsRows(step: step, layer: layer, head: head) ? rows : columns))
        }
        #expect(method.planKey(site).call.branch == 0 && method.planKey(site).layer == layer)
      }
    }
    // The pipeline's own folder.
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tables-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try Data(output.files[0].bytes).write(to: folder.appendingPathComponent(output.files[0].name))
    var context = Self.run
    context.calibrationFolder = folder.path
    let first = site(Self.layout, heads: 2, of: 2)
    #expect(try Self.make("auto", context: context).plan(first) == method.plan(first))
  }

  @Test func lossesAreMeanSquaredDifferences() throws {
    struct File: Decodable { var losses: [[[[Double]]]], choices: [[[Int]]], tile: [Int], candidates: [[Int]] }
    let bytes = try Self.calibrate(["candidates": "1x1x4/1x4x1/1x4x4"]).files[0].bytes
    let file = try JSONDecoder().decode(File.self, from: Data(bytes))
    #expect(file.tile == [1, 8, 8] && file.candidates == [[1, 1, 4], [1, 4, 1], [1, 4, 4]])
    // Step 1, layer 0, both branches; each of two samples.
    let site = site(Self.layout, heads: 2, step: 1, of: 2)
    let q = Self.queries(site)
    for (candidate, window) in ["1x1x4", "1x4x1"].enumerated() {
      let pattern = try pattern("sliding-tile", ["window": window], over: Self.layout)
      let plan = BlockPlan(order: TileGrid(Self.layout, tile: (1, 8, 8)).order, pattern: pattern, heads: 2)
      var sum = 0.0
      for branch in 0..<2 {
        let v = random(q.shape, seed: UInt64(branch)), executor = BlockSparseExecutor(.float32)
        let dense = try executor.attend(q, q, v, plan: nil, scale: 0.25).elements
        let sparse = try executor.attend(q, q, v, plan: plan, scale: 0.25).elements
        let size = Self.layout.count * 16
        for index in dense.indices where index / size % 2 == 1 {
          sum += Double(dense[index] - sparse[index]) * Double(dense[index] - sparse[index])
        }
      }
      let expected = sum / Double(2 * 2 * Self.layout.count * 16)
      #expect(abs(file.losses[1][0][1][candidate] - expected) <= 1e-6 * expected)
    }
    // A window that reaches everything loses nothing, and is taken where cost does not count.
    #expect(file.losses.allSatisfy { $0.allSatisfy { $0.allSatisfy { $0[2] == 0 } } })
    #expect(file.choices.allSatisfy { $0.allSatisfy { $0.allSatisfy { $0 == 2 } } })
    let thrifty = try Self.calibrate(["candidates": "1x1x4/1x4x1/1x4x4", "cost-weight": "1"]).files[0].bytes
    let choices = try JSONDecoder().decode(File.self, from: Data(thrifty)).choices
    #expect(choices == [[[0, 1], [1, 0]], [[1, 0], [0, 1]]])
  }

  @Test func tablesAreForOneRunUnlessInterpolated() throws {
    let path = try Self.write(Self.calibrate(["candidates": "1x1x4/1x4x1"]).files[0].bytes)
    defer { try? FileManager.default.removeItem(atPath: path) }
    var other = Self.run
    other.modelHash = "def"
    #expect(throws: AttentionError.self) { try Self.make(path, context: other) }
    #expect(throws: AttentionError.self) { try Self.make(path, ["interpolate": "true"], context: other) }
    other = Self.run
    other.heads = 3
    #expect(throws: AttentionError.self) { try Self.make(path, ["interpolate": "true"], context: other) }
    // Six by eight tiles and five steps: steps 0 to 4 take those of 0, 0, 1, 1, 1; one of four columns is two of
    // eight, and three the nearest odd number.
    other = Self.run
    (other.layout, other.stepCount) = (TokenLayout(height: 48, width: 60), 5)
    #expect(throws: AttentionError.self) { try Self.make(path, context: other) }
    let method = try Self.make(path, ["interpolate": "true"], context: other)
    let rows = try pattern("sliding-tile", ["window": "1x1x8"], over: other.layout)
    let columns = try pattern("sliding-tile", ["window": "1x6x3"], over: other.layout)
    for step in 0..<5 {
      let plan = try method.plan(site(other.layout, heads: 2, step: step, of: 5))
      #expect(plan.patterns[plan.heads[0].pattern] == (step < 2 ? rows : columns), "step \(step)")
    }
    #expect(throws: AttentionError.self) { try method.plan(site(other.layout, heads: 2, step: 0, of: 7)) }
  }

  @Test func windowsKeepTheirShareOfAnAxis() {
    let window = TileWindow([3, 6, 5])
    #expect(window.scaled(from: [5, 6, 10], to: [5, 12, 10]) == TileWindow([3, 12, 5]))
    #expect(window.scaled(from: [5, 6, 10], to: [10, 3, 5]) == TileWindow([7, 3, 3]))
    #expect(window.scaled(from: [5, 6, 10], to: [1, 1, 2]) == TileWindow([1, 1, 1]))
    #expect(TileWindow([1, 2, 1]).scaled(from: [3, 6, 10], to: [9, 8, 40]) == TileWindow([3, 5, 5]))
  }

  @Test(arguments: [
    ("\"choices\":[[", "\"choices\":[[[0,1]],[["), ("\"choices\":[[[0", "\"choices\":[[[7"),
    ("\"choices\":[[[0", "\"choices\":[[[-1"), ("\"choices\":[[[0", "\"choices\":[[[0,0"),
    ("\"tile\":[1,8,8]", "\"tile\":[1,8]"), ("\"tile\":[1,8,8]", "\"tile\":[1,0,8]"),
    ("\"candidates\":[[1,1,4]", "\"candidates\":[[1,1,40000]"),
    ("\"candidates\":[[1,1,4],[1,4,1]]", "\"candidates\":[]"),
    ("\"method\":\"sliding-tile\"", "\"method\":\"radial\""), ("\"steps\":2", "\"steps\":3"),
    ("\"schema_version\":1", "\"schema_version\":2"), ("\"grid\":[1,32,32]", "\"grid\":[1,32]"), ("}", ""),
  ])
  func brokenTablesAreRefused(_ text: String, _ replacement: String) throws {
    let sound = String(decoding: try Self.calibrate(["candidates": "1x1x4/1x4x1"]).files[0].bytes, as: UTF8.self)
    #expect(sound.contains(text))
    let path = try Self.write(Array(sound.replacingOccurrences(of: text, with: replacement).utf8))
    defer { try? FileManager.default.removeItem(atPath: path) }
    for interpolate in ["false", "true"] {
      #expect(throws: AttentionError.self) { try Self.make(path, ["interpolate": interpolate]) }
    }
  }

  @Test func calibratorRefusesWhatItWasNotMadeFor() throws {
    for options in [
      ["candidates": "1x1x4/"], ["candidates": "1x1x4/1x1x4"], ["candidates": "1x1"], ["window": "3x3x3"],
      ["candidates": "1x1x4", "density": "0.3"], ["density": "0"],
    ] {
      #expect(throws: AttentionError.self, "\(options)") { try Self.calibrate(options) }
    }
    // A run that ended early, and another run's calls.
    var other = Self.run
    other.stepCount = 3
    #expect(throws: AttentionError.self) { try Self.calibrate([:], context: other) }
    let calibrator = try AttentionMethods.standard.makeCalibrator(
      "sliding-tile", options: [:], context: Self.run, executor: BlockSparseExecutor(.float32))
    #expect(throws: AttentionError.self) { try calibrator.finish(prompts: []) }
    #expect(throws: AttentionError.self) {
      try AttentionMethods.standard.makeCalibrator(
        "radial", options: [:], context: Self.run, executor: BlockSparseExecutor(.float32))
    }
  }
}
