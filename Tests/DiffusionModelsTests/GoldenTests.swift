@testable import DiffusionModels
import SparseAttention
import Tensors
import TestSupport
import Testing

/// Every model against the reference implementation at toy size: relative L2 at most 1e-5.
let bound = 1e-5

@Suite struct TransformerGoldenTests {
  @Test(arguments: [("square", 0), ("square", 1), ("wide", 0), ("tall", 0)])
  func pixArtSigma(_ name: String, _ sample: Int) throws { try checkPixArt("pixart_sigma", name, sample) }

  @Test(arguments: [0, 1])
  func pixArtAlpha(_ sample: Int) throws { try checkPixArt("pixart_alpha", "batch", sample) }

  private func checkPixArt(_ file: String, _ name: String, _ sample: Int) throws {
    let fixture = try Fixture(file)
    let model = try PixArtTransformer2DModel(
      fixture.configuration(PixArtConfiguration.self), weights: fixture.weights())
    try fixture.store.verifyAllRead { !$0.hasPrefix("weights.") }
    func input(_ key: String) -> Tensor { fixture.tensor("input.\(name).\(key)").slice(sample..<sample + 1) }
    let mask = fixture.integers("input.\(name).encoder_attention_mask")
    let length = input("encoder_hidden_states").shape[1]
    let bias = Tensor([1, length], mask[sample * length..<(sample + 1) * length].map { $0 == 1 ? 0 : -10000 })
    var conditioning = PixArtConditioning(text: input("encoder_hidden_states"), keyBias: bias)
    if fixture.names.contains("input.\(name).resolution") {
      let size = input("resolution").elements
      conditioning.resolution = (size[0], size[1])
    }
    let time = input("timestep").elements[0]
    let result = try model(
      input("latents"), timestep: time, conditioning: conditioning, call: DenoisingCall(step: 0, of: 1),
      attention: PlannedAttention(precision: .float32))
    let expected = fixture.tensor("output.\(name).sample").slice(sample..<sample + 1)
    #expect(relativeL2(result, expected) <= bound)
    // Leaving padding out altogether is the same as masking it.
    let real = mask[sample * length..<(sample + 1) * length].reduce(0, +)
    conditioning.text = conditioning.text.narrowed(axis: 1, 0..<real)
    conditioning.keyBias = nil
    let trimmed = try model(
      input("latents"), timestep: time, conditioning: conditioning, call: DenoisingCall(step: 0, of: 1),
      attention: PlannedAttention(precision: .float32))
    #expect(relativeL2(trimmed, expected) <= bound)
  }

  @Test(arguments: [("trained", 0), ("trained", 1)])
  func diT(_ name: String, _ sample: Int) throws {
    let fixture = try Fixture("dit")
    let model = try DiTTransformer2DModel(fixture.configuration(DiTConfiguration.self), weights: fixture.weights())
    try fixture.store.verifyAllRead { !$0.hasPrefix("weights.") }
    let result = try model(
      fixture.tensor("input.\(name).latents").slice(sample..<sample + 1),
      timestep: fixture.tensor("input.\(name).timestep").elements[sample],
      conditioning: [fixture.integers("input.\(name).class_labels")[sample]], call: DenoisingCall(step: 0, of: 1),
      attention: PlannedAttention(precision: .float32))
    #expect(relativeL2(result, fixture.tensor("output.\(name).sample").slice(sample..<sample + 1)) <= bound)
  }

