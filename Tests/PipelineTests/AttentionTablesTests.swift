import DiffusionPipelines
import Foundation
import SparseAttention
import Testing

/// The calibration tables that lie in the repository are for the weights beside them.
@Suite struct AttentionTablesTests {
  @Test(arguments: [
    AttentionChoice(method: "paro", options: ["density": .number(0.3)]),
    AttentionChoice(method: "sliding-tile", options: ["calibration": .string("auto")]),
  ])
  func embeddedTablesFitTheirModel(_ choice: AttentionChoice) throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let folder = try PipelineFolder(path: root.appendingPathComponent("pipelines/tabletop-image").path)
    let resolver = AttentionResolver(folder, try ModelGeometry(folder))
    var request = GenerationRequest(
      width: 256, height: 256, steps: 20, guidanceScale: 3, seed: 0, maxSequenceLength: 64)
    request.attention = choice
    let forecast = try resolver.forecast(request)
    #expect(try #require(forecast.density) < 0.4)
    request.steps = 10
    #expect(throws: AttentionError.self) { try resolver(request) }
  }
  /// Density targets find the masks that there are.
  @Test func embeddedMasksMeetTargets() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let folder = try PipelineFolder(path: root.appendingPathComponent("pipelines/tabletop-image").path)
    let resolver = AttentionResolver(folder, try ModelGeometry(folder))
    let request = GenerationRequest(
      width: 256, height: 256, steps: 20, guidanceScale: 3, seed: 0, maxSequenceLength: 64)
    let context = try resolver.context(request)
    for target in [0.5, 0.3, 0.2, 0.1] {
      let (options, density) = try resolver.methods.solve("paro", options: [:], density: target, context: context)
      #expect(options["density"] == "\(target)")
      #expect(try abs(#require(density) - target) < 0.001)
    }
    #expect(throws: AttentionError.self) {
      try resolver.methods.solve("paro", options: [:], density: 0.15, context: context)
    }
  }
}
