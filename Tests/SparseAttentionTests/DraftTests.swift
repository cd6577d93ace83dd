import Foundation
import Kernels
import Tensors
import Testing

@testable import SparseAttention

@Suite struct DraftTests {
  private static func draft(_ options: [String: String], _ layout: TokenLayout, heads: Int) throws -> DraftAttention {
    let context = MethodContext(layout: layout, layerCount: 1, stepCount: 1, heads: heads)
    let made = try AttentionMethods.standard.make("draft", options: options, context: context)
    return try #require(made.method as? DraftAttention)
  }

  /// splitmix64 of the index, as the fixture script makes its inputs.
  private static func values(_ shape: [Int], seed: UInt64) -> Tensor {
    Tensor(
      shape,
      (0..<UInt64(shape.reduce(1, *))).map { index in
        var z = (index &+ seed << 32 &+ 1) &* 0x9E37_79B9_7F4A_7C15
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return Float((z ^ z >> 31) >> 40) / Float(1 << 24) * 4 - 2
      })
  }

  struct Golden: Decodable {
    let name: String, layout: [Int], pool: [Int], heads: Int, size: Int, sparsity: Double, keyGrid: [Int]?
    /// A row of 0 and 1 for each region, head by head.
    let kept: [[String]]
  }

  @Test func keepsWhatTheDefinitionKeeps() throws {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures/draft.json")
    let cases = try JSONDecoder().decode([Golden].self, from: Data(contentsOf: file))
    #expect(cases.count > 5)
    for item in cases {
      let layout = TokenLayout(
        frames: item.layout[0], height: item.layout[1], width: item.layout[2], prefix: item.layout[3],
        suffix: item.layout[4])
      var site = AttentionSite(
        layout: layout, layer: 0, layerCount: 1, call: DenoisingCall(step: 0, of: 1), heads: item.heads)
      if let grid = item.keyGrid {
        site.keyGrid = KeyGrid(rowStep: grid[0], columnStep: grid[1], height: grid[2], width: grid[3])
      }
      let draft = try Self.draft(
        ["sparsity": "\(item.sparsity)", "pool": item.pool.map(String.init).joined(separator: "x")], layout,
        heads: item.heads)
      let plan = try draft.plan(
        site, queries: Self.values([item.heads, layout.count, item.size], seed: 1),
        keys: Self.values([item.heads, site.keyCount, item.size], seed: 2))
      try plan.validate(for: site)
      // Text blocks come first and last, and are whole rows and columns of ones.
      let before = layout.prefix > 0 ? 1 : 0, after = layout.suffix > 0 ? 1 : 0
      for (head, rows) in item.kept.enumerated() {
        let pattern = plan.patterns[plan.heads[head].pattern], full = String(repeating: "1", count: pattern.columns)
        let padded =
          Array(repeating: full, count: before)
          + rows.map { String(repeating: "1", count: before) + $0 + String(repeating: "1", count: after) }
          + Array(repeating: full, count: after)
        let found = (0..<pattern.rows).map { row in
          (0..<pattern.columns).map { pattern[row, $0] ? "1" : "0" }.joined()
        }
        #expect(found == padded, "\(item.name), sparsity \(item.sparsity), head \(head)")
      }
    }
  }

  /// HunyuanVideo at 720p with 256 text tokens, Wan 2.1 at 720p: entries kept of a map without ties.
  @Test(arguments: [
    (TokenLayout(frames: 33, height: 48, width: 80, suffix: 256), 0.9, 98011, 990, 0.10363),
    (TokenLayout(frames: 21, height: 48, width: 80), 0.75, 99226, 630, 0.25),
  ])
  func keepsThePublishedNumbers(
    _ layout: TokenLayout, _ sparsity: Double, _ kept: Int, _ regions: Int, _ density: Double
  ) {
    let grid = TileGrid(layout, tile: (1, 8, 16))
    #expect(grid.tileBlocks == 0..<regions)
    var state: UInt64 = 88_172_645_463_325_252
    var order = (0..<regions * regions).map { Float($0) }
    for index in order.indices {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      order.swapAt(index, Int(state % UInt64(order.count)))
    }
    var base = BlockPattern(queryStarts: grid.starts, keyStarts: grid.starts)
    for block in 0..<grid.blocks where grid.isText(block) {
      base.keepAll(row: block)
      base.keepAll(column: block)
    }
    let text = base.keptBlocks
    let pattern = DraftAttention.patterns(
      Tensor([1, regions, regions], order), sparsity: sparsity, upon: base, firstBlock: 0)[0]
    #expect(pattern.keptBlocks - text == kept)
    #expect(abs(Double(pattern.keptBlocks) / Double(grid.blocks * grid.blocks) - density) < 1e-5)
  }

  /// Token (f, y, x) goes to `region * 128 + inner` on a grid that divides by 8 x 16, text after.
  @Test func tokensGoWhereUpstreamPutsThem() {
    let layout = TokenLayout(frames: 2, height: 16, width: 48, suffix: 5)
    let order = TileGrid(layout, tile: (1, 8, 16)).order.inverse
    for f in 0..<2 {
      for y in 0..<16 {
        for x in 0..<48 {
          let region = (f * 2 + y / 8) * 3 + x / 16, inner = y % 8 * 16 + x % 16
          #expect(order[layout.token(frame: f, row: y, column: x)] == Int32(region * 128 + inner))
        }
      }
    }
    #expect(order.suffix(5) == [1536, 1537, 1538, 1539, 1540])
  }

  @Test func flatMapsAndExtremesStaySound() throws {
    let layout = TokenLayout(height: 16, width: 32)
    let site = AttentionSite(layout: layout, layer: 0, layerCount: 1, call: DenoisingCall(step: 0, of: 1), heads: 1)
    let same = Tensor([1, layout.count, 4], repeating: 1), random = Self.values([1, layout.count, 4], seed: 3)
    // Ties are all kept; at sparsity 1 the largest entry stays, and one in every row.
    #expect(try Self.draft([:], layout, heads: 1).plan(site, queries: same, keys: same).keepsEverything)
    let least = try Self.draft(["sparsity": "1"], layout, heads: 1).plan(site, queries: random, keys: random)
    #expect(least.patterns[0].keptBlocks == 4)
    try least.validate(for: site)
    let broken = Tensor([1, layout.count, 4], repeating: .nan)
    try Self.draft([:], layout, heads: 1).plan(site, queries: broken, keys: random).validate(for: site)
  }

  @Test func defaultsAreThePapers() throws {
    let draft = try Self.draft([:], TokenLayout(height: 16, width: 32), heads: 1)
    #expect(draft.sparsity == 0.75 && draft.pool == (8, 16) && draft.defaultDenseLayers == 1)
    #expect([1, 4, 50].map(draft.defaultDenseSteps) == [1, 1, 13])
  }

  @Test func refusesWhatItCannotDo() {
    let layout = TokenLayout(height: 200, width: 200)
    #expect(
      throws: AttentionError.badOption(
        method: "draft", option: "sparsity", found: "2", expected: "a number from 0.0 to 1.0")
    ) { try Self.draft(["sparsity": "2"], layout, heads: 1) }
    let error = #expect(throws: AttentionError.self) { try Self.draft(["pool": "2x2"], layout, heads: 1) }
    #expect(error?.description.contains("expected at most 8192 regions of a grid of 1x200x200, found '2x2'") == true)
  }
}
