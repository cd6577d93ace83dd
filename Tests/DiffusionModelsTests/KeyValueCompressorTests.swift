import Checkpoints
import Foundation
import Kernels
import SparseAttention
import Tensors
import TestSupport
import Testing

@testable import DiffusionModels

/// Compressed layers against PyTorch, against one another, and together with sparse methods.
@Suite struct KeyValueCompressorTests {
  static let cases = [
    "none", "conv", "conv-3", "average", "average-wide", "uniform", "uniform-wide", "nearest", "nearest-wide",
  ]
  let fixture: Fixture
  init() throws { fixture = try Fixture("pixart_compressed") }

  /// The choice of a case; `nil` is the checkpoint's own.
  private func choice(_ name: String) throws -> KeyValueCompression? {
    let spellings = try JSONDecoder().decode([String: String?].self, from: Data(fixture.metadata["cases"]!.utf8))
    #expect(Set(spellings.keys) == Set(Self.cases))
    return try spellings[name]!.map { try KeyValueCompression(parsing: $0) }
  }

  private func model(_ choice: KeyValueCompression?, store: WeightStore? = nil) throws -> PixArtTransformer2DModel {
    let store = store ?? fixture.store
    return try PixArtTransformer2DModel(
      fixture.configuration(PixArtConfiguration.self), weights: store.scope()["weights"], compression: choice)
  }

  private func predict(
    _ model: PixArtTransformer2DModel, _ grid: String, _ engine: any AttentionEngine
  ) throws -> Tensor {
    try model(
      fixture.tensor("input.\(grid).latents"), timestep: 437,
      conditioning: PixArtConditioning(text: fixture.tensor("input.\(grid).text")), call: DenoisingCall(step: 0, of: 1),
      attention: engine)
  }

  @Test(arguments: cases, ["8x12", "7x9"])
  func equalsPyTorch(_ name: String, _ grid: String) throws {
    // A store of its own: which tensors were read is part of the test.
    let own = try Fixture("pixart_compressed")
    let model = try model(choice(name), store: own.store)
    try own.store.verifyAllRead { !$0.hasPrefix("weights.") }
    let engine = PlannedAttention(precision: .float32)
    let result = try predict(model, grid, engine)
    #expect(relativeL2(result, fixture.tensor("output.\(grid).\(name).sample")) <= 1e-5)

    let sides = grid.split(separator: "x").map { Int($0)! }
    let layout = TokenLayout(height: sides[0], width: sides[1])
    let compressed = try model.configuration.compression().layers(for: choice(name))
    #expect(model.compressed == compressed)
    for record in engine.statistics.records {
      let keys = try compressed?.keyGrid(layer: record.layer, of: layout)?.count(of: layout) ?? layout.count
      #expect(record.keptPairs == 2 * Double(layout.count * keys))
    }
    let keys = try compressed?.keyCount(layerCount: 4, of: layout) ?? 4 * layout.count
    #expect(abs(engine.statistics.runDensity - Double(keys) / Double(4 * layout.count)) < 1e-12)
  }

  // MARK: Which layers

