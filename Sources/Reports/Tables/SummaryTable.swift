import Evaluation
import Sweeps

/// The summaries of a sweep's variants as a table of texts.
public struct SummaryTable: Sendable, Hashable {
  public var header: [String]
  public var rows: [[String]]
  /// Columns that begin at the left; the others end at the right.
  private var textColumns: Set<Int> = [0]

  /// Methods and baselines, below them dense where it has metrics of its own, one row each: densities, metrics with their intervals, speed-ups with quartiles, planning,
  /// operations.
  /// - Parameter metrics: names of those to show; `nil` for all.
  public init(_ analysis: SweepAnalysis, metrics names: [String]? = nil) {
    let metrics = analysis.metrics.filter { names?.contains($0.name) ?? true }
    header =
      ["variant", "density", "of the run"] + metrics.map(\.titleWithUnit)
      + ["attention", "step", "planning", "FLOPs kept", "cells"]
    let dense = analysis.variants.indices.filter { index in
      let summary = analysis.variants[index]
      return summary.variant.role == .dense && metrics.contains { summary.metric($0.name) != nil }
    }
    rows = (analysis.measured + dense).map { index in
      let summary = analysis.variants[index]
      let values = metrics.map { Self.text(summary.metric($0.name), $0) }
      return [
        summary.name, NumberText.fixed(summary.sparseDensity, 3), NumberText.fixed(summary.runDensity, 3),
      ] + values + [
        Self.text(summary.attentionSpeedup), Self.text(summary.stepSpeedup),
        NumberText.percent(summary.planningShare, 1), NumberText.percent(summary.keptFLOPs), "\(summary.cells)",
      ]
    }
  }

  private static func text(_ spread: Spread?) -> String {
    [NumberText.speedup(spread), NumberText.quartiles(spread)].compactMap { $0 }.joined(separator: " ")
  }

  private static func text(_ value: VariantSummary.Metric?, _ metric: SweepResults.Header.Metric) -> String {
    guard let value else { return NumberText.missing }
    let estimate = NumberText.fixed(value.mean.estimate, metric.decimals)
    return value.hasInterval ? estimate + " " + NumberText.interval(value.mean, metric.decimals) : estimate
  }

  /// In columns of equal width, for a terminal.
  public var text: String {
    let lines = [header] + rows
    let widths = header.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
    return lines.map { line in
      let cells = line.enumerated().map { column, text in
        let room = String(repeating: " ", count: widths[column] - text.count)
        return textColumns.contains(column) ? text + room : room + text
      }
      var result = cells.joined(separator: "  ")
      while result.last == " " { result.removeLast() }
      return result + "\n"
    }.joined()
  }

  /// As Markdown has tables.
  public var markdown: String {
    func line(_ cells: [String]) -> String {
      "| " + cells.map { $0.replacing("|", with: "\\|").replacing("\n", with: " ") }.joined(separator: " | ") + " |\n"
    }
    let rule = header.indices.map { textColumns.contains($0) ? "---" : "---:" }
    return line(header) + line(rule) + rows.map(line).joined()
  }
}
