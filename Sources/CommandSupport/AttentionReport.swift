import DiffusionPipelines
import SparseAttention

/// What `--attention-report` writes about one result.
struct AttentionReport {
  let run: RunRecord
  let trace: AttentionTrace

  init(_ run: RunRecord, _ trace: AttentionTrace) { (self.run, self.trace) = (run, trace) }

  var records: [AttentionRecord] { trace.statistics.records }
  /// Steps, layers and heads that the records tell of.
  var steps: Int { (records.map(\.step).max() ?? -1) + 1 }
  var layers: Int { (records.map(\.layer).max() ?? -1) + 1 }

  private struct File: Encodable {
    struct Layer: Encodable { var layer: Int, density: Double }
    struct Call: Encodable {
      /// Counted from 0; branch 0 is with the condition, 1 without.
      var step, branch, layer: Int
      var isSparse: Bool
      /// Over all heads; 0 where the call was dense.
      var keptBlocks, blocks: Int
      var density: Double
      var densityByHead: [Double]
      var planSeconds, computeSeconds: Double
    }
    var schema = "tessera.attention"
    var schemaVersion = 1
    var attention: RunRecord.Attention
    var steps: Int
    var planSeconds, computeSeconds: Double
    var layers: [Layer]
    var calls: [Call]
  }

  /// The report as a JSON file.
  func json() throws -> [UInt8] {
    let file = File(
      attention: run.attention, steps: run.request.steps, planSeconds: trace.statistics.planSeconds,
      computeSeconds: trace.statistics.computeSeconds,
      layers: (0..<layers).map { layer in
        File.Layer(layer: layer, density: AttentionStatistics.density(records.filter { $0.layer == layer }) ?? 1)
      },
      calls: records.map {
        File.Call(
          step: $0.step, branch: $0.branch, layer: $0.layer, isSparse: $0.isSparse, keptBlocks: $0.keptBlocks,
          blocks: $0.blocks, density: $0.density, densityByHead: $0.densityByHead, planSeconds: $0.planSeconds,
          computeSeconds: $0.computeSeconds)
      })
    return Array(try RunRecord.encoder().encode(file)) + [UInt8(ascii: "\n")]
  }
}
