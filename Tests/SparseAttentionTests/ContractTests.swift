import Foundation
import Kernels
import Tensors
import TestSupport
import Testing

@testable import SparseAttention

/// What every method must keep to, on every kind of grid. A new method is tried without being named here.
@Suite struct ContractTests {
  static let heads = 2, steps = 4, layers = 2
  /// Images and videos, even and ragged, without text and with text on either side.
  static let grids = [
    TokenLayout(height: 64, width: 64), TokenLayout(height: 37, width: 53),
    TokenLayout(frames: 5, height: 7, width: 11), TokenLayout(frames: 13, height: 30, width: 45),
    TokenLayout(frames: 21, height: 30, width: 52), TokenLayout(frames: 18, height: 48, width: 80),
  ]
  static let layouts = grids.flatMap { grid in
    [(0, 0), (226, 77)].map { prefix, suffix in
      TokenLayout(frames: grid.frames, height: grid.height, width: grid.width, prefix: prefix, suffix: suffix)
    }
  }

  /// A later call of a run over a layout.
  static func call(_ layout: TokenLayout, step: Int = 2, layer: Int = 1, branch: Int = 0) -> AttentionSite {
    site(layout, heads: heads, step: step, of: steps, layer: layer, of: layers, branch: branch)
  }

  /// Queries, keys and values: `[1, heads, N, 16]`.
  static func inputs(_ layout: TokenLayout) -> (q: Tensor, k: Tensor, v: Tensor) {
    let shape = [1, heads, layout.count, 16]
    return (random(shape, seed: 1), random(shape, seed: 2), random(shape, seed: 3))
  }

  static func plan(_ method: any AttentionMethod, _ site: AttentionSite) throws -> BlockPlan {
    if let planner = method as? any GeometricPlanner { return try planner.plan(site) }
    let shape = [site.heads, site.layout.count, 16]
    return try (method as! any ContentPlanner).plan(
      site, queries: random(shape, seed: 1), keys: random(shape, seed: 2))
  }

  static func make(_ method: MethodCase, _ layout: TokenLayout, keepingAll: Bool = false) throws -> any AttentionMethod
  {
    try method.make(
      context(layout, heads: heads, stepCount: steps, layerCount: layers), keepingAll: keepingAll)
  }

  @Test(arguments: MethodCase.all, layouts)
  func plansAreSound(_ method: MethodCase, _ layout: TokenLayout) throws {
    let made = try Self.make(method, layout), site = Self.call(layout)
    try expectSound(try Self.plan(made, site), at: site)
  }

  /// Orders are permutations, columns ascend, no row is empty, blocks cover all tokens.
  func expectSound(_ plan: BlockPlan, at site: AttentionSite) throws {
    try plan.validate(for: site)
    for order in plan.orders {
      let inverse = order.inverse
      #expect(order.tokens.indices.allSatisfy { inverse[Int(order.tokens[$0])] == $0 })
      #expect(Set(order.tokens).count == site.layout.count)
    }
    for pattern in plan.patterns {
      for row in 0..<pattern.rows {
        let columns = pattern.keptColumns(row)
        #expect(!columns.isEmpty && zip(columns, columns.dropFirst()).allSatisfy { $0 < $1 })
        #expect(columns.last! < pattern.columns && columns.count == pattern.keptCount(row: row))
      }
    }
    #expect(plan.density > 0 && plan.density <= 1)
  }

