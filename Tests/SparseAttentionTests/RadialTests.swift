import Kernels
import Testing

@testable import SparseAttention

@Suite struct RadialTests {
  /// Frames of `size` tokens.
  static func video(_ size: Int, _ frames: Int, suffix: Int = 0) -> TokenLayout {
    size % 48 == 0
      ? TokenLayout(frames: frames, height: 48, width: size / 48, suffix: suffix)
      : TokenLayout(frames: frames, height: size / 4, width: 4, suffix: suffix)
  }

  struct Published: Sendable, CustomTestStringConvertible {
    let size: Int, frames: Int, suffix: Int
    let options: [String: String], sparsity: Double
    init(_ size: Int, _ frames: Int, suffix: Int = 0, _ options: [String: String], _ sparsity: Double) {
      (self.size, self.frames, self.suffix, self.options, self.sparsity) = (size, frames, suffix, options, sparsity)
    }
    var testDescription: String { "\(size) x \(frames) + \(suffix) \(options)" }
  }

  /// What the published code's masks come to. The first two are 83,728 and 76,798 kept blocks of 540 x 540; users
  /// printed the second one as 0.7366323.
  @Test(arguments: [
    Published(3840, 18, ["decay": "0.2"], 0.7128669),
    Published(3840, 18, ["decay": "0.2", "rule": "before-2025-11"], 0.7366324),
    Published(3840, 18, [:], 0.569081), Published(3840, 18, ["decay": "0.5"], 0.661097),
    Published(3840, 18, ["decay": "0.05"], 0.7128669), Published(3840, 20, ["decay": "0.8"], 0.647467),
    Published(3840, 30, ["decay": "0.95", "sink": "false"], 0.725368),
    Published(3840, 30, suffix: 256, ["decay": "0.95", "sink": "false"], 0.722155),
    Published(256, 6, [:], 0.027778), Published(256, 12, [:], 0.215278),
  ])
  func sparsityIsThatOfThePublishedCode(_ published: Published) throws {
    let layout = Self.video(published.size, published.frames, suffix: published.suffix)
    let pattern = try pattern("radial", published.options, over: layout)
    #expect(abs(1 - pattern.density - published.sparsity) < 1e-6, "\(1 - pattern.density)")
  }

