import DiffusionPipelines
import Foundation
import Tensors
import TestSupport
import Testing
import TolerantJSON

/// Whole pipelines against diffusers at toy size, float32: final latents within 1e-3 relative L2 after 20 steps, pictures
/// within 2/255 everywhere, noise equal bit for bit.
@Suite(.serialized) struct PipelineParityTests {
  struct Call: Decodable {
    var prompt: OneOrMany?, negativePrompt: String?, classLabels: [Int]?
    var guidanceScale: Double, numInferenceSteps: Int, seed: UInt64
    var height: Int?, width: Int?, maxSequenceLength: Int?, useResolutionBinning: Bool?
  }
  enum OneOrMany: Decodable {
    case one(String), many([String])
    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let text = try? container.decode(String.self) {
        self = .one(text)
      } else {
        self = .many(try container.decode([String].self))
      }
    }
    var all: [String] {
      switch self {
      case .one(let text): [text]
      case .many(let texts): texts
      }
    }
  }

  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures")

  @Test(arguments: [
    "sigma-square", "sigma-wide", "sigma-tall", "sigma-long-prompt", "sigma-two-prompts", "alpha-wide",
    "alpha-unguided", "dit-guided", "dit-unguided",
  ])
  func equalsDiffusers(_ name: String) throws {
    let fixture = try Fixture("expected/\(name)")
    let call = try fixture.configuration(Call.self, key: "call")
    let generator = try makeGenerator(
      PipelineFolder(path: Self.folder.appendingPathComponent(fixture.metadata["pipeline"]!).path),
      options: GeneratorOptions(threads: 2))
    let noise = fixture.tensor("input.noise"), latents = fixture.tensor("output.latents")
    let shape = fixture.tensor("output.decoded").shape
    let pixels = fixture.integers("output.image")
    for sample in 0..<noise.shape[0] {
      var request = GenerationRequest(
        width: shape[3], height: shape[2], steps: call.numInferenceSteps, guidanceScale: call.guidanceScale,
        seed: call.seed, maxSequenceLength: call.maxSequenceLength ?? 120)
      request.prompt = call.prompt?.all[sample] ?? ""
      request.negativePrompt = call.negativePrompt ?? ""
      request.classLabel = call.classLabels.map { ClassLabel(id: $0[sample]) }
      request.cleanCaption = false
      let own = noise.slice(sample..<sample + 1)
      if noise.shape[0] == 1 {
        var random = TorchRandom(seed: call.seed)
        #expect(random.normal(noise.shape) == noise, "noise of \(name)")
      }
      let result = try generator.decoded(generator.denoise(request, noise: own) { _ in true }) { _ in true }
      let error = relativeL2(result.latents, latents.slice(sample..<sample + 1))
      #expect(error <= 1e-3, "\(name) latents \(error)")
      let count = result.image.pixels.count
      let worst = zip(result.image.pixels, pixels[sample * count..<(sample + 1) * count]).map { abs(Int($0) - $1) }
        .max()!
      #expect(worst <= 2, "\(name) pixels \(worst)")
    }
  }
}

extension PipelineParityTests {
  /// The published size is drawn, then brought back to the size asked for.
  @Test func binnedSize() throws {
    let fixture = try Fixture("expected/sigma-binned")
    let call = try fixture.configuration(Call.self, key: "call")
    let generator = try makeGenerator(
      PipelineFolder(path: Self.folder.appendingPathComponent("toy-pixart-sigma").path),
      options: GeneratorOptions(threads: 2))
    var request = GenerationRequest(
      width: 300, height: 200, steps: 20, guidanceScale: call.guidanceScale, seed: call.seed, maxSequenceLength: 24)
    (request.modelWidth, request.modelHeight) = (304, 208)
    request.prompt = call.prompt!.all[0]
    request.cleanCaption = false
    let result = try generator.generate(request) { _ in true }
    #expect(relativeL2(result.latents, fixture.tensor("output.latents")) <= 1e-3)
    let expected = fixture.integers("output.image")
    var worst = 0
    for row in 0..<50 {
      for column in 0..<75 {
        for channel in 0..<3 {
          let found = Int(result.image.pixels[(row * 4 * 300 + column * 4) * 3 + channel])
          worst = max(worst, abs(found - expected[(row * 75 + column) * 3 + channel]))
        }
      }
    }
    #expect(worst <= 2, "pixels \(worst)")
  }
}

/// The embedded pipeline against diffusers in float32, from the same seeds.
@Suite(.serialized) struct TabletopTests {
  private func requests() throws -> (Fixture, DiffusionGenerator, [GenerationRequest]) {
    let fixture = try Fixture("expected/tabletop")
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let generator = try makeGenerator(
      PipelineFolder(path: root.appendingPathComponent("pipelines/tabletop-image").path),
      options: GeneratorOptions(threads: 2))
    let prompts = try JSONDecoder().decode([String].self, from: Data(fixture.metadata["prompts"]!.utf8))
    let requests = prompts.enumerated().map { index, prompt in
      var request = GenerationRequest(
        width: 128, height: 128, steps: 20, guidanceScale: 3, seed: UInt64(index), maxSequenceLength: 64)
      request.prompt = prompt
      request.cleanCaption = false
      return request
    }
    return (fixture, generator, requests)
  }

  private func psnr(_ a: [UInt8], _ b: ArraySlice<Int>) -> Double {
    let squares = zip(a, b).reduce(0.0) { $0 + Double((Int($1.0) - $1.1) * (Int($1.0) - $1.1)) }
    return 10 * log10(255 * 255 * Double(a.count) / max(squares, 1e-9))
  }

  @Test(arguments: [(Precision.float32, 45.0), (.bfloat16, 30.0), (.int8, 30.0)])
  func isNearDiffusers(_ precision: Precision, _ least: Double) throws {
    let (fixture, generator, requests) = try requests()
    let expected = fixture.integers("output.image")
    for (index, request) in requests.enumerated() {
      var request = request
      request.precision = precision
      let image = try generator.generate(request) { _ in true }.image
      let count = image.pixels.count
      let value = psnr(image.pixels, expected[index * count..<(index + 1) * count])
      #expect(value >= least, "\(request.prompt): \(value) dB in \(precision)")
    }
  }

  @Test func stopsWhenAsked() throws {
    let (_, generator, requests) = try requests()
    #expect(throws: GenerationStopped(steps: 3)) {
      try generator.generate(requests[0]) { event in
        if case .step(3, 20) = event { return false }
        return true
      }
    }
  }

  @Test func batchesEncodeTextsOnceAndEqualSingles() throws {
    let (_, generator, requests) = try requests()
    let single = try generator.generate(requests[1]) { _ in true }
    generator.keepsModels = true
    var texts = 0
    func count(_ event: GenerationEvent) -> Bool {
      if case .phase("text") = event { texts += 1 }
      return true
    }
    try generator.prepare(requests, onEvent: count)
    let batch = try requests.map { try generator.generate($0, onEvent: count) }
    #expect(texts == 1)
    #expect(batch[1].image == single.image && batch[1].latents == single.latents)
  }
}
