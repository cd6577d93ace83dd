import Kernels
import Tensors
import Testing

@testable import SparseAttention

@Suite struct PlanTests {
  @Test func ordersAlongAxesVisitEveryTokenAndComeBack() {
    let layout = TokenLayout(frames: 3, height: 4, width: 5, prefix: 2, suffix: 3)
    for axes in [[0, 1, 2], [0, 2, 1], [1, 2, 0], [1, 0, 2], [2, 1, 0], [2, 0, 1]] {
      let order = TokenOrder(layout, axes: .init(axes))
      #expect(order.tokens.sorted() == (0..<Int32(layout.count)).map { $0 })
      for (position, token) in order.tokens.enumerated() { #expect(order.inverse[Int(token)] == Int32(position)) }
      #expect(Array(order.tokens.prefix(2)) == [0, 1])
    }
    // Column slowest, row fastest: (w * F + f) * H + h.
    let order = TokenOrder(TokenLayout(frames: 2, height: 3, width: 4), axes: .init([2, 0, 1]))
    #expect(Array(order.tokens.prefix(7)) == [0, 4, 8, 12, 16, 20, 1])
  }

  @Test func raggedTilesCoverTheGridOnce() {
    let layout = TokenLayout(frames: 5, height: 7, width: 11, prefix: 130, suffix: 7)
    let grid = TileGrid(layout, tile: (2, 4, 8))
    #expect(grid.counts == (3, 2, 2))
    #expect(grid.tileBlocks == 2..<14)
    #expect(grid.blocks == 15)
    #expect(Int(grid.starts.last!) == layout.count)
    #expect(grid.coordinates(grid.block(2, 1, 1)) == (2, 1, 1))
    // The last tile is 1 x 3 x 3.
    #expect(grid.starts[14] - grid.starts[13] == 9)
    #expect(grid.isText(0) && grid.isText(14) && !grid.isText(2))
  }

  @Test func shortenedPlansStandForTheSameBlocks() throws {
    let layout = TokenLayout(height: 9, width: 12, prefix: 3, suffix: 2)
    let grid = TileGrid(layout, tile: (1, 4, 4))
    var pattern = BlockPattern(queryStarts: grid.starts, keyStarts: grid.starts)
    for block in 0..<grid.blocks { pattern[block, block] = true }
    let plan = BlockPlan(order: grid.order, pattern: pattern, heads: 2)
    for keys in [
      KeyGrid(rowStep: 2, columnStep: 2, height: 4, width: 6), KeyGrid(rowStep: 2, columnStep: 2, height: 5, width: 6),
      KeyGrid(rowStep: 3, columnStep: 5, height: 3, width: 3),
    ] {
      let short = plan.shortened(to: keys, of: layout)
      let site = AttentionSite(
        layout: layout, layer: 0, layerCount: 1, call: DenoisingCall(step: 0, of: 1), heads: 2, keyGrid: keys)
      try short.validate(for: site)
      let head = short.headPatterns[0], representatives = keys.representatives(of: layout)
      let tokenBlock = { (token: Int32) in
        grid.starts.lastIndex { $0 <= grid.order.inverse[Int(token)] }!
      }
      for row in 0..<head.pattern.rows {
        let read = head.pattern.keptColumns(row).flatMap { column in
          (head.pattern.keyStarts[column]..<head.pattern.keyStarts[column + 1]).map {
            tokenBlock(representatives[Int(head.keyOrder?[Int($0)] ?? $0)])
          }
        }
        // Its own block's keys, or another's where it has none of its own.
        let hasOwn = representatives.contains { tokenBlock($0) == row }
        #expect(!read.isEmpty && (!hasOwn || read.allSatisfy { $0 == row }))
      }
    }
  }

  @Test func unsoundPlansAreRefused() {
    let layout = TokenLayout(height: 4, width: 4)
    let site = AttentionSite(layout: layout, layer: 0, layerCount: 1, call: DenoisingCall(step: 0, of: 1), heads: 2)
    let starts = BlockPattern.uniformStarts(16, block: 4)
    let empty = BlockPlan(
      order: .model(16), pattern: BlockPattern(queryStarts: starts, keyStarts: starts), heads: 2)
    #expect(throws: AttentionError.self) { try empty.validate(for: site) }
    #expect(throws: AttentionError.self) { try BlockPlan.dense(layout, heads: 1).validate(for: site) }
    #expect(throws: AttentionError.self) {
      try BlockPlan.dense(TokenLayout(height: 4, width: 5), heads: 2).validate(for: site)
    }
  }
}

/// Plans are small: nothing of the size of tokens by tokens exists.
@Suite struct PlanSizeTests {
  @Test(arguments: MethodCase.all.filter { $0.options["tile"] != "3x5x7" })
  func atWanSizeATwelveHeadPlanFitsInAFewMegabytes(_ item: MethodCase) throws {
    let layout = TokenLayout(frames: 21, height: 30, width: 52)
    let context = MethodContext(layout: layout, layerCount: 2, stepCount: 4, heads: 12)
    guard let planner = try item.make(context) as? any GeometricPlanner else { return }
    let site = AttentionSite(layout: layout, layer: 1, layerCount: 2, call: DenoisingCall(step: 3, of: 4), heads: 12)
    let plan = try planner.plan(site)
    #expect(plan.byteCount <= 8 << 20, "\(item): \(plan.byteCount) bytes")
  }
}
