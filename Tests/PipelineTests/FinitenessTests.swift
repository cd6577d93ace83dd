import Checkpoints
import Foundation
import Tensors
import Testing

@testable import DiffusionPipelines

/// Numbers that are none are found where they begin.
@Suite struct FinitenessTests {
  /// A copy of the toy DiT with values of one tensor of a component replaced, to the end of the test.
  private func denoise(_ component: String, _ tensor: String, _ value: Float) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("finite-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    try FileManager.default.copyItem(
      at: PipelineParityTests.folder.appendingPathComponent("toy-dit"), to: folder)
    let file = folder.appendingPathComponent(component).appendingPathComponent("diffusion_pytorch_model.safetensors")
    let stored = try #require(try SafetensorsFile(file).tensors[tensor])
    try #require(stored.type == .float32)
    var bytes = try Data(contentsOf: file)
    let word = withUnsafeBytes(of: value.bitPattern) { Data($0) }
    for start in stride(from: stored.range.lowerBound, to: stored.range.upperBound, by: 4) {
      bytes.replaceSubrange(start..<start + 4, with: word)
    }
    try bytes.write(to: file)
    var request = GenerationRequest(width: 16, height: 16, steps: 2, guidanceScale: 1, seed: 5, maxSequenceLength: 16)
    request.classLabel = .init(id: 1, name: nil)
    let generator = try makeGenerator(PipelineFolder(path: folder.path), options: GeneratorOptions(threads: 1))
    _ = try generator.decoded(generator.denoise(request) { _ in true }) { _ in true }
  }

  @Test(arguments: [Float.nan, -.infinity]) func weightsAreNamed(value: Float) throws {
    for (component, name) in [
      ("transformer", "transformer_blocks.1.attn1.to_q.weight"), ("vae", "decoder.conv_in.weight"),
    ] {
      let error = #expect(throws: CheckpointError.self) { try denoise(component, name, value) }
      guard case .notFinite(name, _) = error else {
        Issue.record("\(component): \(error.map { "\($0)" } ?? "nothing")")
        continue
      }
    }
  }

  /// Weights of text encoders are read while they are used.
  @Test(arguments: [Float.nan, .infinity]) func weightsOfTextAreNamed(value: Float) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("finite-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    try FileManager.default.copyItem(
      at: PipelineParityTests.folder.appendingPathComponent("toy-pixart-sigma"), to: folder)
    let name = "encoder.block.1.layer.1.DenseReluDense.wi_1.weight"
    let file = folder.appendingPathComponent("text_encoder/model.safetensors")
    let stored = try #require(try SafetensorsFile(file).tensors[name])
    try #require(stored.type == .float32)
    var bytes = try Data(contentsOf: file)
    let end = stored.range.upperBound
    bytes.replaceSubrange(end - 4..<end, with: withUnsafeBytes(of: value.bitPattern) { Data($0) })
    try bytes.write(to: file)
    var request = GenerationRequest(
      width: 16, height: 16, steps: 1, guidanceScale: 1, seed: 5, maxSequenceLength: 16)
    request.prompt = "a red ball"
    let generator = try makeGenerator(PipelineFolder(path: folder.path), options: GeneratorOptions(threads: 1))
    let error = #expect(throws: CheckpointError.self) { try generator.denoise(request) { _ in true } }
    guard case .notFinite(name, _) = error else {
      Issue.record("\(error.map { "\($0)" } ?? "nothing")")
      return
    }
  }

  @Test func overflowIsNamedByLayerAndStep() throws {
    #expect(throws: PipelineError.notFinite(component: "transformer", part: "layer 1", step: 1)) {
      try denoise("transformer", "transformer_blocks.1.ff.net.2.weight", 3e38)
    }
  }

  /// Decoders are looked at part by part only where their result is no picture.
  @Test(arguments: [
    ("toy-dit", "decoder.up_blocks.0.resnets.0.conv1.weight", "decoder.up_blocks.0"),
    ("toy-dit", "decoder.conv_out.weight", "decoder.conv_out"),
    ("toy-wan", "decoder.mid_block.resnets.1.conv2.weight", "decoder.mid_block"),
    ("toy-wan", "decoder.conv_out.weight", "decoder.conv_out"),
  ]) func overflowInDecodersIsNamedByPart(pipeline: String, tensor: String, part: String) throws {
    let source = PipelineParityTests.folder.appendingPathComponent(pipeline)
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("finite-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    try FileManager.default.copyItem(at: source, to: folder)
    let file = folder.appendingPathComponent("vae/diffusion_pytorch_model.safetensors")
    let stored = try #require(try SafetensorsFile(file).tensors[tensor])
    var bytes = try Data(contentsOf: file)
    for start in stride(from: stored.range.lowerBound, to: stored.range.upperBound, by: 4) {
      bytes.replaceSubrange(start..<start + 4, with: withUnsafeBytes(of: Float(3e38).bitPattern) { Data($0) })
    }
    try bytes.write(to: file)
    let decoder = try LatentDecoder(PipelineFolder(path: folder.path), precision: .float32)
    let isClip = pipeline == "toy-wan"
    var generator = TorchRandom(seed: 1)
    let latents = generator.normal(isClip ? [1, 3, 2, 4, 4] : [1, 4, 4, 4])
    for tiled in [false, true] {
      #expect(throws: PipelineError.notFinite(component: "vae", part: part)) {
        if isClip {
          try decoder.clip(latents, tiled: tiled) { _ in }
        } else {
          _ = try decoder(latents, tiled: tiled)
        }
      }
    }
  }
}
