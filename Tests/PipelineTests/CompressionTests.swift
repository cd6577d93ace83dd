import DiffusionModels
import DiffusionPipelines
import Foundation
import Tensors
import TestSupport
import Testing

/// Key/value compression through a whole pipeline: toy PixArt, two layers, 3 x 6 tokens.
@Suite(.serialized) struct CompressionTests {
  private static let sigma = PipelineParityTests.folder.appendingPathComponent("toy-pixart-sigma").path

  private func request(_ text: String?) throws -> GenerationRequest {
    var request = GenerationRequest(
      width: 96, height: 48, steps: 2, guidanceScale: 3, seed: 1, maxSequenceLength: 24)
    request.prompt = "a red cat"
    request.cleanCaption = false
    request.keyValueCompression = try text.map { try KeyValueCompression(parsing: $0) }
    return request
  }

  private func generate(_ path: String, _ request: GenerationRequest) throws -> GenerationResult {
    let generator = try makeGenerator(PipelineFolder(path: path), options: GeneratorOptions(threads: 2))
    return try generator.generate(request) { _ in true }
  }

  @Test func runsAndRecords() throws {
    let generator = try makeGenerator(PipelineFolder(path: Self.sigma), options: GeneratorOptions(threads: 2))
    generator.keepsModels = true
    func run(_ text: String?) throws -> GenerationResult { try generator.generate(request(text)) { _ in true } }
    let plain = try run(nil)
    #expect(plain.record.attention.kvCompression == nil && plain.record.request.kvCompression == nil)
    #expect(plain.record.attention.runDensity == 1)

    // One layer of two, 2 x 3 keys for 3 x 6 tokens.
    let short = try run("average")
    #expect(short.latents.isFinite && relativeL2(short.latents, plain.latents) > 1e-3)
    #expect(short.record.attention.kvCompression == CompressedLayers(mode: .average, ratio: 2, layers: [1]))
    #expect(abs(short.record.attention.runDensity! - (1 + 6.0 / 18) / 2) < 1e-12)

    // The kept model is loaded anew when the choice changes, and the choice survives the record.
    #expect(try run("none").latents == plain.latents)
    let both = try run("nearest:ratio=3,layers=0-1")
    #expect(abs(both.record.attention.runDensity! - 2.0 / 18) < 1e-12)
    let json = try both.record.json()
    #expect(json.contains(#""kv_compression":"nearest:ratio=3,layers=0-1""#))
    #expect(json.contains(#""kv_compression":{"layers":[0,1],"mode":"nearest","ratio":3}"#))
    #expect(try RunRecord(json: json, path: "record") == both.record)
    // Records of before have neither field.
    #expect(try !plain.record.json().contains("kv_compression"))
    #expect(try RunRecord(json: plain.record.json(), path: "record") == plain.record)
  }

  @Test func theCheckpointsOwnChoice() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.copyItem(atPath: Self.sigma, toPath: folder.path)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("transformer/config.json")
    var config = try #require(JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
    config["kv_compress_config"] =
      ["sampling": "uniform", "scale_factor": 2, "kv_compress_layer": [0]] as [String: Any]
    try JSONSerialization.data(withJSONObject: config).write(to: file)

    let own = try generate(folder.path, request(nil))
    #expect(own.record.attention.kvCompression == CompressedLayers(mode: .uniform, ratio: 2, layers: [0]))
    #expect(try own.latents == generate(Self.sigma, request("uniform:layers=0")).latents)
    #expect(try generate(folder.path, request("none")).latents == generate(Self.sigma, request(nil)).latents)
  }

  @Test func refusals() throws {
    for (text, part) in [
      ("average:layers=1-2", "layers 1-2: this model has layers 0-1"), ("conv", "not trained with it"),
      ("nearest:ratio=4", "a grid of 3x6 tokens has no whole area of 4x4"),
    ] {
      let error = #expect(throws: KeyValueCompressionError.self) { try generate(Self.sigma, request(text)) }
      #expect(error?.description.contains(part) == true, "\(error?.description ?? "")")
    }
    var dit = GenerationRequest(width: 16, height: 16, steps: 1, guidanceScale: 1, seed: 0, maxSequenceLength: 1)
    dit.classLabel = ClassLabel(id: 1)
    let path = PipelineParityTests.folder.appendingPathComponent("toy-dit").path
    dit.keyValueCompression = KeyValueCompression(.average)
    #expect(throws: KeyValueCompressionError.unsupportedModel) { try generate(path, dit) }
    dit.keyValueCompression = .off
    #expect(try generate(path, dit).record.attention.kvCompression == nil)
  }

  @Test func fewerKeysAreFewerOperations() throws {
    let folder = try PipelineFolder(path: Self.sigma)
    let geometry = try ModelGeometry(folder), weights = try WeightSizes(folder)
    func flops(_ text: String?) throws -> Double {
      try MemoryEstimate(request(text), geometry: geometry, weights: weights).phases.first { $0.name == "denoise" }!
        .flops
    }
    // Two products of 18 queries with 12 keys fewer, 24 wide; two steps, two predictions.
    #expect(try flops(nil) - flops("average") == 2 * 2 * 4 * 18 * 12 * 24)
    #expect(try flops("none") == flops(nil))
  }
}
