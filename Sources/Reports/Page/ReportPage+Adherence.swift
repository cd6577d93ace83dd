import Evaluation
import Sweeps

/// How well results obey their prompts, dense's beside those of methods.
extension ReportPage {
  var adherence: Markup? {
    let judged = analysis.cells.map { $0.filter { $0.adherence != nil } }
    guard let metric = analysis.metrics.first(where: { $0.name == CellMetrics.adherence }),
      judged.contains(where: { !$0.isEmpty })
    else { return nil }
    let pooled = judged.map { cells in Adherence.pooled(cells.compactMap { $0.adherence?.adherence }) }
    let attributes = Adherence.attributes.filter { name in pooled.contains { $0.counts[name] != nil } }
    let table = Markup("table", ["class": "sortable"]) {
      Markup("thead") {
        Markup("tr") {
          Markup("th", ["scope": "col", "data-kind": "text"]) { Markup("button", ["type": "button"]) { "Variant" } }
          Self.head("All of it", "mean over prompts")
          Self.head("Less dense's", "paired")
          attributes.map { Self.head($0.prefix(1).uppercased() + $0.dropFirst(), "right") }
        }
      }
      Markup("tbody") {
        analysis.variants.indices.filter { !judged[$0].isEmpty }.map { index in
          let summary = analysis.variants[index]
          return Markup("tr") {
            Markup("th", ["scope": "row", "data-value": summary.name]) {
              if [.method, .baseline].contains(summary.variant.role) { plots.entry(summary.variant).swatch }
              summary.name
            }
            share(summary, metric)
            difference(summary, judged[index], metric)
            attributes.map { Self.count(pooled[index].counts[$0]) }
          }
        }
      }
    }
    return Markup {
      Markup.paragraph(
        "What a judge trained on renders saw of what prompts promise. An attribute's share is pooled over all cells of a "
          + "variant; \"all of it\" is the share of a cell's attributes, averaged over prompts. The difference from dense "
          + "is paired by prompt and seed, with its \(NumberText.percent(analysis.bootstrap.confidence)) interval; "
          + "green is significantly better, red significantly worse.", class: "note")
      Markup.scrolling("Adherence", table)
    }
  }

  private static func head(_ name: String, _ detail: String) -> Markup {
    Markup("th", ["scope": "col", "data-first": "descending"]) {
      Markup("button", ["type": "button"]) { name }
      Markup("small") { detail }
    }
  }

  private static func count(_ count: Adherence.Count?) -> Markup {
    Markup("td", ["data-value": count.map { NumberText.exact($0.share) } ?? ""]) {
      NumberText.percent(count?.share, 1)
      if let count { Markup("small") { "\(count.right) of \(count.wanted)" } }
    }
  }

  private func share(_ summary: VariantSummary, _ metric: SweepResults.Header.Metric) -> Markup {
    let value = summary.metric(metric.name)
    return Markup("td", ["data-value": value.map { NumberText.exact($0.mean.estimate) } ?? ""]) {
      NumberText.fixed(value?.mean.estimate, metric.decimals)
      if let value, value.hasInterval { Markup("small") { NumberText.interval(value.mean, metric.decimals) } }
    }
  }

  /// Against the dense references of the same cells.
  private func difference(
    _ summary: VariantSummary, _ cells: [CellResult], _ metric: SweepResults.Header.Metric
  ) -> Markup {
    guard summary.variant.role != .dense else { return Markup("td", ["data-value": ""]) { NumberText.missing } }
    let comparison = analysis.againstDense(cells, metric)
    let mean = comparison.difference?.mean
    let kind = comparison.outcome == .significant ? (Findings.beats(comparison, metric) ? "good" : "bad") : nil
    return Markup("td", ["data-value": mean.map { NumberText.exact($0.estimate) } ?? ""]) {
      Markup.badge(NumberText.signed(mean?.estimate, metric.decimals), kind)
      if let mean, comparison.prompts > 1 {
        Markup("small") { NumberText.interval(mean, metric.decimals, isSigned: true) }
      }
    }
  }
}
