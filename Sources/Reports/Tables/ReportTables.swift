import Evaluation
import Foundation
import Sweeps

/// A sweep's cells as tables for other programs.
public struct ReportTables: Sendable {
  private let results: SweepResults
  private let pairing: Pairing

  public init(_ results: SweepResults) {
    self.results = results
    pairing = Pairing(results.cells)
  }

  // MARK: CSV

  private typealias Column = (name: String, value: (CellResult) -> String)

  /// One row a cell below a row of names, after RFC 4180: lines end in CR LF; fields with commas, quotes or line ends are
  /// quoted. Columns keep their order; metrics come in the header's. A value that is missing, or a speed-up that is
  /// not paired, is an empty field; infinities are `inf` and `-inf`, no number is `nan`.
  public func csv() -> String {
    let columns = Self.plain + metrics + adherence + costs
    let rows = [columns.map(\.name)] + results.cells.map { cell in columns.map { $0.value(cell) } }
    return rows.map { $0.map(Self.field).joined(separator: ",") + "\r\n" }.joined()
  }

  private static var plain: [Column] {
    [
      ("folder", \.folder), ("prompt_index", { "\($0.promptIndex)" }), ("prompt", \.prompt), ("seed", { "\($0.seed)" }),
      ("role", { $0.variant.role.rawValue }), ("family", { $0.variant.family }),
      ("attention", { $0.variant.attention }),
      ("target_density", { number($0.variant.targetDensity) }), ("dense_steps", { whole($0.variant.denseSteps) }),
      ("dense_layers", { whole($0.variant.denseLayers) }), ("kv_compression", { $0.variant.kvCompression ?? "" }),
      ("dtype", { $0.variant.dtype }), ("scheduler", { $0.variant.scheduler ?? "" }),
      ("steps", { "\($0.variant.steps)" }), ("width", { "\($0.width)" }), ("height", { "\($0.height)" }),
      ("frames", { "\($0.frames)" }), ("density_sparse_calls", { number($0.densities.sparseCalls) }),
      ("density_run", { number($0.densities.run) }),
    ]
  }

  private var metrics: [Column] {
    results.header.metrics.map { metric in
      (metric.name.replacing("-", with: "_"), { Self.number($0.metrics[metric.name]) })
    }
  }

  /// How often each attribute was right and wanted, of those that any cell was judged by.
  private var adherence: [Column] {
    let judged = Set(results.cells.flatMap { $0.adherence.map { Array($0.counts.keys) } ?? [] })
    return Adherence.attributes.filter(judged.contains).flatMap { name -> [Column] in
      [
        ("adherence_\(name)_right", { Self.whole($0.adherence?.counts[name]?.right) }),
        ("adherence_\(name)_wanted", { Self.whole($0.adherence?.counts[name]?.wanted) }),
      ]
    }
  }

  private var costs: [Column] {
    let pairing = pairing
    return [
      ("denoise_seconds", { Self.number($0.cost.denoiseSeconds) }),
      ("attention_seconds", { Self.number($0.cost.attentionSeconds) }),
      ("plan_seconds", { Self.number($0.cost.planSeconds) }),
      ("decode_seconds", { Self.number($0.cost.decodeSeconds) }),
      ("seconds_per_step", { Self.number($0.cost.secondsPerStep) }),
      ("attention_speedup", { Self.number(pairing.speedup($0, \.attentionAndPlanSeconds)) }),
      ("step_speedup", { Self.number(pairing.speedup($0, \.secondsPerStep)) }),
      ("denoise_flops", { Self.number($0.cost.denoiseFLOPs) }),
      ("peak_memory_bytes", { Self.whole($0.cost.peakMemoryBytes) }), ("process", \.cost.process),
      ("order", { "\($0.cost.order)" }),
      ("recall", { Self.number($0.sparseRecall) }), ("attention_error", { Self.number($0.sparseError) }),
      ("command", \.command),
    ]
  }

  private static func number(_ value: Double?) -> String {
    guard let value else { return "" }
    return value.isNaN ? "nan" : NumberText.exact(value)
  }
  private static func whole(_ value: Int?) -> String { value.map { "\($0)" } ?? "" }

  private static func field(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: { ",\"\r\n".unicodeScalars.contains($0) }) else { return text }
    return "\"" + text.replacing("\"", with: "\"\"") + "\""
  }

  // MARK: JSON

  /// One cell a line, as in its `cell.json`; infinities are the texts `Infinity` and
  /// `-Infinity`, no number is `NaN`.
  public func jsonLines() throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    return try results.cells.map { String(decoding: try encoder.encode($0), as: UTF8.self) + "\n" }.joined()
  }
}