  @Test(arguments: ["clip", "image", "odd"])
  func wan(_ name: String) throws {
    let fixture = try Fixture("wan")
    let model = try WanTransformer3DModel(fixture.configuration(WanConfiguration.self), weights: fixture.weights())
    try fixture.store.verifyAllRead { !$0.hasPrefix("weights.") }
    let engine = PlannedAttention(precision: .float32)
    let result = try model(
      fixture.tensor("input.\(name).latents"), timestep: fixture.tensor("input.\(name).timestep").elements[0],
      conditioning: fixture.tensor("input.\(name).encoder_hidden_states"), call: DenoisingCall(step: 0, of: 1),
      attention: engine)
    #expect(relativeL2(result, fixture.tensor("output.\(name).sample")) <= bound)
    if name == "clip" { #expect(relativeL2(result, fixture.tensor("output.clip.expanded")) <= bound) }
  }

  /// A prompt's padding is computed as one row that counts for all: the same as row by row, where each is told from the
  /// others by less than a number's last bit.
  @Test func paddedTextCountsRowByRow() throws {
    let fixture = try Fixture("wan")
    let model = try WanTransformer3DModel(fixture.configuration(WanConfiguration.self), weights: fixture.weights())
    let text = fixture.tensor("input.clip.encoder_hidden_states"), latents = fixture.tensor("input.clip.latents")
    let width = text.shape[2], length = 300
    func predicted(_ padding: (Int) -> Float) throws -> Tensor {
      var values: [Float] = []
      for sample in 0..<text.shape[0] {
        let real = text.slice(sample..<sample + 1).narrowed(axis: 1, 0..<3 + sample).elements
        values +=
          real + (real.count / width..<length).flatMap { [padding($0)] + [Float](repeating: 0, count: width - 1) }
      }
      return try model(
        latents, timestep: 500, conditioning: Tensor([text.shape[0], length, width], values),
        call: DenoisingCall(step: 0, of: 1), attention: PlannedAttention(precision: .float32))
    }
    let asOne = try predicted { _ in 0 }, each = try predicted { Float($0) * 1e-30 }
    #expect(asOne != each && relativeL2(asOne, each) < 1e-6)
    #expect(TextRows(Tensor(zeros: [1, length, width])) { $0 }.counts == [length])
    #expect(TextRows(text.narrowed(axis: 1, 0..<3)) { $0 }.counts == nil)
  }

  @Test func batchesEqualSingles() throws {
    let fixture = try Fixture("dit")
    let model = try DiTTransformer2DModel(fixture.configuration(DiTConfiguration.self), weights: fixture.weights())
    let latents = fixture.tensor("input.larger.latents"), labels = fixture.integers("input.larger.class_labels")
    let engine = PlannedAttention(precision: .float32)
    let both = try model(
      latents, timestep: 321, conditioning: labels, call: DenoisingCall(step: 0, of: 1), attention: engine)
    for sample in 0..<2 {
      let single = try model(
        latents.slice(sample..<sample + 1), timestep: 321, conditioning: [labels[sample]],
        call: DenoisingCall(step: 0, of: 1), attention: engine)
      #expect(relativeL2(both.slice(sample..<sample + 1), single) < 1e-6)
    }
    #expect(engine.statistics.records.count == 6 && engine.statistics.runDensity == 1)
  }

  @Test func bfloat16IsNear() throws {
    let fixture = try Fixture("pixart_sigma")
    let model = try PixArtTransformer2DModel(
      fixture.configuration(PixArtConfiguration.self), weights: fixture.weights(.bfloat16))
    let text = fixture.tensor("input.wide.encoder_hidden_states")
    let mask = fixture.integers("input.wide.encoder_attention_mask").reduce(0, +)
    let result = try model(
      fixture.tensor("input.wide.latents"), timestep: fixture.tensor("input.wide.timestep").elements[0],
      conditioning: PixArtConditioning(text: text.narrowed(axis: 1, 0..<mask)), call: DenoisingCall(step: 0, of: 1),
      attention: PlannedAttention(precision: .float32))
    let error = relativeL2(result, fixture.tensor("output.wide.sample"))
    #expect(error > 1e-5 && error < 3e-2)
  }
}

@Suite struct TextEncoderGoldenTests {
  @Test(arguments: ["t5_encoder", "t5_encoder_relu", "umt5_encoder"])
  func t5(_ file: String) throws {
    let fixture = try Fixture(file)
    let encoder = try T5EncoderModel(
      fixture.configuration(T5Configuration.self), family: file == "umt5_encoder" ? .umt5 : .t5,
      weights: fixture.weights())
    let ids = fixture.integers("input.padded.input_ids"), mask = fixture.integers("input.padded.attention_mask")
    let sequences = (0..<2).map { row in (0..<20).filter { mask[row * 20 + $0] == 1 }.map { ids[row * 20 + $0] } }
    let results = try encoder(sequences + [fixture.integers("input.long.input_ids")])
    try fixture.store.verifyAllRead { !$0.hasPrefix("weights.") }
    let expected = fixture.tensor("output.padded.last_hidden_state")
    for row in 0..<2 {
      let real = expected.slice(row..<row + 1).narrowed(axis: 1, 0..<sequences[row].count)
      #expect(relativeL2(results[row], real) <= bound)
    }
    #expect(relativeL2(results[2], fixture.tensor("output.long.last_hidden_state")) <= bound)
  }
}

@Suite struct VideoAutoencoderGoldenTests {
  private static let files = ["autoencoder_kl_wan", "autoencoder_kl_wan_residual"]

  private func load(_ file: String) throws -> (Fixture, AutoencoderKLWan) {
    let fixture = try Fixture(file)
    return (
      fixture,
      try AutoencoderKLWan(fixture.configuration(AutoencoderKLWanConfiguration.self), weights: fixture.weights())
    )
  }

