import DiffusionModels
import Foundation
import SparseAttention
import Tensors
import TestSupport
import Testing

@testable import DiffusionPipelines

/// Attention methods inside a whole pipeline: a toy model of 2 layers and 2 heads on 16 x 16 tokens.
@Suite(.serialized) struct AttentionTests {
  private let folder: PipelineFolder
  private let generator: DiffusionGenerator

  init() throws {
    folder = try PipelineFolder(path: PipelineParityTests.folder.appendingPathComponent("toy-pixart-sigma").path)
    generator = try makeGenerator(folder, options: GeneratorOptions(threads: 2), methods: .toys)
  }

  private func request(_ attention: String, steps: Int = 4) throws -> GenerationRequest {
    var request = GenerationRequest(
      width: 256, height: 256, steps: steps, guidanceScale: 3, seed: 5, maxSequenceLength: 24)
    request.prompt = "a toy"
    request.attention = try AttentionChoice(parsing: attention)
    return request
  }

  @Test func keepingEverythingIsDense() throws {
    let dense = try generator.generate(request("dense")) { _ in true }
    let kept = try generator.generate(request("toy-band:radius=1000,dense-steps=0")) { _ in true }
    #expect(kept.image == dense.image && kept.latents == dense.latents)
    #expect(kept.record.attention.density == 1 && kept.record.attention.runDensity == 1)
    let allDense = try generator.generate(request("toy-band:dense-steps=4")) { _ in true }
    #expect(allDense.latents == dense.latents && allDense.record.attention.density == 1)
  }

  @Test func recordSaysWhatWasInForceAndKept() throws {
    var asked = try request("toy-band:radius=2,note=a")
    asked.attention.denseLayers = 1
    asked.wantsAttentionPatterns = true
    let result = try generator.generate(asked) { _ in true }
    let attention = result.record.attention
    #expect(attention.method == "toy-band" && attention.denseSteps == 1 && attention.denseLayers == 1)
    #expect(
      attention.options == [
        "block": .integer(16), "radius": .integer(2), "calibrated": .bool(false), "note": .string("a"),
      ])
    // 16 blocks: 5 kept in a row but for 3 missing at either end. 3 of 4 steps and 1 of 2 layers are sparse.
    let density = Double(16 * 5 - 6) / 256
    #expect(abs(attention.density! - density) < 1e-12)
    #expect(abs(attention.runDensity! - (1 - 3.0 / 8 * (1 - density))) < 1e-12)
    #expect(
      result.record.request.attention
        == "toy-band:block=16,calibrated=false,dense-layers=1,dense-steps=1,note=a,radius=2")
    #expect(result.record.request.denseSteps == nil && result.record.request.denseLayers == nil)

    let records = result.attention.statistics.records
    #expect(records.count == 4 * 2 * 2)
    #expect(records.allSatisfy { $0.isSparse == ($0.step >= 1 && $0.layer == 1) })
    #expect(records.filter(\.isSparse).allSatisfy { $0.blocks == 2 * 256 && $0.keptBlocks == 2 * 74 })
    let samples = result.attention.samples
    #expect(samples.map(\.head) == [0, 1] && samples.allSatisfy { $0.layer == 1 && $0.step == 3 })
    // The middle token, row 8 and column 8, reads the 5 rows of blocks around it.
    #expect(samples[0].reach.indices.filter { samples[0].reach[$0] } == Array(6 * 16..<11 * 16))

    // What the record says makes the same picture.
    var again = asked
    again.attention = try AttentionChoice(parsing: result.record.request.attention)
    again.wantsAttentionPatterns = false
    let same = try generator.generate(again) { _ in true }
    #expect(same.image == result.image && same.record.attention == attention && same.attention.samples.isEmpty)
    #expect(same.record.request.attention == result.record.request.attention)
  }

  @Test func forecastsAreWhatIsMeasured() throws {
    let resolver = AttentionResolver(folder, try ModelGeometry(folder), methods: .toys)
    for text in ["dense", "toy-band", "toy-band:radius=0,dense-layers=1", "toy-band:radius=99"] {
      let asked = try request(text), forecast = try resolver.forecast(asked)
      let measured = try generator.generate(asked) { _ in true }.record.attention
      #expect(abs(forecast.density! - measured.density!) < 1e-12, "\(text)")
      #expect(abs(forecast.runDensity! - measured.runDensity!) < 1e-12, "\(text)")
    }
    for text in ["average:layers=0-1", "uniform:ratio=3"] {
      for method in ["dense", "toy-band", "toy-band:dense-layers=1"] {
        var asked = try request(method)
        asked.keyValueCompression = try KeyValueCompression(parsing: text)
        let forecast = try resolver.forecast(asked)
        let measured = try generator.generate(asked) { _ in true }.record.attention
        #expect(abs(forecast.density! - measured.density!) < 1e-12, "\(method) with \(text)")
        #expect(abs(forecast.runDensity! - measured.runDensity!) < 1e-12, "\(method) with \(text)")
      }
    }
    let content = try resolver.forecast(request("toy-content"))
    #expect(content.density == nil && content.runDensity == nil)
    let result = try generator.generate(request("toy-content:dense-steps=2")) { _ in true }
    #expect(result.record.attention.density == 1 / 16.0 && result.record.attention.runDensity == 17 / 32.0)
  }

  @Test func densityIsSaidAsStepsGo() throws {
    var said: [Double] = [], order: [String] = []
    _ = try generator.generate(request("toy-band:dense-steps=2")) { event in
      if case .density(let density) = event {
        said.append(density)
        order.append("density")
      }
      if case .step(_, 4) = event { order.append("step") }
      return true
    }
    #expect(order == ["density", "step", "density", "step", "density", "step", "density", "step"])
    #expect(said.count == 4 && said[1] == 1 && said[2] < 1 && said[3] < said[2])
  }

  @Test(arguments: ["toy-band:dense-steps=5", "toy-band:dense-layers=3"])
  func denseRangesOutsideTheRun(text: String) throws {
    let asked = try request(text)
    let error = #expect(throws: PipelineError.self) {
      try generator.generate(asked) { _ in
        Issue.record("something ran")
        return true
      }
    }
    guard case .badRequest = error else { return #expect(Bool(false), "\(String(describing: error))") }
  }

  @Test func callersEnginesSeeEveryCall() throws {
    let resolver = AttentionResolver(folder, try ModelGeometry(folder), methods: .toys)
    let asked = try request("dense")
    let calibrator = try AttentionMethods.toys.makeCalibrator(
      "toy-band", options: [:], context: resolver.context(asked), executor: BlockSparseExecutor(.float32))
    let latents = try generator.denoise(asked, with: calibrator) { _ in true }
    #expect(try latents == generator.generate(asked) { _ in true }.latents)
    #expect(try calibrator.finish(prompts: []).summary == ["16 calls watched"])
  }

  @Test func weightsHaveOneName() throws {
    let weights = WeightFingerprints(folder)
    #expect(try weights.modelHash() == weights.of(component: "transformer")[0].fingerprint)
    let other = try PipelineFolder(path: PipelineParityTests.folder.appendingPathComponent("toy-pixart-alpha").path)
    #expect(try WeightFingerprints(other).modelHash() != weights.modelHash())
  }
}