  @Test func layersOfAChoice() throws {
    let trained = try checkpoint(layers: 28, #"{"sampling": "conv", "scale_factor": 2, "kv_compress_layer": [15, 14]}"#)
    #expect(try trained.layers(for: nil) == CompressedLayers(mode: .conv, ratio: 2, layers: [14, 15]))
    #expect(try trained.layers(for: .off) == nil)
    #expect(try trained.layers(for: KeyValueCompression(.conv, layers: 15...15))?.layers == [15])
    #expect(
      try trained.layers(for: KeyValueCompression(.average))
        == CompressedLayers(mode: .average, ratio: 2, layers: Array(14...27)))
    let turnedOff = try checkpoint(
      layers: 28, #"{"sampling": "conv", "scale_factor": 2, "kv_compress_layer": [14]}"#, isActive: false)
    #expect(try turnedOff.layers(for: nil) == nil)
    #expect(try turnedOff.layers(for: KeyValueCompression(.conv))?.layers == [14])
    let named = try checkpoint(layers: 4, #"{"sampling": "ave", "scale_factor": 3, "kv_compress_layer": [0]}"#)
    #expect(try named.layers(for: nil) == CompressedLayers(mode: .nearest, ratio: 3, layers: [0]))
    for silent in [nil, "{}", #"{"sampling": null, "scale_factor": 1, "kv_compress_layer": []}"#] {
      #expect(try checkpoint(layers: 5, silent).layers(for: nil) == nil)
    }
    #expect(try checkpoint(layers: 5, nil).layers(for: KeyValueCompression(.uniform))?.layers == [2, 3, 4])
  }

  @Test func wrongChoices() throws {
    let trained = try checkpoint(layers: 28, #"{"sampling": "conv", "scale_factor": 2, "kv_compress_layer": [14, 15]}"#)
    let plain = try checkpoint(layers: 28, nil)
    for (checkpoint, text, part) in [
      (plain, "average:layers=4-40", "layers 4-40: this model has layers 0-27"),
      (trained, "conv:layers=27-28", "layers 27-28: this model has layers 0-27"),
      (plain, "conv", "config.json has no kv_compress_config"), (trained, "conv:ratio=3", "ratio 2, not 3"),
      (trained, "conv:layers=14-16", "no weights for it in layer 16; layers with weights: 14, 15"),
    ] {
      let error = #expect(throws: KeyValueCompressionError.self) {
        try checkpoint.layers(for: KeyValueCompression(parsing: text))
      }
      #expect(error?.description.contains(part) == true, "\(error?.description ?? "")")
    }
    for config in [
      #"{"sampling": "uniform_every", "scale_factor": 2, "kv_compress_layer": [1]}"#,
      #"{"sampling": "conv", "scale_factor": 9, "kv_compress_layer": [1]}"#,
      #"{"sampling": "conv", "scale_factor": 0, "kv_compress_layer": [1]}"#,
      #"{"sampling": "conv", "scale_factor": 2, "kv_compress_layer": [28]}"#,
    ] { #expect(throws: ModelError.self) { try checkpoint(layers: 28, config) } }
  }

  private func checkpoint(layers: Int, _ config: String?, isActive: Bool? = nil) throws -> CheckpointCompression {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let configuration = try config.map {
      try decoder.decode(KeyValueCompressionConfiguration.self, from: Data($0.utf8))
    }
    return try CheckpointCompression(model: "Toy", layerCount: layers, configuration: configuration, isActive: isActive)
  }

  /// Weights that the configuration does not speak of are no accident to pass over.
  @Test func storedWeightsMustBeSpokenOf() throws {
    var configuration = try fixture.configuration(PixArtConfiguration.self)
    configuration.kvCompressConfig?.kvCompressLayer = [1]
    func load(_ choice: KeyValueCompression?) throws {
      let store = try Fixture("pixart_compressed").store
      _ = try PixArtTransformer2DModel(configuration, weights: store.scope()["weights"], compression: choice)
      try store.verifyAllRead { !$0.hasPrefix("weights.") }
    }
    let error = #expect(throws: ModelError.self) { try load(nil) }
    #expect(error?.description.contains("silent on layer 3") == true)
    try load(.off)
    try load(KeyValueCompression(.conv))
    configuration.kvCompress = false
    try load(nil)
    // The other way round: layers without the weights that the configuration promises.
    configuration.kvCompress = true
    configuration.kvCompressConfig?.kvCompressLayer = [1, 2, 3]
    let missing = #expect(throws: CheckpointError.self) { try load(nil) }
    #expect(missing?.description.contains("transformer_blocks.2.attn1.sr.weight") == true)
  }

  // MARK: What a compressor does

  private func compressor(_ mode: KeyValueCompression.Mode, _ ratio: Int, size: Int = 24) throws -> KeyValueCompressor {
    try KeyValueCompressor(fixture.weights()["transformer_blocks"][1]["attn"], size, mode: mode, ratio: ratio)
  }

  /// Upstream starts its convolution at the mean.
  @Test(arguments: 2...8)
  func convolutionStartsAtTheMean(ratio: Int) throws {
    let layout = TokenLayout(frames: 2, height: 2 * ratio, width: 3 * ratio)
    let x = caseTensor([2, layout.count, 5], seed: 1)
    let start = areaSums(
      x.reshaped(4, layout.height, layout.width, 5),
      weight: Tensor([ratio, ratio, 5], repeating: 1 / Float(ratio * ratio)), bias: Tensor(zeros: [5]))
    let mean = try compressor(.average, ratio)(x, of: layout)
    #expect(mean.shape == [2, 12, 5])
    #expect(relativeL2(start.reshaped(mean.shape), mean) < 1e-6)
  }

  @Test(arguments: [KeyValueCompression.Mode.conv, .average, .uniform, .nearest])
  func oneRowForEachKey(_ mode: KeyValueCompression.Mode) throws {
    let compressor = try compressor(mode, 2)
    for layout in [
      TokenLayout(height: 4, width: 6), TokenLayout(height: 7, width: 9), TokenLayout(height: 2, width: 3),
      TokenLayout(frames: 3, height: 5, width: 4, prefix: 2, suffix: 3),
    ] {
      let x = caseTensor([2, layout.count, 24], seed: 2), grid = try compressor.keyGrid(of: layout)
      let short = try compressor(x, of: layout)
      #expect(short.shape == [2, grid.count(of: layout), 24])
      // Text stays as it is; picked tokens are those that the keys stand for.
      let tokens = grid.representatives(of: layout).map(Int.init)
      for (key, token) in tokens.enumerated()
      where mode == .uniform || mode == .nearest || token < layout.prefix || token >= layout.count - layout.suffix {
        #expect(short.narrowed(axis: 1, key..<key + 1) == x.narrowed(axis: 1, token..<token + 1))
      }
    }
  }

  @Test func gridsWithoutAnAreaAreRefused() throws {
    let thin = TokenLayout(height: 1, width: 9)
    for mode in [KeyValueCompression.Mode.conv, .nearest] {
      let error = #expect(throws: KeyValueCompressionError.self) { try compressor(mode, 2).keyGrid(of: thin) }
      #expect(error?.description.contains("a grid of 1x9 tokens has no whole area of 2x2") == true)
    }
    for mode in [KeyValueCompression.Mode.average, .uniform] {
      #expect(try compressor(mode, 2).keyGrid(of: thin).count(of: thin) == 5)
    }
  }

  // MARK: Together with sparse methods

  /// A method whose plan the test has made by hand.
  struct HandMade: GeometricPlanner {
    static let information = MethodInformation(name: "hand-made", summary: "", source: "", options: [])
    let make: @Sendable (AttentionSite) -> BlockPlan
    init(_ make: @escaping @Sendable (AttentionSite) -> BlockPlan) { self.make = make }
    init(_ options: inout OptionReader, context: MethodContext) throws {
      preconditionFailure("made by hand")
    }
    func planKey(_ site: AttentionSite) -> AttentionSite { site }
    func plan(_ site: AttentionSite) throws -> BlockPlan { make(site) }
  }

  /// The same plans through the oracle, shortened here and not by the engine.
  final class Oracle: AttentionEngine {
    let method: HandMade
    init(_ method: HandMade) { self.method = method }
    func callAsFunction(_ q: Tensor, _ k: Tensor, _ v: Tensor, at site: AttentionSite) throws -> Tensor {
      let full = method.make(site)
      let plan = site.keyGrid.map { full.shortened(to: $0, of: site.layout) } ?? full
      #expect(site.keyGrid != nil || k.shape[2] == site.layout.count)
      return try ReferenceExecutor().attend(q, k, v, plan: plan, scale: 1 / Float(q.shape[3]).squareRoot())
    }
  }

  static let methods: [String: HandMade] = [
    // Tiles, each reading itself and the next.
    "tiles": HandMade { site in
      let grid = TileGrid(site.layout, tile: (1, 4, 4))
      var pattern = BlockPattern(queryStarts: grid.starts, keyStarts: grid.starts)
      for block in 0..<grid.blocks {
        pattern[block, block] = true
        pattern[block, (block + 1) % grid.blocks] = true
      }
      return BlockPlan(order: grid.order, pattern: pattern, heads: site.heads)
    },
    // A band along another order of the axes for each head, blocks of other lengths.
    "bands": HandMade { site in
      let orders = [[0, 1, 2], [0, 2, 1]].map { TokenOrder(site.layout, axes: .init($0)) }
      let patterns = [5, 16].map { length in
        let starts = BlockPattern.uniformStarts(site.layout.count, block: length)
        var pattern = BlockPattern(queryStarts: starts, keyStarts: starts)
        for row in 0..<pattern.rows { pattern.keep(row: row, columns: max(0, row - 1)..<min(row + 2, pattern.columns)) }
        return pattern
      }
      return BlockPlan(
        orders: orders, patterns: patterns,
        heads: (0..<site.heads).map { BlockPlan.Head(order: $0 % 2, pattern: $0 % 2) })
    },
    // Single tokens, so that most queries lose every key they had.
    "tokens": HandMade { site in
      let starts = BlockPattern.uniformStarts(site.layout.count, block: 1)
      var pattern = BlockPattern(queryStarts: starts, keyStarts: starts)
      for token in 0..<site.layout.count { pattern[token, (token * 7 + site.layer) % site.layout.count] = true }
      return BlockPlan(order: .model(site.layout.count), pattern: pattern, heads: site.heads)
    },
  ]

  @Test(arguments: ["conv", "average-wide", "uniform", "nearest"], ["tiles", "bands", "tokens"])
  func composesWithPlans(_ name: String, _ plans: String) throws {
    let model = try model(choice(name)), method = Self.methods[plans]!
    for grid in ["8x12", "7x9"] {
      let engine = PlannedAttention(method, executor: BlockSparseExecutor(.float32), stepCount: 1)
      let result = try predict(model, grid, engine)
      #expect(relativeL2(result, try predict(model, grid, Oracle(method))) <= 1e-5)
      #expect(relativeL2(result, fixture.tensor("output.\(grid).\(name).sample")) > 1e-2)
      #expect(engine.statistics.records.allSatisfy(\.isSparse) && engine.statistics.runDensity < 0.5)
    }
  }
}
