import Kernels
import Tensors
import TestSupport
import Testing

@testable import SparseAttention

@Suite struct DensityTargetTests {
  static let methods = AttentionMethods.standard
  static let image = TokenLayout(height: 32, width: 32), video = TokenLayout(frames: 21, height: 30, width: 52)
  static let layouts = [
    image, TokenLayout(frames: 5, height: 16, width: 16), TokenLayout(frames: 5, height: 15, width: 26), video,
    TokenLayout(frames: 5, height: 15, width: 26, prefix: 130, suffix: 20),
  ]
  static let targets = [0.5, 0.3, 0.2, 0.1]

  static func plan(
    _ name: String, _ options: [String: String], _ run: MethodContext, methods: AttentionMethods = methods
  ) throws -> BlockPlan {
    let made = try #require(try methods.make(name, options: options, context: run).method)
    return try ContractTests.plan(made, site(run.layout, heads: run.heads, step: 3, layer: 1))
  }

  /// What is said to be reached is what the plan keeps, and is near where that is possible.
  @Test(arguments: ["sliding-tile", "radial", "random"], layouts)
  func plansKeepWhatWasSolvedFor(_ name: String, _ layout: TokenLayout) throws {
    let run = context(layout, heads: 2)
    for target in Self.targets {
      let (options, density) = try Self.methods.solve(name, options: [:], density: target, context: run)
      let reached = try #require(density)
      // Random plans differ a little from layer to layer.
      #expect(abs(try Self.plan(name, options, run).density - reached) < (name == "random" ? 1e-3 : 1e-12))
      // Text alone keeps 14 %; and radial attention of rows has nothing between a row with its like and no neighbours.
      let isHard = layout.prefix > 0 && target <= 0.2 || name == "radial" && layout == Self.image && target == 0.1
      #expect(abs(reached - target) <= 0.1 * target || isHard, "\(target): \(reached) with \(options)")
      let listed = try #require(try Self.methods.information(name)).options.map(\.name)
      #expect(options.count == listed.count - (name == "sliding-tile" ? 1 : 0))
    }
    #expect(try Self.methods.solve(name, options: [:], density: 1, context: run).density! > 0.9)
  }

  @Test func whatNoTargetCanReachIsNearest() throws {
    let (options, density) = try Self.methods.solve(
      "radial", options: [:], density: 0.1, context: context(Self.image))
    #expect(options["thinning"] == "64" && density == 0.0615234375)
    let text = TokenLayout(height: 16, width: 16, suffix: 256)
    let random = try Self.methods.solve("random", options: [:], density: 0.2, context: context(text))
    #expect(try #require(random.density) > 0.75)
  }

  @Test func windowsAreTheMostCompactOfTheNearest() throws {
    func solve(_ layout: TokenLayout, _ density: Double, _ options: [String: String] = [:]) throws -> [String: String] {
      try Self.methods.solve("sliding-tile", options: options, density: density, context: context(layout)).options
    }
    // 5 x 6 x 10 boxes: 3x3x5 keeps as much as 5x3x3, and reaches farther.
    let hunyuan = TokenLayout(frames: 30, height: 48, width: 80)
    #expect(try solve(hunyuan, 0.15)["window"] == "5x3x3" && solve(hunyuan, 0.15)["tile"] == "6x8x8")
    // Two by two boxes have nothing between a quarter and a half.
    #expect(try solve(TokenLayout(height: 16, width: 16), 0.25)["tile"] == "1x8x8")
    let small = try solve(TokenLayout(height: 16, width: 16), 0.4)
    #expect(small["tile"] != "1x8x8")
    // The user's tile stays, even if it cannot do it.
    let kept = try solve(TokenLayout(height: 16, width: 16), 0.4, ["tile": "1x8x8"])
    #expect(kept["tile"] == "1x8x8" && kept["window"] == "1x1x2")
    for options in [["window": "3x3x3"], ["calibration": "auto"], ["calibration": "t.json"], ["tile": "8x8"]] {
      #expect(throws: AttentionError.self, "\(options)") { try solve(Self.video, 0.3, options) }
    }
    #expect(try solve(Self.video, 0.3, ["calibration": "none"])["window"] == "3x3x3")
  }

