import Foundation
import Testing

@testable import CommandSupport
@testable import DiffusionPipelines

@Suite struct DryRunTests {
  let folder: TemporaryFolder
  let world = FakeWorld()
  init() throws { folder = try TemporaryFolder() }

  private let own = #"{"defaults": {"resolution_binning": "off", "steps": 20, "max_sequence_length": 64}}"#

  @Test func json() throws {
    let model = try ToyPipeline.pixArt(in: folder, ownDefaults: own)
    #expect(world.run("-m", model, "-p", "x", "--dry-run", "--json", "--size", "256x128", "-b", "2") == 0)
    #expect(world.generator == nil)
    let object = try #require(JSONSerialization.jsonObject(with: Data(world.output.utf8)) as? [String: Any])
    #expect(object["token_grid"] as? [Int] == [1, 16, 32] && object["tokens"] as? Int == 512)
    let attention = try #require(object["attention"] as? [String: Any])
    #expect(attention["method"] as? String == "dense" && attention["density"] as? Double == 1)
    #expect(attention["run_density"] as? Double == 1 && (attention["options"] as? [String: Any])?.isEmpty == true)
    let weights = try #require(object["weights_bytes"] as? [String: Int])
    #expect(weights == ["text": 4 * (157 * 128 + 64 * 64), "denoise": 4 * (65536 + 256), "decode": 4 * (576 + 64)])
    let peaks = try #require(object["peak_memory_bytes"] as? [String: Int])
    #expect(Set(peaks.keys) == ["text", "denoise", "decode"] && peaks.values.allSatisfy { $0 > 64 << 20 })
    let anonymous = try #require(object["peak_anonymous_bytes"] as? [String: Int])
    let mapped = try #require(object["peak_mapped_bytes"] as? [String: Int])
    #expect(peaks.allSatisfy { name, peak in peak == (anonymous[name] ?? 0) + (mapped[name] ?? 0) })
    #expect(mapped.values.allSatisfy { $0 > 0 } && anonymous.values.allSatisfy { $0 > 0 })
    #expect(object["results"] as? Int == 2)
    let flops = try #require(object["flops"] as? Double), seconds = try #require(object["estimated_seconds"] as? Double)
    #expect(abs(seconds - flops / 180e9) < 1e-9 * seconds)
  }

  @Test func text() throws {
    let model = try ToyPipeline.pixArt(in: folder, ownDefaults: own)
    #expect(world.run("-m", model, "-p", "x", "--dry-run", "-o", folder.path("new/")) == 0)
    for part in ["1 x 16 x 16 = 256 tokens", "dense, density 1.000", "estimate"] {
      #expect(world.output.contains(part))
    }
    #expect(!folder.contains("new"))
    #expect(world.run("-m", model, "-p", "x", "--dry-run", "-o", "/dev/null/a.png") == 73)
  }

  /// Of 8 layers and 20 steps, toy-band leaves 5 steps dense; one layer more by flag.
  @Test func plansAreWeighed() throws {
    let model = try ToyPipeline.pixArt(in: folder, ownDefaults: own)
    func report(_ attention: String, _ more: String...) throws -> (attention: [String: Any], flops: Double) {
      let code = world.run(
        ["-m", model, "-p", "x", "--dry-run", "--json", "--size", "128x128", "--dense-layers", "1", "--attention"]
          + [attention] + more)
      #expect(code == 0 && world.generator == nil, "\(world.errors)")
      let object = try #require(JSONSerialization.jsonObject(with: Data(world.output.utf8)) as? [String: Any])
      return try (#require(object["attention"] as? [String: Any]), #require(object["flops"] as? Double))
    }
    let dense = try report("dense"), band = try report("toy-band:block=32"), content = try report("toy-content")
    let density = 22.0 / 64, runDensity = 1 - 15.0 / 20 * 7 / 8 * (1 - density)
    #expect(band.attention["density"] as? Double == density)
    #expect(abs((band.attention["run_density"] as? Double ?? 0) - runDensity) < 1e-12)
    #expect(band.attention["dense_steps"] as? Int == 5 && band.attention["dense_layers"] as? Int == 1)
    #expect((band.attention["options"] as? [String: Any])?["radius"] as? Int == 1)
    // 4 N^2 D for each of 20 steps, 2 predictions and 8 layers.
    let denseAttention = Double(4 * 256 * 256 * 128 * 20 * 2 * 8), saved = (1 - runDensity) * denseAttention
    #expect(abs(dense.flops - band.flops - saved) < 1e-6 * saved)
    #expect(content.attention["density"] is NSNull && content.attention["run_density"] is NSNull)
    #expect(content.flops == dense.flops)
    // Four layers of eight with a quarter of the keys.
    #expect(dense.attention["kv_compression"] == nil)
    let short = try report("dense", "--kv-compression", "average")
    #expect(short.attention["run_density"] as? Double == 0.625)
    #expect(((short.attention["kv_compression"] as? [String: Any])?["layers"] as? [Int]) == [4, 5, 6, 7])
    let fewerKeys = 0.375 * denseAttention
    #expect(dense.flops - short.flops == fewerKeys)
    #expect(world.run("-m", model, "-p", "x", "--dry-run", "--attention", "toy-band:block=32") == 0)
    #expect(world.output.contains("radius=1, density 0.344, of the whole run"))
    #expect(world.run("-m", model, "-p", "x", "--dry-run", "--attention", "toy-content") == 0)
    #expect(world.output.contains("depends on content"))
  }

  /// Counts by PyTorch's `FlopCounterMode` on diffusers 0.42.1, one sample, 64 text tokens.
  @Test func operationsAgreeWithPyTorch() throws {
    let pipeline = try PipelineFolder(path: ToyPipeline.pixArt(in: folder))
    let geometry = try ModelGeometry(pipeline), weights = try WeightSizes(pipeline)
    var request = GenerationRequest(
      width: 128, height: 128, steps: 1, guidanceScale: 1, seed: 0, maxSequenceLength: 64)
    func flops(_ request: GenerationRequest) -> [Double] {
      MemoryEstimate(request, geometry: geometry, weights: weights).phases.map(\.flops)
    }
    for (ours, theirs) in zip(flops(request), [69_206_016.0, 1_315_209_216, 2_317_385_728]) {
      #expect(abs(ours - theirs) < 0.001 * theirs, "\(ours) and \(theirs)")
    }
    let once = flops(request)
    request.guidanceScale = 2
    request.steps = 10
    #expect(flops(request) == [2 * once[0], 20 * once[1], once[2]])
    // A DiT of 3 layers, 64 tokens; the reference repeats its embedders in every block.
    let dit = try ModelGeometry(PipelineFolder(path: ToyPipeline.diT(in: folder))).transformer
    #expect(abs(dit.flops(tokens: 64, textTokens: 0) - 6_602_752) < 0.02 * 6_602_752)
  }

  @Test func hugeRequestsDoNotOverflow() throws {
    let model = try ToyPipeline.pixArt(in: folder, ownDefaults: own)
    let code = world.run(
      "-m", model, "-p", "x", "--dry-run", "--json", "--size", "16384x16384", "--steps", "1000", "-b", "1000")
    #expect(code == 0, "\(world.errors)")
    #expect(world.run("-m", model, "-p", "x", "--size", "16384x16384", "--memory-limit", "10G") == 71)
  }
}