  @Test(arguments: files)
  func codesClips(_ file: String) throws {
    let (fixture, model) = try load(file)
    let latents = fixture.tensor("input.decode.latents"), expected = fixture.tensor("output.decode.sample")
    let decoder = try model.decoder()
    let decoded = decoder(latents)
    #expect(decoded.shape[2] == 17 && relativeL2(decoded, expected) <= bound)
    // In chunks of any length, and at once: the same.
    for frames in [2, 5] { #expect(relativeL2(decoder(latents, framesPerChunk: frames), decoded) <= 1e-6) }
    var counts: [Int] = []
    try decoder.decode(latents) { counts.append($0.shape[0]) }
    #expect(counts == [1, 4, 4, 4, 4])
    let (mean, logVariance) = try model.encoder()(fixture.tensor("input.encode.sample"))
    #expect(relativeL2(mean, fixture.tensor("output.encode.mean")) <= bound)
    #expect(relativeL2(logVariance, fixture.tensor("output.encode.logvar")) <= bound)
    try fixture.store.verifyAllRead { !$0.hasPrefix("weights.") }
  }

  @Test(arguments: files)
  func tiles(_ file: String) throws {
    let (fixture, model) = try load(file)
    let decoded = try model.decoder()(
      fixture.tensor("input.decode.latents"), tiles: TileGeometry(latentSize: 4, pixelSize: 16))
    #expect(relativeL2(decoded, fixture.tensor("output.decode.tiled")) <= bound)
  }

  @Test func latentsAreBroughtToTheirOwnScale() throws {
    let (_, model) = try load("autoencoder_kl_wan")
    let latents = Tensor([1, 3, 1, 1, 2], [1, 2, 1, 2, 1, 2])
    let scaled = try model.decoder().unnormalized(latents).elements
    for (value, expected) in zip(scaled, [1.6, 3.1, 0.5, 1.2, 1.4, 2.5]) {
      #expect(abs(value - Float(expected)) < 1e-6)
    }
  }
}

@Suite struct AutoencoderGoldenTests {
  private func load(_ file: String) throws -> (Fixture, AutoencoderKL) {
    let fixture = try Fixture(file)
    return (
      fixture, try AutoencoderKL(fixture.configuration(AutoencoderKLConfiguration.self), weights: fixture.weights())
    )
  }

  @Test(arguments: ["autoencoder_kl", "autoencoder_kl_plain"])
  func autoencoderKL(_ file: String) throws {
    let (fixture, model) = try load(file)
    let decoded = try model.decoder()(fixture.tensor("input.decode.latents"))
    #expect(relativeL2(decoded, fixture.tensor("output.decode.sample")) <= bound)
    let moments = try model.encoder()(fixture.tensor("input.encode.sample"))
    #expect(relativeL2(moments.mean, fixture.tensor("output.encode.mean")) <= bound)
    #expect(relativeL2(moments.logVariance, fixture.tensor("output.encode.logvar")) <= bound)
    try fixture.store.verifyAllRead { !$0.hasPrefix("weights.") }
  }

  @Test func tiledCoding() throws {
    let (fixture, model) = try load("autoencoder_kl_tiled")
    let latents = fixture.tensor("input.decode.latents"), decoder = try model.decoder()
    #expect(relativeL2(decoder(latents), fixture.tensor("output.decode.plain")) <= bound)
    let tiles = TileGeometry(latentSize: 8, pixelSize: 16)
    #expect(relativeL2(decoder.tiled(latents, tiles), fixture.tensor("output.decode.tiled")) <= bound)
    let images = fixture.tensor("input.encode.sample"), encoder = try model.encoder()
    #expect(relativeL2(encoder(images).mean, fixture.tensor("output.encode.plain")) <= bound)
    #expect(relativeL2(encoder.tiled(images, tiles).mean, fixture.tensor("output.encode.tiled")) <= bound)
  }

  @Test func autoencoderTiny() throws {
    let fixture = try Fixture("autoencoder_tiny")
    let model = try AutoencoderTiny(
      fixture.configuration(AutoencoderTinyConfiguration.self), weights: fixture.weights())
    let decoded = try model.decoder()(fixture.tensor("input.decode.latents"))
    #expect(relativeL2(decoded, fixture.tensor("output.decode.sample")) <= bound)
    let encoded = try model.encoder()(fixture.tensor("input.encode.sample"))
    #expect(relativeL2(encoded, fixture.tensor("output.encode.latents")) <= bound)
    try fixture.store.verifyAllRead { !$0.hasPrefix("weights.") }
  }
}
