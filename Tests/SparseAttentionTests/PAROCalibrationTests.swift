import Foundation
import Kernels
import Tensors
import Testing

@testable import SparseAttention

@Suite struct PAROCalibrationTests {
  /// Two heads over 16 x 16 tokens: the first reads its own and the neighbouring columns, the second rows.
  static func localHeads(_ layout: TokenLayout, samples: Int = 1) -> (q: Tensor, k: Tensor, v: Tensor) {
    let size = 16, noise = caseTensor([samples, 2, layout.count, size], seed: 5).elements
    var q = noise.map { $0 * 0.01 }, k = q
    for sample in 0..<samples {
      for head in 0..<2 {
        for visual in 0..<layout.visualCount {
          let place = head == 0 ? visual % 16 : visual / 16
          let start = ((sample * 2 + head) * layout.count + layout.prefix + visual) * size
          k[start + place] += 12
          for near in max(0, place - 1)...min(15, place + 1) { q[start + near] += 12 }
        }
      }
    }
    let shape = [samples, 2, layout.count, size]
    return (Tensor(shape, q), Tensor(shape, k), caseTensor(shape, seed: 6))
  }

  private static func calibrated(
    _ context: MethodContext, _ options: [String: String], samples: Int = 1, keys: KeyGrid? = nil
  ) throws -> (context: MethodContext, output: CalibrationOutput) {
    var context = context
    let calibrator = try AttentionMethods.standard.makeCalibrator(
      "paro", options: options, context: context, executor: BlockSparseExecutor(.float32))
    var (q, k, v) = localHeads(context.layout, samples: samples)
    let dense = try BlockSparseExecutor(.float32).attend(q, k, v, plan: nil, scale: 0.25)
    if let keys {
      let kept = keys.representatives(of: context.layout)
      func shortened(_ x: Tensor) -> Tensor {
        Tensor.concatenated(kept.map { x.narrowed(axis: 2, Int($0)..<Int($0) + 1) }, axis: 2)
      }
      (k, v) = (shortened(k), shortened(v))
    }
    for step in 0..<context.stepCount {
      for branch in 0..<2 {
        for layer in 0..<context.layerCount {
          var site = PAROTests.site(context, layer: layer, step: step, branch: branch)
          site.keyGrid = keys
          let result = try calibrator(q, k, v, at: site)
          if keys == nil { #expect(result == dense) }
        }
      }
    }
    let output = try calibrator.finish(prompts: ["a", "b"])
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("paro-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    for file in output.files { try Data(file.bytes).write(to: folder.appendingPathComponent(file.name)) }
    context.calibrationFolder = folder.path
    return (context, output)
  }

  /// 46 of 16 x 16 blocks lie on the diagonal or beside it.
  static let band = "0.1796875"

  @Test(
    arguments: [
      [:], ["queries": "4"], ["scope": "layer"], ["groups": "2", "every": "2"],
    ] as [[String: String]])
  func findsTheOrderAndTheBlocksOfLocalHeads(options: [String: String]) throws {
    let plain = MethodContext(
      layout: TokenLayout(height: 16, width: 16, prefix: 3, suffix: 2), layerCount: 2, stepCount: 4, heads: 2,
      modelHash: "weights")
    let (context, output) = try Self.calibrated(
      plain, options.merging(["block": "16", "densities": "\(Self.band)/0.5"]) { $1 }, samples: 2)
    defer { PAROFixture.remove(context) }
    #expect(output.files.map(\.name) == ["paro-1x16x16.json", "paro-1x16x16.masks"])
    #expect(output.summary[0] == "orders of 4 heads: FHW 2, FWH 2")
    #expect(output.summary[1].hasPrefix("density 0.1796875: keeps 0.18 of the pairs of visual tokens and 1.0 of"))
    let table = try PAROPlanFile(
      context.calibrationFolder! + "/paro-1x16x16.json", context: context, interpolate: false
    ).table
    #expect(table.orders == [[1, 0], [1, 0]])
    #expect(table.header.prompts == ["a", "b"] && table.header.method == "paro")
    #expect(table.stepGroup == (options["groups"] == nil ? [0, 1, 2, 2] : [0, 0, 1, 1]))

    let paro = try PAROTests.make(context, ["density": Self.band])
    for step in 0..<4 {
      let site = PAROTests.site(context, layer: 1, step: step), plan = try paro.plan(site)
      try plan.validate(for: site)
      for head in 0..<2 {
        let pattern = plan.patterns[plan.heads[head].pattern]
        for row in 0..<16 {
          for column in 0..<16 { #expect(pattern[row + 1, column + 1] == (abs(row - column) <= 1)) }
        }
      }
      // What is dropped weighs nothing here, so sparse attention is dense attention.
      let (q, k, v) = Self.localHeads(context.layout), executor = BlockSparseExecutor(.float32)
      let sparse = try executor.attend(q, k, v, plan: plan, scale: 0.25)
      #expect(relativeError(sparse, try executor.attend(q, k, v, plan: nil, scale: 0.25)) < 1e-5)
    }
  }

  @Test func shortenedKeysStandInTheirTokensBlocks() throws {
    let plain = MethodContext(
      layout: TokenLayout(height: 16, width: 16), layerCount: 1, stepCount: 1, heads: 2, modelHash: "weights")
    let keys = KeyGrid(rowStep: 2, columnStep: 2, height: 8, width: 8)
    let (context, _) = try Self.calibrated(plain, ["block": "32", "densities": "0.25"], keys: keys)
    defer { PAROFixture.remove(context) }
    var site = PAROTests.site(context)
    let plan = try PAROTests.make(context, ["density": "0.25"]).plan(site)
    #expect(plan.orders.count == 2)
    site.keyGrid = keys
    let short = plan.shortened(to: keys, of: context.layout)
    try short.validate(for: site)
    // Blocks of two columns, or two rows: all that a head reads is in its own block and beside it.
    for head in 0..<2 {
      let pattern = short.patterns[short.heads[head].pattern]
      for row in 0..<8 { #expect(pattern[row, row]) }
    }
  }

  @Test func withoutReorderingHeadsStayAsTheyAre() throws {
    let plain = MethodContext(
      layout: TokenLayout(height: 16, width: 16), layerCount: 1, stepCount: 2, heads: 2, modelHash: "weights")
    let (context, output) = try Self.calibrated(plain, ["block": "16", "reorder": "false"])
    defer { PAROFixture.remove(context) }
    #expect(output.summary[0] == "orders of 2 heads: FHW 2")
    #expect(output.summary.count == 5)
  }

  @Test func sampledQueriesReachEveryBlockOfEveryOrder() {
    let layout = TokenLayout(frames: 3, height: 20, width: 30, prefix: 5)
    let orders = PAROAttention.axes.map { TokenOrder(layout, axes: $0.axes) }
    for perBlock in [0, 1, 8, 32] {
      let picked = PAROCalibrator.sample(layout, orders, block: 32, perBlock: perBlock)
      #expect(picked.allSatisfy { (5..<1805).contains($0) } && Set(picked).count == picked.count)
      if perBlock >= 8 { #expect(abs(Double(picked.count) - 1800 * Double(perBlock) / 32) < 60) }
      let chosen = Set(picked)
      for order in orders {
        for start in stride(from: 5, to: 1805, by: 32) {
          #expect(order.tokens[start..<min(start + 32, 1805)].contains { chosen.contains($0) })
        }
      }
    }
  }

  @Test func stepsShareMasksAsInThePaperOrAsInTheCode() {
    let thirty = (0..<30).map { min($0, 15) }
    #expect(PAROSelection.stepGroups(of: 30, groups: 0) == thirty)
    #expect(PAROSelection.stepGroups(of: 5, groups: 0) == [0, 1, 2, 2, 2])
    #expect(PAROSelection.stepGroups(of: 1, groups: 0) == [0])
    #expect(PAROSelection.stepGroups(of: 8, groups: 4) == [0, 0, 1, 1, 2, 2, 3, 3])
    #expect(PAROSelection.stepGroups(of: 3, groups: 10) == [0, 1, 2])
  }

  @Test func ordersAreChosenForSkippableAndFlatBlocks() {
    func shape(_ sparse: Double, _ peakedness: Double) -> PAROSelection.Shape {
      .init(sparse: sparse, peakedness: peakedness)
    }
    #expect(PAROSelection.bestOrder([shape(0.2, 5), shape(0.8, 5), shape(0.5, 5)], alpha: 0.5) == 1)
    #expect(PAROSelection.bestOrder([shape(0.5, 9), shape(0.5, 5), shape(0.5, 3)], alpha: 0.5) == 2)
    #expect(PAROSelection.bestOrder([shape(0.9, 9), shape(0.1, 1)], alpha: 1) == 0)
    #expect(PAROSelection.bestOrder([shape(0.9, 9), shape(0.1, 1)], alpha: 0) == 1)
    #expect(PAROSelection.bestOrder([shape(1, 1), shape(1, 1)], alpha: 0.5) == 0)
    // Two blocks of 4 entries: one all small, one with a peak; a third without entries.
    let found = PAROSelection.shape(
      sums: [0.2, 2, 0][...], largest: [0.05, 1.5, 0][...], below: [4, 2, 0][...], entries: [4, 4, 0], sigma: 0.9)
    #expect(found.sparse == 0.5 && abs(found.peakedness - 2) < 1e-6)
  }

  @Test func masksKeepTheLargestSumsAndNoRowIsEmpty() {
    // Blocks of 2, 2 and 1 tokens: 25 pairs.
    let sums: [Float] = [9, 8, 1, 7, 6, 0, 0.1, 0.3, 0.2]
    func kept(_ density: Double) -> [Int] {
      let mask = PAROSelection.masks(sums: [sums], lengths: [2, 2, 1], densities: [density])[0][0]
      return mask.indices.filter { mask[$0] }
    }
    #expect(kept(0.01) == [0, 3, 7])
    // 4 + 4 + 2 pairs are kept so far.
    #expect(kept(0.4) == [0, 3, 7])
    #expect(kept(0.41) == [0, 1, 3, 7])
    #expect(kept(0.72) == [0, 1, 3, 4, 7])
    #expect(kept(0.74) == [0, 1, 2, 3, 4, 7])
    #expect(kept(1).count == 9)
    // A budget for two heads goes where the attention is.
    let shared = PAROSelection.masks(
      sums: [[4, 3, 2, 5], [9, 8, 7, 9]], lengths: [1, 1], densities: [0.625, 0.75])
    #expect(shared[0] == [[true, false, false, true], [true, true, false, true]])
    #expect(shared[1] == [[true, false, false, true], [true, true, true, true]])
  }

  @Test func refusesWhatItCannotDo() throws {
    var context = MethodContext(
      layout: TokenLayout(height: 16, width: 16), layerCount: 2, stepCount: 2, heads: 2, modelHash: "weights")
    func refusal(_ options: [String: String]) -> String {
      let error = #expect(throws: AttentionError.self) {
        try AttentionMethods.standard.makeCalibrator(
          "paro", options: options, context: context, executor: ReferenceExecutor())
      }
      return error?.description ?? ""
    }
    for text in ["", "0.5/", "0", "1.5", "0.5/0.5", "0.5,0.3", "nan"] {
      #expect(refusal(["densities": text]).contains("expected 1 to 16 different numbers"), "\(text)")
    }
    #expect(refusal(["pool": "8"]).contains("has no option 'pool'"))
    // A layer that the run never reached.
    let calibrator = try AttentionMethods.standard.makeCalibrator(
      "paro", options: [:], context: context, executor: BlockSparseExecutor(.float32))
    let (q, k, v) = Self.localHeads(context.layout)
    _ = try calibrator(q, k, v, at: PAROTests.site(context))
    let unfinished = #expect(throws: AttentionError.self) { try calibrator.finish(prompts: []) }
    #expect(unfinished?.description.contains("layer 1 was not seen at step 0") == true)
    context.layout = TokenLayout(frames: 21, height: 30, width: 52)
    (context.layerCount, context.heads, context.stepCount) = (30, 12, 50)
    #expect(refusal([:]).contains("26 step groups x 30 layers x 12 heads x 6 orders of 512 x 512 blocks takes 58 GB"))
  }
}