  /// Plans are kept by their key, so sites with the same key must have the same plan.
  @Test(arguments: MethodCase.all)
  func keysTellPlansApart(_ method: MethodCase) throws {
    let layout = TokenLayout(frames: 5, height: 17, width: 22, suffix: 7)
    let made = try Self.make(method, layout)
    guard let planner = made as? any GeometricPlanner else { return }
    var byKey: [AttentionSite: BlockPlan] = [:]
    for step in 0..<Self.steps {
      for layer in 0..<Self.layers {
        for branch in 0..<2 {
          var site = Self.call(layout, step: step, layer: layer, branch: branch)
          let key = planner.planKey(site), plan = try planner.plan(site)
          #expect(planner.planKey(key) == key)
          #expect(byKey[key] == nil || byKey[key] == plan, "step \(step), layer \(layer), branch \(branch)")
          byKey[key] = plan
          site.keyGrid = KeyGrid(rowStep: 2, columnStep: 2, height: 8, width: 11)
          #expect(planner.planKey(site).keyGrid == site.keyGrid)
        }
      }
    }
  }

  @Test(arguments: MethodCase.all.filter { $0.keepingAll != nil }, layouts.filter { $0.count < 5000 })
  func keepingEverythingIsDenseToTheBit(_ method: MethodCase, _ layout: TokenLayout) throws {
    let made = try Self.make(method, layout, keepingAll: true), (q, k, v) = Self.inputs(layout)
    let executor = BlockSparseExecutor(.float32), site = Self.call(layout)
    let dense = PlannedAttention(nil, executor: executor, stepCount: Self.steps)
    let planned = PlannedAttention(made, executor: executor, denseSteps: 0, denseLayers: 0, stepCount: Self.steps)
    #expect(!planned.staysDense(site))
    #expect(try planned(q, k, v, at: site) == dense(q, k, v, at: site))
    #expect(planned.statistics.runDensity == 1)
  }

  /// The kernel reads exactly the tokens that the plan names, at every place of the sequence.
  @Test(arguments: MethodCase.all, layouts.filter { $0.count < 20_000 })
  func executorComputesThePlan(_ method: MethodCase, _ layout: TokenLayout) throws {
    let made = try Self.make(method, layout), site = Self.call(layout), (q, k, v) = Self.inputs(layout)
    let plan = try Self.plan(made, site)
    try expectComputed(plan, q, k, v, precisions: layout.count < 5000 ? [.float32, .bfloat16] : [.float32])
  }

  func expectComputed(_ plan: BlockPlan, _ q: Tensor, _ k: Tensor, _ v: Tensor, precisions: [Precision]) throws {
    // Each tenth of the sequence, and both ends of it.
    let sample = (0...10).map { $0 * (q.shape[2] - 1) / 10 }
    let expected = Reference.blockSparseAttention(q, k, v, scale: 0.25, heads: plan.headPatterns, queries: sample)
    func rows(_ x: Tensor) -> Tensor {
      Tensor.concatenated(sample.map { x.narrowed(axis: 2, $0..<$0 + 1) }, axis: 2)
    }
    for precision in precisions {
      let found = try BlockSparseExecutor(precision).attend(q, k, v, plan: plan, scale: 0.25)
      let error = relativeL2(rows(found), rows(expected))
      #expect(error <= (precision == .float32 ? 1e-5 : 1e-2), "\(precision): \(error)")
    }
  }

  /// Plans compose with layers that shorten their keys.
  @Test(arguments: MethodCase.all)
  func plansComposeWithShortenedKeys(_ method: MethodCase) throws {
    let layout = TokenLayout(height: 37, width: 53, suffix: 5)
    let made = try Self.make(method, layout)
    var site = Self.call(layout)
    site.keyGrid = KeyGrid(rowStep: 2, columnStep: 2, height: 18, width: 26)
    let engine = PlannedAttention(
      made, executor: BlockSparseExecutor(.float32), denseSteps: 0, denseLayers: 0, stepCount: Self.steps)
    try engine.geometricPlan(site)?.validate(for: site)
    let keys = [1, Self.heads, site.keyCount, 16], q = Self.inputs(layout).q
    let result = try engine(q, random(keys, seed: 2), random(keys, seed: 3), at: site)
    #expect(result.shape == q.shape && result.isFinite && engine.statistics.runDensity < 0.27)
  }
}