  /// Wan 832x480x81: 32,760 tokens are 255 blocks of 128 and 120 tokens. The published figures count the 255 whole
  /// ones, and leave out the ends of frames that the code cuts off.
  @Test(arguments: [("1", 0.5550788), ("0.2", 0.6613149)])
  func raggedFramesAreThatOfThePublishedCodeButForTheirEnds(_ decay: String, _ sparsity: Double) throws {
    let layout = TokenLayout(frames: 21, height: 30, width: 52)
    let published = try pattern("radial", ["decay": decay, "tails": "false"], over: layout)
    let ours = try pattern("radial", ["decay": decay], over: layout)
    #expect(published.rows == 256)
    var kept = 0
    for row in 0..<255 { kept += published.keptColumns(row).count { $0 < 255 } }
    #expect(abs(1 - Double(kept) / (255 * 255) - sparsity) < 1e-6)
    // With the ends, little more is kept, and nothing less.
    for (all, some) in zip(ours.words, published.words) { #expect(all & some == some) }
    #expect(ours.keptBlocks > published.keptBlocks && ours.blockDensity - published.blockDensity < 0.002)
  }

  /// The paper's mask token by token: bands of half-width `s / 2^r`, whose pairs are counted in closed form.
  @Test(arguments: [(18, 0.549), (30, 0.413)])
  func paperFormulaHasThePaperDensity(_ frames: Int, _ density: Double) {
    let size = 3840
    let bands = RadialBands(
      size: size, count: frames, rule: .paper, decay: 1, sink: true, block: 128, thinning: 128, tails: true)
    var pairs = 0
    for query in 0..<frames {
      for key in 0..<frames {
        guard let width = bands.halfWidth(query: query, key: key).map({ min($0, size - 1) }) else { continue }
        pairs += size * (2 * width + 1) - width * (width + 1)
      }
    }
    #expect(abs(Double(pairs) / Double(size * frames * size * frames) - density) < 5e-4)
  }

  /// Where frames are farther apart than they have tokens, the paper keeps the diagonal of some.
  @Test func paperFormulaThinsDiagonals() {
    let bands = RadialBands(
      size: 4, count: 64, rule: .paper, decay: 1, sink: false, block: 4, thinning: 4, tails: true)
    #expect((0..<8).map { bands.halfWidth(query: 0, key: $0) } == [3, 3, 1, 1, 0, 0, 0, 0])
    #expect((8..<12).map { bands.halfWidth(query: 0, key: $0) } == [0, nil, 0, nil])
    #expect((32..<41).map { bands.halfWidth(query: 0, key: $0) } == [0, nil, nil, nil, nil, nil, nil, nil, 0])
  }

  struct Grid: Sendable, CustomTestStringConvertible {
    let size: Int, count: Int, block: Int, rule: RadialBands.Rule, decay: Double, sink: Bool, tails: Bool
    init(
      _ size: Int, _ count: Int, _ block: Int, _ rule: RadialBands.Rule = .current, decay: Double = 1,
      sink: Bool = true,
      tails: Bool = true
    ) {
      (self.size, self.count, self.block, self.rule) = (size, count, block, rule)
      (self.decay, self.sink, self.tails) = (decay, sink, tails)
    }
    var testDescription: String { "\(size) x \(count) / \(block) \(rule) \(decay) \(sink) \(tails)" }
  }

  /// The rule for blocks, on masks written out token by token.
  @Test(arguments: [
    Grid(77, 5, 16), Grid(77, 5, 32, decay: 0.2), Grid(77, 5, 32, .beforeNovember2025, decay: 0.2, tails: false),
    Grid(50, 9, 16, .paper), Grid(50, 9, 16, .paper, sink: false), Grid(33, 12, 32, decay: 0.5, sink: false),
    Grid(35, 7, 16, decay: 0.3, tails: false), Grid(9, 20, 4, .paper, sink: false), Grid(20, 6, 64), Grid(1, 40, 4),
  ])
  func blocksFollowFromTheTokenMask(_ grid: Grid) {
    let bands = RadialBands(
      size: grid.size, count: grid.count, rule: grid.rule, decay: grid.decay, sink: grid.sink, block: grid.block,
      thinning: grid.block, tails: grid.tails)
    let tokens = grid.size * grid.count, starts = BlockPattern.uniformStarts(tokens, block: grid.block)
    var found = BlockPattern(queryStarts: starts, keyStarts: starts)
    bands.keep(in: &found, from: 0)

    var expected = BlockPattern(queryStarts: starts, keyStarts: starts)
    for block in 0..<expected.rows { expected[block, block] = true }
    for query in 0..<grid.count {
      for key in 0..<grid.count {
        guard let width = bands.halfWidth(query: query, key: key) else { continue }
        // Rows read by each column of each block.
        var counts: [[Int]: [Int: Int]] = [:]
        for k in 0..<grid.size {
          for l in 0..<grid.size where abs(k - l) <= width {
            let (row, column) = (query * grid.size + k, key * grid.size + l)
            counts[[row / grid.block, column / grid.block], default: [:]][column, default: 0] += 1
          }
        }
        for (block, columns) in counts {
          let shift = [block[0] - query * grid.size / grid.block, block[1] - key * grid.size / grid.block]
          if !grid.tails && shift.max()! >= (grid.size + grid.block - 1) / grid.block { continue }
          let rows = Double(found.queryLength(block[0]))
          let read = columns.values.count { Double($0) / rows > 1.0 / 3 }
          if Double(read) / Double(columns.count) > 0.6 { expected[block[0], block[1]] = true }
        }
      }
    }
    #expect(found == expected)
    #expect(grid.size == 20 || !found.keepsEverything)
  }

  @Test func imagesTakeRowsForFrames() throws {
    let image = TokenLayout(height: 64, width: 64)
    let rows = try pattern("radial", over: image)
    #expect(rows.rows == 64 * 64 / 32 && rows.density < 0.5)
    #expect(try pattern("radial", ["along": "rows"], over: image) == rows)
    #expect(try pattern("radial", ["along": "frames"], over: image).keepsEverything)
    // A row of tokens of an image is a frame of a video as large.
    let video = TokenLayout(frames: 64, height: 1, width: 64)
    #expect(try pattern("radial", ["block": "32", "thinning": "32"], over: video) == rows)
  }

  @Test func textIsReadByAllAndReadsAll() throws {
    let plain = TokenLayout(frames: 12, height: 16, width: 16)
    let layout = TokenLayout(frames: 12, height: 16, width: 16, prefix: 130, suffix: 77)
    let (with, without) = (try pattern("radial", over: layout), try pattern("radial", over: plain))
    #expect(Array(with.queryStarts.prefix(3)) == [0, 128, 130] && with.rows == 2 + 24 + 1)
    for row in 0..<with.rows {
      for column in 0..<with.columns {
        let isVisual = (2..<26).contains(row) && (2..<26).contains(column)
        #expect(with[row, column] == (isVisual ? without[row - 2, column - 2] : true))
      }
    }
  }

  @Test func optionsOutOfRangeAreRefused() throws {
    let layout = TokenLayout(frames: 4, height: 16, width: 16)
    for options in [
      ["decay": "1.5"], ["decay": "0.5", "rule": "paper"], ["thinning": "64", "rule": "paper"], ["rule": "newest"],
      ["block": "3"], ["along": "columns"], ["tile": "1x8x8"],
    ] {
      #expect(throws: AttentionError.self, "\(options)") { try pattern("radial", options, over: layout) }
    }
    #expect(throws: AttentionError.self) {
      try pattern("radial", ["block": "4"], over: TokenLayout(frames: 18, height: 96, width: 80))
    }
  }

  @Test func denseStepsAreThoseOfThePaper() throws {
    let method = try AttentionMethods.standard.make(
      "radial", options: [:], context: context(TokenLayout(frames: 4, height: 16, width: 16))
    ).method!
    #expect([50, 25, 10, 4, 1].map(method.defaultDenseSteps) == [12, 6, 3, 1, 1])
    #expect(method.defaultDenseLayers == 1)
  }
}
