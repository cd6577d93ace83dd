import Kernels
import Testing

@testable import SparseAttention

@Suite struct SlidingTileTests {
  /// HunyuanVideo, 1280x768, 117 frames: 5 x 6 x 10 tiles of 6 x 8 x 8 tokens.
  static let hunyuan = TokenLayout(frames: 30, height: 48, width: 80)

  /// Windows of the published tables and of the paper (in whole tiles), with the share of pairs they keep. An even
  /// window is the whole axis there; elsewhere it acts as the next odd one.
  static let densities: [(String, Double)] = [
    ("5x5x5", 0.416667), ("3x3x3", 0.09), ("5x3x5", 0.25), ("5x3x3", 0.15), ("1x6x10", 0.2), ("3x3x5", 0.15),
    ("5x1x10", 0.166667), ("5x6x1", 0.1), ("2x2x2", 0.09), ("4x4x4", 0.416667), ("5x6x10", 1), ("9x9x11", 1),
    ("1x1x1", 0.003333),
  ]

  @Test(arguments: densities)
  func densityIsThatOfTheWindow(_ window: String, _ density: Double) throws {
    let pattern = try pattern("sliding-tile", ["window": window], over: Self.hunyuan)
    #expect(pattern.rows == 300)
    #expect(abs(pattern.density - density) < 1e-6)
    #expect(abs(TileWindow(Substring(window))!.density(Self.hunyuan, tile: [6, 8, 8]) - pattern.density) < 1e-12)
    // Every query tile sees the same number of key tiles, at the borders too.
    #expect(Set((0..<300).map { pattern.keptCount(row: $0) }).count == 1)
  }

  @Test func windowsMoveInwardsAtTheBorders() {
    #expect((0..<6).map { TileWindow.kept($0, window: 3, of: 6) } == [0...2, 0...2, 1...3, 2...4, 3...5, 3...5])
    #expect((0..<6).map { TileWindow.kept($0, window: 4, of: 6) } == [0...4, 0...4, 0...4, 1...5, 1...5, 1...5])
    #expect((0..<3).map { TileWindow.kept($0, window: 2, of: 3) } == [0...2, 0...2, 0...2])
    for window in 4...9 { #expect((0..<4).allSatisfy { TileWindow.kept($0, window: window, of: 4) == 0...3 }) }
  }

  @Test func tilesReadTheirNeighbours() throws {
    let layout = TokenLayout(frames: 5, height: 20, width: 30, prefix: 130, suffix: 7)
    let pattern = try pattern("sliding-tile", ["tile": "2x4x8", "window": "1x3x3"], over: layout)
    let grid = TileGrid(layout, tile: (2, 4, 8))
    for query in grid.tileBlocks {
      for key in grid.tileBlocks {
        let (a, b) = (grid.coordinates(query), grid.coordinates(key))
        let centre = (row: min(max(a.row, 1), 3), column: min(max(a.column, 1), 2))
        let near = a.frame == b.frame && abs(centre.row - b.row) <= 1 && abs(centre.column - b.column) <= 1
        #expect(pattern[query, key] == near)
      }
    }
    for text in [0, 1, grid.blocks - 1] {
      #expect(pattern.keptCount(row: text) == grid.blocks)
      #expect((0..<grid.blocks).allSatisfy { pattern[$0, text] })
    }
  }

  @Test func densityCountsShortTiles() throws {
    let layout = TokenLayout(frames: 21, height: 30, width: 52)
    for window in ["3x3x3", "1x2x5", "4x1x7"] {
      let pattern = try pattern("sliding-tile", ["window": window], over: layout)
      #expect(abs(pattern.density - TileWindow(Substring(window))!.density(layout, tile: [6, 8, 8])) < 1e-12)
    }
  }

  @Test func optionsOutOfRangeAreRefused() {
    for options in [
      ["tile": "8x8"], ["tile": "0x8x8"], ["window": "3x3"], ["window": "3x3x5000"], ["tile": "1x2x2"],
      ["calibration": "auto"], ["calibration": "/no/such/table.json"], ["calibration": "a.json", "window": "3x3x3"],
      ["calibration": "a.json", "tile": "6x8x8"], ["decay": "1"],
    ] {
      #expect(throws: AttentionError.self, "\(options)") {
        try pattern("sliding-tile", options, over: Self.hunyuan)
      }
    }
  }

  @Test func denseStepsAreThoseOfThePaper() throws {
    let method = try AttentionMethods.standard.make("sliding-tile", options: [:], context: context(Self.hunyuan))
      .method!
    #expect([50, 25, 10].map(method.defaultDenseSteps) == [12, 6, 3])
    #expect(method.defaultDenseLayers == 0)
  }

  @Test func candidatesCostAboutTheSame() {
    for (layout, tile) in [
      (Self.hunyuan, [6, 8, 8]), (TokenLayout(frames: 18, height: 48, width: 80), [6, 8, 8]),
      (TokenLayout(height: 64, width: 64), [1, 8, 8]), (TokenLayout(frames: 21, height: 30, width: 52), [6, 8, 8]),
    ] {
      let windows = TileWindow.candidates(density: 0.3, layout, tile: tile)
      #expect((2...6).contains(windows.count) && Set(windows).count == windows.count)
      #expect(windows.allSatisfy { (0.2...0.45).contains($0.density(layout, tile: tile)) })
    }
    // Two by two tiles have nothing near: the nearest alone.
    #expect(
      TileWindow.candidates(density: 0.05, TokenLayout(height: 16, width: 16), tile: [1, 8, 8]).map(\.description)
        == ["1x1x1"])
  }
}