  @Test func smallerTilesAreHalves() {
    let tiles = SlidingTileAttention.smallerTiles(than: [1, 8, 8], TokenLayout(height: 32, width: 32))
    #expect(tiles == [[1, 4, 8], [1, 8, 4], [1, 4, 4], [1, 2, 8], [1, 8, 2]])
    #expect(
      SlidingTileAttention.smallerTiles(than: [5, 8, 8], TokenLayout(frames: 5, height: 16, width: 16))[0] == [3, 8, 8])
  }

  /// Decay where it will do; nothing that the user set is changed.
  @Test func radialChangesAsLittleAsItCan() throws {
    func solve(_ layout: TokenLayout, _ density: Double, _ options: [String: String] = [:]) throws -> [String: String] {
      let run = context(layout), given = try Self.methods.make("radial", options: options, context: run).resolved
      return try Self.methods.solve("radial", options: options, density: density, context: run).options
        .filter { given[$0.key] != $0.value }
    }
    #expect(try solve(Self.video, 0.4).keys.sorted() == ["decay"])
    #expect(try solve(Self.video, 0.3).keys.sorted() == ["thinning"])
    #expect(try solve(Self.video, 0.3, ["thinning": "128"])["thinning"] == nil)
    let fixed = ["thinning": "128", "block": "128", "sink": "true", "along": "frames"]
    #expect(try solve(Self.video, 0.1, fixed).keys.sorted() == ["decay"])
    #expect(try solve(Self.layouts[1], 0.1)["along"] == "rows" && solve(Self.layouts[1], 0.1, fixed)["along"] == nil)
    for options in [["decay": "0.5"], ["rule": "paper"], ["block": "3"], ["along": "columns"]] {
      #expect(throws: AttentionError.self, "\(options)") { try solve(Self.video, 0.3, options) }
    }
  }

  /// Random queries and keys: flat maps, for which no region stands out.
  @Test(arguments: layouts) func draftKeepsAboutWhatWasSolvedFor(_ layout: TokenLayout) throws {
    let run = context(layout, heads: 2)
    for target in Self.targets where layout.prefix == 0 || target > 0.2 {
      let (options, density) = try Self.methods.solve("draft", options: [:], density: target, context: run)
      #expect(density == nil)
      let found = try Self.plan("draft", options, run).density
      #expect(abs(found - target) <= 0.1 * target, "\(target): \(found) with \(options)")
    }
  }

  @Test func draftTakesRegionsThatSuitTheGrid() throws {
    func solve(_ layout: TokenLayout, _ options: [String: String] = [:], _ density: Double = 0.25) throws -> [String] {
      let solved = try Self.methods.solve("draft", options: options, density: density, context: context(layout)).options
      return [solved["pool"]!, solved["sparsity"]!]
    }
    #expect(try solve(TokenLayout(frames: 4, height: 32, width: 64))[0] == "8x16")
    #expect(try solve(Self.image)[0] == "4x8")
    // 52 = 16 + 16 + 16 + 4 columns.
    #expect(try solve(Self.video)[0] == "8x13")
    #expect(try solve(Self.video, ["pool": "8x16"])[0] == "8x16")
    // 8 regions: 16 of 64 pairs stay where 49 are cut, the largest of which stays too.
    #expect(try solve(Self.image, ["pool": "8x16"]) == ["8x16", "0.77"])
    #expect(try solve(Self.image, [:], 1)[1] == "0.0")
    #expect(throws: AttentionError.self) { try solve(Self.image, ["sparsity": "0.5"]) }
  }

  @Test func sparsitiesCutWhatTheyShould() {
    for entries in [1, 2, 7, 64, 100, 1024, 4096 * 4096] {
      for kept in Set([1, 2, 29, 71, 100, entries / 3, entries - 1, entries]) where (1...entries).contains(kept) {
        let sparsity = DraftAttention.sparsity(keeping: kept, of: entries), cut = Int(sparsity * Double(entries))
        #expect(cut == (kept == entries ? 0 : entries - kept + 1) && (0...1).contains(sparsity))
      }
    }
  }

  @Test func paroTakesTheNearestMasks() throws {
    let run = try PAROFixture.write(for: context(Self.image, heads: 2), densities: [0.5, 0.3], block: 32)
    defer { PAROFixture.remove(run) }
    let (options, density) = try Self.methods.solve("paro", options: [:], density: 0.31, context: run)
    #expect(try options["density"] == "0.3" && abs(#require(density) - 0.32) < 0.05)
    let error = #expect(throws: AttentionError.self) {
      try Self.methods.solve("paro", options: [:], density: 0.2, context: run)
    }
    #expect(
      error?.description.hasSuffix("no masks within 10 % of density 0.2, only of 0.5, 0.3 of visual pairs") == true)
    #expect(throws: AttentionError.self) {
      try Self.methods.solve("paro", options: ["density": "0.5"], density: 0.5, context: run)
    }
    // Text keeps all of its own: with 1024 visual tokens of 2048, masks of 0.3 make 0.825.
    let text = TokenLayout(height: 32, width: 32, suffix: 1024)
    let long = try PAROFixture.write(for: context(text, heads: 2), densities: [0.5, 0.3], block: 32)
    defer { PAROFixture.remove(long) }
    #expect(try Self.methods.solve("paro", options: [:], density: 0.82, context: long).options["density"] == "0.3")
  }

  @Test func impossibleWishesAreRefused() throws {
    let run = context(Self.image)
    for name in Self.methods.names {
      for density in [0, -0.1, 1.001, .nan, .infinity] {
        let error = #expect(throws: AttentionError.self) {
          try Self.methods.solve(name, options: [:], density: density, context: run)
        }
        #expect(error?.description.contains("\(name):density: expected a number above 0 and at most 1") == true)
      }
    }
    #expect(throws: AttentionError.unknownOption(method: "draft", option: "decay", known: ["pool", "sparsity"])) {
      try Self.methods.solve("draft", options: ["decay": "1"], density: 0.5, context: run)
    }
    #expect(throws: AttentionError.unknownMethod("drafts", known: Self.methods.names)) {
      try Self.methods.solve("drafts", options: [:], density: 0.5, context: run)
    }
    // Dense attention, and methods that say nothing of it.
    for (name, methods) in [("dense", Self.methods), ("toy-band", AttentionMethods.toys)] {
      let error = #expect(throws: AttentionError.self) {
        try methods.solve(name, options: [:], density: 0.5, context: run)
      }
      #expect(error?.description.hasPrefix("attention method '\(name)': ") == true)
    }
  }

  /// `method:density=x`, whether or not the method has such an option.
  @Test func targetsMayBeAmongTheOptions() throws {
    let run = context(Self.video)
    for name in ["sliding-tile", "radial", "draft", "random"] {
      let found = try Self.methods.solve(name, options: ["density": "0.3"], context: run)
      let same = try Self.methods.solve(name, options: [:], density: 0.3, context: run)
      #expect(found.options == same.options && found.target == 0.3 && found.density == same.density)
      #expect(throws: AttentionError.self) { try Self.methods.solve(name, options: ["density": "x"], context: run) }
    }
    let plain = try Self.methods.solve("radial", options: ["decay": "0.2"], context: run)
    #expect(plain.target == nil && abs(plain.density! - 0.339) < 0.01 && plain.options["decay"] == "0.2")
    let dense = try Self.methods.solve("dense", options: [:], context: run)
    #expect(dense.options.isEmpty && dense.target == nil && dense.density == 1)
  }
}
