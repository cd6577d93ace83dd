import Foundation
import Kernels
import Tensors
import Testing

@testable import SparseAttention

@Suite struct PAROTests {
  static let video = MethodContext(
    layout: TokenLayout(frames: 3, height: 7, width: 9, prefix: 130, suffix: 5), layerCount: 2, stepCount: 6, heads: 3)

  static func make(_ context: MethodContext, _ options: [String: String] = [:]) throws -> PAROAttention {
    let made = try AttentionMethods.standard.make("paro", options: options, context: context)
    return try #require(made.method as? PAROAttention)
  }

  static func site(_ context: MethodContext, layer: Int = 0, step: Int = 0, branch: Int = 0) -> AttentionSite {
    AttentionSite(
      layout: context.layout, layer: layer, layerCount: context.layerCount,
      call: DenoisingCall(step: step, of: context.stepCount, branch: branch), heads: context.heads)
  }

  @Test(arguments: 0..<6) func ordersFollowTheFormula(index: Int) {
    let axes = [[0, 1, 2], [0, 2, 1], [1, 2, 0], [1, 0, 2], [2, 1, 0], [2, 0, 1]][index]
    #expect(PAROAttention.axes[index].axes.order == axes)
    #expect(PAROAttention.axes[index].name == axes.map { ["F", "H", "W"][$0] }.joined())
    let extents = [3, 4, 5], layout = TokenLayout(frames: 3, height: 4, width: 5)
    let positions = TokenOrder(layout, axes: PAROAttention.axes[index].axes).inverse
    for f in 0..<3 {
      for y in 0..<4 {
        for x in 0..<5 {
          let at = [f, y, x]
          let expected = (at[axes[0]] * extents[axes[1]] + at[axes[1]]) * extents[axes[2]] + at[axes[2]]
          #expect(positions[layout.token(frame: f, row: y, column: x)] == Int32(expected))
        }
      }
    }
  }

  @Test func blocksAreThePublishedOnesButForText() {
    // Wan 2.1 at 720p: the published 1182 x 1182.
    #expect(PAROBlocks(TokenLayout(frames: 21, height: 45, width: 80), block: 64).visual.count == 1182)
    // CogVideoX: upstream fills the last of 4 text blocks with 30 visual tokens, then cuts the rest: 278. Ours keeps
    // the 226 text tokens to themselves, in two blocks, and cuts all visual tokens.
    let text = (226 + 30) / 64, video = BlockPattern.uniformStarts(17550 - 30, block: 64).count - 1
    #expect(text + video == 278)
    let blocks = PAROBlocks(TokenLayout(frames: 13, height: 30, width: 45, prefix: 226), block: 64)
    #expect(blocks.visual == 2..<277)
    #expect(blocks.starts.prefix(3) == [0, 128, 226] && blocks.starts.last == 226 + 17550)
    #expect(blocks.lengths.last == 17550 - 274 * 64)
    // The paper gives 9.2 KB a mask; 275 x 275 bits.
    let shape = PAROMaskShape(densities: 1, groups: 1, layers: 1, heads: 1, blocks: 275)
    #expect(shape.maskBytes == 9454)
  }

