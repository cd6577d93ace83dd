import DiffusionPipelines
import Foundation
import Media
import Tensors
import TestSupport
import Testing

/// Wan pipelines against diffusers at toy size, float32: final latents within 1e-3 relative L2 after 10 UniPC steps,
/// frames within 2/255 everywhere, noise equal bit for bit.
@Suite(.serialized) struct WanParityTests {
  private struct Call: Decodable {
    var prompt: String, negativePrompt: String, guidanceScale: Double, numInferenceSteps: Int, seed: UInt64
    var height: Int, width: Int, numFrames: Int, maxSequenceLength: Int
  }

  private func load(_ name: String) throws -> (Fixture, DiffusionGenerator, GenerationRequest) {
    let fixture = try Fixture("expected/\(name)")
    let call = try fixture.configuration(Call.self, key: "call")
    let folder = PipelineParityTests.folder.appendingPathComponent(fixture.metadata["pipeline"]!)
    let generator = try makeGenerator(PipelineFolder(path: folder.path), options: GeneratorOptions(threads: 2))
    var request = GenerationRequest(
      width: call.width, height: call.height, steps: call.numInferenceSteps, guidanceScale: call.guidanceScale,
      seed: call.seed, maxSequenceLength: call.maxSequenceLength)
    request.frames = call.numFrames
    request.prompt = call.prompt
    request.negativePrompt = call.negativePrompt
    return (fixture, generator, request)
  }

  @Test(arguments: ["wan-clip", "wan-frame", "wan-ragged", "wan-experts", "wan-ti2v"])
  func equalsDiffusers(_ name: String) throws {
    let (fixture, generator, request) = try load(name)
    let noise = fixture.tensor("input.noise")
    var random = TorchRandom(seed: request.seed)
    #expect(random.normal(noise.shape) == noise, "noise of \(name)")
    var frames: [Frame] = []
    let result = try generator.generate(request, onFrame: { frames.append($0) }, onEvent: { _ in true })
    let error = relativeL2(result.latents, fixture.tensor("output.latents"))
    #expect(error <= 1e-3, "\(name) latents \(error)")
    #expect(frames.count == request.frames)
    let found = frames.flatMap { $0.pixels.map(Int.init) }, expected = fixture.integers("output.frames")
    #expect(found.count == expected.count)
    let worst = zip(found, expected).reduce(0) { max($0, abs($1.0 - $1.1)) }
    #expect(worst <= 2, "\(name) pixels \(worst)")
    #expect(result.record.kind == "video" && result.record.request.numFrames == request.frames)
  }

  @Test func stoppingBetweenFramesEndsTheRun() throws {
    let (_, generator, request) = try load("wan-clip")
    var isDecoding = false, frames = 0
    #expect(throws: GenerationStopped.self) {
      try generator.generate(request, onFrame: { _ in frames += 1 }) { event in
        if case .phase("decode") = event { isDecoding = true }
        return !isDecoding || frames < 3
      }
    }
    #expect(frames == 3)
  }
}
