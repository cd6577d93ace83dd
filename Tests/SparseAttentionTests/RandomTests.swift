import Kernels
import Testing

@testable import SparseAttention

@Suite struct RandomTests {
  private static func plan(_ site: AttentionSite, _ options: [String: String] = [:]) throws -> BlockPlan {
    let run = context(site.layout, heads: site.heads)
    let made = try AttentionMethods.standard.make("random", options: options, context: run).method
    return try #require(made as? RandomAttention).plan(site)
  }

  static let layouts = [
    TokenLayout(height: 32, width: 32), TokenLayout(frames: 5, height: 15, width: 26),
    TokenLayout(frames: 3, height: 17, width: 23, prefix: 130, suffix: 20),
    TokenLayout(frames: 21, height: 30, width: 52),
  ]

  /// Each head and each row keep what is asked for, give or take a block.
  @Test(arguments: layouts, [0.1, 0.2, 0.3, 0.5, 0.77, 0.9])
  func keepsAsMuchAsAskedFor(_ layout: TokenLayout, _ density: Double) throws {
    let site = site(layout, heads: 3), plan = try Self.plan(site, ["density": "\(density)"])
    // With text: what it keeps alone is 46 % of the pairs of the third layout.
    let share = layout.keptOfVisual(density: density)
    let blocks = PAROBlocks(layout, block: RandomAttention.block(for: layout)), visual = Double(layout.visualCount)
    let oneBlock = Double(blocks.lengths[0] * blocks.lengths[0])
    for head in 0..<3 {
      let pattern = plan.patterns[plan.heads[head].pattern]
      var kept = 0.0
      for row in blocks.visual {
        let columns = pattern.keptColumns(row).filter(blocks.visual.contains)
        let keys = Double(columns.reduce(0) { $0 + pattern.keyLength($1) })
        #expect(!columns.isEmpty && (columns.count == 1 || abs(keys - share * visual) <= Double(blocks.lengths[0])))
        kept += Double(pattern.queryLength(row)) * keys
      }
      let expected = share * visual * visual
      #expect(abs(kept - expected) <= oneBlock || share < 1 / Double(blocks.lengths.count))
    }
    if share > 0.05 { #expect(abs(plan.density - density) < 0.001) }
  }

  @Test func extremesKeepAllAndOneBlockARow() throws {
    let site = site(TokenLayout(height: 20, width: 30), heads: 2)
    #expect(try Self.plan(site, ["density": "1"]).keepsEverything)
    let least = try Self.plan(site, ["density": "0"])
    #expect(least.patterns.allSatisfy { pattern in (0..<pattern.rows).allSatisfy { pattern.keptCount(row: $0) == 1 } })
  }

  /// Other layers, heads, steps and seeds draw other blocks; guidance branches the same.
  @Test func patternsDifferWhereTheyShould() throws {
    let layout = TokenLayout(height: 32, width: 32)
    let first = try Self.plan(site(layout, heads: 2))
    #expect(try Self.plan(site(layout, heads: 2, branch: 1)) == first)
    let others = [
      first.patterns[1], try Self.plan(site(layout, step: 1)).patterns[0],
      try Self.plan(site(layout, layer: 1)).patterns[0], try Self.plan(site(layout), ["seed": "1"]).patterns[0],
      try Self.plan(site(layout), ["seed": "4294967296"]).patterns[0],
    ]
    #expect(Set(others + [first.patterns[0]]).count == 6)
    // The pattern of a head is the same however many there are.
    #expect(try Self.plan(site(layout, heads: 1)).patterns[0] == first.patterns[0])
  }

  /// The same blocks on every machine: those that a Philox written down anew in Python draws.
  @Test func drawsAreThoseOfPhilox() throws {
    let pattern = try Self.plan(site(TokenLayout(height: 8, width: 8)), ["density": "0.25", "block": "8", "seed": "5"])
      .patterns[0]
    let expected = [[1, 6], [3, 7], [1, 4], [2, 5], [0, 5], [5, 7], [2, 5], [1, 2]]
    #expect((0..<8).map { pattern.keptColumns($0) } == expected)
  }

  /// Every block of keys is as likely as every other, the own one too.
  @Test func noBlockIsPreferred() throws {
    let layout = TokenLayout(height: 32, width: 32)
    var counts = [Int](repeating: 0, count: 32), own = 0
    for step in 0..<100 {
      for pattern in try Self.plan(site(layout, heads: 4, step: step, of: 100), ["density": "0.25"]).patterns {
        for row in 0..<32 {
          for column in pattern.keptColumns(row) {
            counts[column] += 1
            if column == row { own += 1 }
          }
        }
      }
    }
    // 12,800 draws of 32 columns with chance 1/4: 3200 each with a deviation of 49.
    #expect(counts.reduce(0, +) == 12_800 * 8 && counts.allSatisfy { abs($0 - 3200) < 250 })
    #expect(abs(own - 3200) < 250)
  }

  @Test func blocksSuitTheGrid() {
    func block(_ frames: Int, _ height: Int, _ width: Int) -> Int {
      RandomAttention.block(for: TokenLayout(frames: frames, height: height, width: width))
    }
    #expect(block(1, 32, 32) == 32 && block(5, 16, 16) == 32 && block(1, 64, 64) == 128 && block(21, 30, 52) == 128)
    #expect(block(1, 8, 8) == 4 && block(1, 1, 1) == 4)
  }

  @Test func optionsOutOfRangeAreRefused() {
    let large = TokenLayout(frames: 18, height: 96, width: 80)
    for options in [["density": "1.1"], ["density": "half"], ["block": "3"], ["block": "4"], ["seed": "-1"]] {
      #expect(throws: AttentionError.self, "\(options)") { try Self.plan(site(large), options) }
    }
  }
}