  @Test func plansAreWhatTheFileSays() throws {
    var table: PAROTable?
    let context = try PAROFixture.write(for: Self.video, densities: [0.6, 0.2], block: 16) { table = $0 }
    defer { PAROFixture.remove(context) }
    let written = try #require(table), blocks = PAROBlocks(context.layout, block: 16)
    #expect(blocks.visual == 2..<14)
    let file = try PAROPlanFile(context.calibrationFolder! + "/paro-3x7x9.json", context: context, interpolate: false)
    #expect(file.table == written)
    let plans = try ["0.6", "0.2"].map { density -> [BlockPlan] in
      let paro = try Self.make(context, ["density": density])
      return try (0..<2).flatMap { layer in
        try [0, 3, 5].map { step in
          let site = Self.site(context, layer: layer, step: step), plan = try paro.plan(site)
          try plan.validate(for: site)
          for (head, entry) in plan.heads.enumerated() {
            #expect(
              plan.orders[entry.queryOrder]
                == TokenOrder(context.layout, axes: PAROAttention.axes[written.orders[layer][head]].axes))
            var expected = blocks.textPattern
            file.forEachKept(
              density: density == "0.6" ? 0 : 1, group: min(step, 3), layer: layer, head: head
            ) { expected[2 + $0, 2 + $1] = true }
            #expect(plan.patterns[entry.pattern] == expected)
          }
          return plan
        }
      }
    }
    for (dense, sparse) in zip(plans[0], plans[1]) { #expect(dense.density > sparse.density) }
    // Steps 3 to 5 share masks, others and layers do not.
    #expect(plans[0][1] == plans[0][2] && plans[0][0] != plans[0][1] && plans[0][0] != plans[0][3])
    let paro = try Self.make(context, ["density": "0.2"])
    #expect(
      paro.planKey(Self.site(context, step: 5, branch: 1)) == Self.site(context, step: 3)
        && paro.planKey(Self.site(context, step: 2, branch: 1)) == Self.site(context, step: 2))
    #expect(paro.defaultDenseSteps(of: 50) == 0 && paro.defaultDenseLayers == 0)
  }

  @Test func masksAreRowsOfBitsLowestFirst() {
    let mask = (0..<25).map { [0, 6, 12, 18, 24, 9].contains($0) }
    #expect(PAROPlanFile.bytes(mask) == [0b0100_0001, 0b0001_0010, 0b0000_0100, 0b0000_0001])
  }

  @Test func plansComputeWhatTheReferenceDoes() throws {
    let context = try PAROFixture.write(for: Self.video, densities: [0.3], block: 16)
    defer { PAROFixture.remove(context) }
    let paro = try Self.make(context, ["density": "0.3"])
    let count = context.layout.count
    let (q, k, v) = (
      caseTensor([1, 3, count, 8], seed: 1), caseTensor([1, 3, count, 8], seed: 2),
      caseTensor([1, 3, count, 8], seed: 3)
    )
    let results = try [BlockSparseExecutor(.float32), ReferenceExecutor()].map { (executor: any AttentionExecutor) in
      try PlannedAttention(paro, executor: executor, stepCount: 6)(q, k, v, at: Self.site(context))
    }
    #expect(relativeError(results[0], results[1]) < 1e-5)
  }

  @Test func otherStepsAreMatchedByTheirShareOfTheRun() throws {
    let written = try PAROFixture.write(for: Self.video, block: 16)
    defer { PAROFixture.remove(written) }
    var context = written
    context.stepCount = 12
    context.layout.prefix = 7
    #expect(throws: AttentionError.self) { try Self.make(context) }
    let paro = try Self.make(context, ["interpolate": "true"])
    for step in 0..<12 {
      #expect(paro.planKey(Self.site(context, step: step)).call.step == min(step / 2 * 2, 6))
    }
    try paro.plan(Self.site(context)).validate(for: Self.site(context))
    context.layout.height = 8
    let error = #expect(throws: AttentionError.self) {
      try Self.make(
        context, ["interpolate": "true", "calibration": written.calibrationFolder! + "/paro-3x7x9.json"])
    }
    #expect(error?.description.contains("mean nothing on another grid") == true)
  }

  /// What is wrong with a file, and what the one line of refusal says.
  @Test func brokenFilesAreRefused() throws {
    let cases: [(String, (inout PAROTable) -> Void)] = [
      ("made for other weights", { $0.header.modelHash = "other" }),
      ("made for a grid of 9x9x9 tokens", { $0.header.grid = [9, 9, 9] }),
      ("made for method 'radial'", { $0.header.method = "radial" }),
      ("made for 3 layers", { $0.header.layers = 3 }),
      ("made for 7 steps", { $0.header.steps = 7 }),
      ("block must be 8 to 4096 tokens and cut a grid into at most 16384, found 0", { $0.block = 0 }),
      ("expected orders of 2 layers x 3 heads", { $0.orders[1].removeLast() }),
      ("an order must be 0 to 5, found 6", { $0.orders[0][1] = 6 }),
      ("an order must be 0 to 5, found -1", { $0.orders[0][1] = -1 }),
      ("expected a group of masks", { $0.stepGroup[2] = 6 }),
      ("expected a group of masks", { $0.stepGroup = [] }),
      ("expected 1 to 16 densities", { $0.densities = [] }),
      ("expected 1 to 16 densities", { $0.densities = [1.5] }),
      ("must have no folder in it, found '../paro.masks'", { $0.masks = "../paro.masks" }),
      ("must have no folder in it, found '/etc/passwd'", { $0.masks = "/etc/passwd" }),
      ("must have no folder in it, found ''", { $0.masks = "" }),
      (
        "must have 648 bytes, found 312",
        {
          $0.block = 17; $0.stepGroup = [0, 1, 2, 3, 4, 5]
        }
      ),
    ]
    for (index, (expected, change)) in cases.enumerated() {
      let context = try PAROFixture.write(for: Self.video, block: index == cases.count - 1 ? 20 : 16, change: change)
      defer { PAROFixture.remove(context) }
      let error = #expect(throws: AttentionError.self, "\(expected)") { try Self.make(context) }
      #expect(error?.description.contains(expected) == true, "\(expected): \(error?.description ?? "")")
      #expect(error?.description.contains("\n") == false)
    }
  }

  @Test func densityOneKeepsEverything() throws {
    let context = try PAROFixture.write(for: Self.video, densities: [0.5, 0.3], block: 16)
    defer { PAROFixture.remove(context) }
    let options = try PAROAttention.options(forDensity: 1, given: [:], context: context)
    #expect(options["density"] == "1.0")
    #expect(try Self.make(context, options).plan(Self.site(context, layer: 1)).keepsEverything)
    #expect(try !Self.make(context).plan(Self.site(context, layer: 1)).keepsEverything)
  }

  @Test func missingAndCutFilesAreRefused() throws {
    let context = try PAROFixture.write(for: Self.video, densities: [0.5, 0.3], block: 16)
    defer { PAROFixture.remove(context) }
    let folder = URL(fileURLWithPath: context.calibrationFolder!), masks = folder.appendingPathComponent("paro.masks")
    func refusal(_ context: MethodContext, _ options: [String: String] = [:]) -> String {
      (#expect(throws: AttentionError.self) { try Self.make(context, options) })?.description ?? ""
    }
    #expect(
      refusal(context, ["density": "0.4"]).contains(
        "expected 1 or one of those in \(folder.path)/paro-3x7x9.json: 0.5, 0.3, found '0.4'"))
    let whole = try Data(contentsOf: masks)
    try whole.dropLast().write(to: masks)
    #expect(refusal(context).contains("must have \(whole.count) bytes, found \(whole.count - 1)"))
    // Nothing kept in some row.
    try Data(count: whole.count).write(to: masks)
    let paro = try Self.make(context)
    let empty = #expect(throws: AttentionError.self) { try paro.plan(Self.site(context, layer: 1)) }
    #expect(empty?.description.contains("layer 1, head 0 keeps nothing for block 0") == true)
    try FileManager.default.removeItem(at: masks)
    #expect(refusal(context).contains("'paro.masks' are not beside it"))
    let json = folder.appendingPathComponent("paro-3x7x9.json")
    try Data("{\"block\": 3".utf8).write(to: json)
    #expect(refusal(context).contains("not valid JSON"))
    try FileManager.default.removeItem(at: json)
    #expect(refusal(context).contains("no such file; make it with sweep-attention calibrate --method paro"))
    #expect(refusal(Self.video).contains("no folder of calibrations; make it with sweep-attention calibrate"))
  }
}
