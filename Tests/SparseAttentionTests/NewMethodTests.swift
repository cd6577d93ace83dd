import Kernels
import Tensors
import Testing

@testable import SparseAttention

/// Every query reads the tokens whose place has the same remainder: all that a new method takes is this type and an
/// entry in a list.
private struct StridedAttention: GeometricPlanner {
  static let information = MethodInformation(
    name: "strided", summary: "every n-th token", source: "these tests",
    options: [MethodOption("stride", default: "3", "n")])
  let stride: Int

  init(_ options: inout OptionReader, context: MethodContext) throws {
    stride = try options.integer("stride", default: 3, in: 1...16)
  }

  func planKey(_ site: AttentionSite) -> AttentionSite { site.anywhere }

  func plan(_ site: AttentionSite) throws -> BlockPlan {
    let count = site.layout.count
    var tokens: [Int32] = [], starts: [Int32] = [0]
    for first in 0..<min(stride, count) {
      tokens += Swift.stride(from: first, to: count, by: stride).map(Int32.init)
      starts.append(Int32(tokens.count))
    }
    var pattern = BlockPattern(queryStarts: starts, keyStarts: starts)
    for block in 0..<pattern.rows { pattern[block, block] = true }
    return BlockPlan(order: TokenOrder(tokens), pattern: pattern, heads: site.heads)
  }
}

@Suite struct NewMethodTests {
  private let methods = AttentionMethods(AttentionMethods.standard.types + [StridedAttention.self])

  @Test func aMethodIsOneTypeInAList() throws {
    #expect(methods.names.last == "strided" && methods.names.first == "dense")
    let layout = TokenLayout(frames: 2, height: 9, width: 11, prefix: 3, suffix: 4)
    let contract = ContractTests(), site = ContractTests.call(layout), (q, k, v) = ContractTests.inputs(layout)
    let run = context(layout, heads: ContractTests.heads, stepCount: 4, layerCount: 2)
    let (made, resolved) = try methods.make("strided", options: ["stride": "5"], context: run)
    #expect(resolved == ["stride": "5"])
    let engine = PlannedAttention(made, executor: BlockSparseExecutor(.float32), stepCount: 4)
    let plan = try #require(try engine.geometricPlan(site))
    try contract.expectSound(plan, at: site)
    try contract.expectComputed(plan, q, k, v, precisions: [.float32, .bfloat16])

    // Through the engine: token 7 reads tokens 2, 7, 12 ... and no others.
    let result = try engine(q, k, v, at: site)
    let kept = (0..<layout.count).filter { $0 % 5 == 2 }
    func rows(_ x: Tensor) -> Tensor {
      Tensor.concatenated(kept.map { x.narrowed(axis: 2, $0..<$0 + 1) }, axis: 2)
    }
    let alone = try BlockSparseExecutor(.float32).attend(rows(q), rows(k), rows(v), plan: nil, scale: 0.25)
    #expect(relativeError(rows(result), alone) < 1e-6)
    #expect(abs(engine.statistics.runDensity - plan.density) < 1e-12 && plan.density < 0.21)

    let all = try methods.make("strided", options: ["stride": "1"], context: run).method
    let whole = PlannedAttention(all, executor: BlockSparseExecutor(.float32), stepCount: 4)
    #expect(try whole(q, k, v, at: site) == PlannedAttention(precision: .float32)(q, k, v, at: site))
  }

  @Test func whatItIsNotToldIsRefused() {
    let run = context(TokenLayout(height: 4, width: 4))
    #expect(throws: AttentionError.unknownOption(method: "strided", option: "step", known: ["stride"])) {
      try methods.make("strided", options: ["step": "2"], context: run)
    }
    #expect(throws: AttentionError.unknownMethod("stride", known: methods.names)) {
      try methods.make("stride", options: [:], context: run)
    }
    #expect(throws: AttentionError.self) { try methods.make("strided", options: ["stride": "0"], context: run) }
    #expect(throws: AttentionError.self) { try methods.make("dense", options: ["stride": "1"], context: run) }
  }
}
