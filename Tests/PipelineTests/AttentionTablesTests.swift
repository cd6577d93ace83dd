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
    let folder = try PipelineFolder(path: root.appendingPathComponent("pipelines/tabletop-image-256").path)
    let resolver = AttentionResolver(folder, try ModelGeometry(folder))
    var request = GenerationRequest(
      width: 256, height: 256, steps: 20, guidanceScale: 3, seed: 0, maxSequenceLength: 64)
    request.attention = choice
    let forecast = try resolver.forecast(request)
    #expect(try #require(forecast.density) < 0.4)
    request.steps = 10
    #expect(throws: AttentionError.self) { try resolver(request) }
  }
}
