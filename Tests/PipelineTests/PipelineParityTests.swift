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
      if let text = try? container.decode(String.self) { self = .one(text) } else { self = .many(try container.decode([String].self)) }
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
    let generator = try makeImageGenerator(
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
      let result = try generator.generate(request, noise: own) { _ in true }
      let error = relativeL2(result.latents, latents.slice(sample..<sample + 1))
      #expect(error <= 1e-3, "\(name) latents \(error)")
      let count = result.image.pixels.count
      let worst = zip(result.image.pixels, pixels[sample * count..<(sample + 1) * count]).map { abs(Int($0) - $1) }.max()!
      #expect(worst <= 2, "\(name) pixels \(worst)")
    }
  }
}
