import Evaluation
import Sweeps

/// Two sweeps beside each other as one HTML file, which asks nothing of any other file or host.
public struct ComparisonPage: Sendable {
  public let comparison: SweepComparison
  /// What the sweeps are called.
  private let names: (a: String, b: String)

  /// - Parameter names: of the sweeps; `nil` for their folders'.
  public init(
    _ a: SweepResults, _ b: SweepResults, names: (a: String, b: String)? = nil, bootstrap: Bootstrap = Bootstrap()
  ) {
    comparison = SweepComparison(SweepAnalysis(a, bootstrap: bootstrap), SweepAnalysis(b, bootstrap: bootstrap))
    let folders = (a.folder.lastPathComponent, b.folder.lastPathComponent)
    self.names = names ?? (folders.0 == folders.1 ? ("first", "second") : folders)
  }

  public func html() throws -> String {
    Page(
      title: "Two sweeps: \(names.a) and \(names.b)",
      subtitle: Markup.paragraph(
        "A is \(names.a), B is \(names.b). Variants of one family, density asked for and arithmetic are set beside each "
          + "other; differences are B less A.", class: "sub"),
      sections: [
        Page.Section("summary", "Summary", summary), Page.Section("differences", "Differences", differences),
        Page.Section("plots", "Quality against cost", try plots()), Page.Section("costs", "Costs", costs),
        Page.Section("sweeps", "The sweeps", sweeps),
      ],
      footer: "Made by tessera \(comparison.b.results.header.version) from "
        + "\(NumberText.count(comparison.a.results.cells.count, "cell")) and "
        + "\(NumberText.count(comparison.b.results.cells.count, "cell"))."
    ).html
  }

  // MARK: Summary

  private var summary: Markup {
    Markup {
      Markup.paragraph(paragraph, class: "lead")
      if !comparison.onlyA.isEmpty {
        Markup.paragraph(
          "Only in A, or without a single partner: \(comparison.onlyA.joined(separator: "; ")).", class: "note")
      }
      if !comparison.onlyB.isEmpty {
        Markup.paragraph(
          "Only in B, or without a single partner: \(comparison.onlyB.joined(separator: "; ")).", class: "note")
      }
    }
  }

  private var paragraph: String {
    guard !comparison.rows.isEmpty else { return "The sweeps have no variant in common." }
    guard let metric = comparison.metrics.first else { return "The sweeps have no metric in common." }
    let (better, worse, open) = comparison.verdict(metric)
    let pairs = comparison.rows.compactMap { row in row.differences.first?.comparison }
    let prompts = pairs.map(\.prompts).max() ?? 0, cells = pairs.map(\.pairs).max() ?? 0
    var text =
      "\(NumberText.count(comparison.rows.count, "variant")) can be compared, over up to "
      + "\(NumberText.count(prompts, "shared prompt")) (\(NumberText.count(cells, "pair")) of prompt and seed). By "
      + "\(metric.title), B is significantly better in \(better.count), significantly worse in \(worse.count) and not "
      + "significantly different in \(open.count)."
    if prompts < PairedComparison.fewestPrompts { text += " So few prompts cannot show a difference." }
    for (rows, word) in [(better, "gain"), (worse, "loss")] {
      guard let largest = rows.max(by: { abs(mean($0)) < abs(mean($1)) }) else { continue }
      let row = comparison.rows[largest]
      if let difference = row.differences.first?.comparison.difference {
        text +=
          " The largest \(word) is that of \(comparison.a.variants[row.a].name), by \(Self.text(difference, metric))."
      }
    }
    return text
  }

  private func mean(_ row: Int) -> Double {
    comparison.rows[row].differences.first?.comparison.difference?.mean.estimate ?? 0
  }

  private static func text(_ difference: PairedDifference, _ metric: SweepResults.Header.Metric) -> String {
    NumberText.signed(difference.mean.estimate, metric.decimals) + (metric.unit == "dB" ? " dB " : " ")
      + NumberText.interval(difference.mean, metric.decimals, isSigned: true)
  }

  // MARK: Tables

  private var differences: Markup? {
    guard !comparison.rows.isEmpty, !comparison.metrics.isEmpty else { return nil }
    let table = Markup("table", ["class": "sortable"]) {
      head(comparison.metrics.map { ($0.title, "B less A" + ($0.unit.map { ", " + $0 } ?? "")) } + [("Pairs", nil)])
      Markup("tbody") {
        comparison.rows.map { row in
          Markup("tr") {
            name(row)
            row.differences.map { item in difference(item.metric, item.comparison, row) }
            pairs(row)
          }
        }
      }
    }
    return Markup {
      Markup.paragraph(
        "Paired: the mean of one difference a prompt, with its \(NumberText.percent(comparison.a.bootstrap.confidence)) "
          + "bootstrap interval, and A's and B's own means below. Green is better in B, red worse, no colour not "
          + "significant or fewer than \(PairedComparison.fewestPrompts) prompts.", class: "note")
      Markup.scrolling("Differences", table)
    }
  }

  private func head(_ columns: [(name: String, detail: String?)]) -> Markup {
    Markup("thead") {
      Markup("tr") {
        Markup("th", ["scope": "col", "data-kind": "text"]) { Markup("button", ["type": "button"]) { "Variant" } }
        columns.map { column in
          Markup("th", ["scope": "col", "data-first": "descending"]) {
            Markup("button", ["type": "button"]) { column.name }
            if let detail = column.detail { Markup("small") { detail } }
          }
        }
      }
    }
  }

  private func name(_ row: SweepComparison.Row) -> Markup {
    let summary = comparison.a.variants[row.a], other = comparison.b.variants[row.b]
    return Markup("th", ["scope": "row", "data-value": summary.name]) {
      plotsOfA.entry(summary.variant).swatch
      summary.name
      if summary.variant.steps != other.variant.steps || summary.variant.scheduler != other.variant.scheduler {
        Markup("small") { "sampled differently" }
      }
      if summary.variant.attention != other.variant.attention { Markup("small") { "other options" } }
    }
  }

  private func difference(
    _ metric: SweepResults.Header.Metric, _ item: PairedComparison, _ row: SweepComparison.Row
  ) -> Markup {
    func own(_ analysis: SweepAnalysis, _ index: Int) -> String {
      NumberText.fixed(analysis.variants[index].metric(metric.name)?.mean.estimate, metric.decimals)
    }
    let kind = item.outcome == .significant ? (Findings.beats(item, metric) ? "good" : "bad") : nil
    let mean = item.difference?.mean
    return Markup("td", ["data-value": mean.map { NumberText.exact($0.estimate) } ?? ""]) {
      Markup.badge(NumberText.signed(mean?.estimate, metric.decimals), kind)
      if let mean, item.prompts > 1 { Markup("small") { NumberText.interval(mean, metric.decimals, isSigned: true) } }
      Markup("small") { "\(own(comparison.a, row.a)), \(own(comparison.b, row.b))" }
    }
  }

  private func pairs(_ row: SweepComparison.Row) -> Markup {
    let item = row.differences.first?.comparison
    return Markup("td", ["data-value": "\(item?.pairs ?? 0)"]) {
      "\(item?.pairs ?? 0)"
      Markup("small") { "of \(NumberText.count(item?.prompts ?? 0, "prompt"))" }
      if let item, item.infinitePairs > 0 { Markup("small") { "\(item.infinitePairs) inf left out" } }
    }
  }

  private var costs: Markup? {
    guard !comparison.rows.isEmpty else { return nil }
    let columns: [(String, (VariantSummary) -> (String, String?))] = [
      ("Density of the run", { (NumberText.fixed($0.runDensity, 3), nil) }),
      ("Attention", { (NumberText.speedup($0.attentionSpeedup), NumberText.quartiles($0.attentionSpeedup)) }),
      ("Step", { (NumberText.speedup($0.stepSpeedup), NumberText.quartiles($0.stepSpeedup)) }),
      ("Planning", { (NumberText.percent($0.planningShare, 1), nil) }),
      ("FLOPs kept", { (NumberText.percent($0.keptFLOPs, 1), nil) }),
    ]
    let table = Markup("table") {
      Markup("thead") {
        Markup("tr") {
          Markup("th", ["scope": "col"]) { "Variant" }
          columns.flatMap { column in
            ["A", "B"].map { side in
              Markup("th", ["scope": "col"]) {
                column.0
                Markup("small") { side }
              }
            }
          }
        }
      }
      Markup("tbody") {
        comparison.rows.map { row in
          Markup("tr") {
            name(row)
            columns.flatMap { column in
              [comparison.a.variants[row.a], comparison.b.variants[row.b]].map { summary in
                let (text, detail) = column.1(summary)
                return Markup("td") {
                  text
                  if let detail { Markup("small") { detail } }
                }
              }
            }
          }
        }
      }
    }
    return Markup {
      Markup.paragraph(
        "Speed-ups are against each sweep's own dense runs, in the same process. Seconds of different sweeps do not "
          + "compare and are not set against each other.", class: "note")
      Markup.scrolling("Costs", table)
    }
  }

  private var sweeps: Markup {
    func facts(_ analysis: SweepAnalysis) -> [String] {
      let header = analysis.results.header, cells = analysis.results.cells
      return [
        header.pipeline, header.pipelineClass, header.tokenGrid.map(String.init).joined(separator: " x "),
        "\(header.layers) x \(header.heads)",
        Set(cells.map(\.variant.steps)).sorted().map(String.init).joined(separator: ", "),
        cells.map(\.variant.dtype).uniqued().joined(separator: ", "),
        "\(analysis.prompts.count) x \(analysis.seeds.count)",
        "\(cells.count)", "\(header.cpu), \(NumberText.count(header.threads, "thread"))", header.version,
      ]
    }
    let words = [
      "Pipeline", "Class", "Token grid", "Layers x heads", "Steps", "Arithmetic", "Prompts x seeds", "Cells", "Machine",
      "Version",
    ]
    let sides = zip(facts(comparison.a), facts(comparison.b))
    let table = Markup("table") {
      Markup("thead") {
        Markup("tr") {
          ["", "A: " + names.a, "B: " + names.b].map { text in Markup("th", ["scope": "col", "class": "left"]) { text }
          }
        }
      }
      Markup("tbody") {
        zip(words, sides).map { word, values in
          Markup("tr") {
            Markup("th", ["scope": "row"]) { word }
            Markup("td", ["class": "left"]) { Markup.foreign(values.0) }
            Markup("td", ["class": "left"]) {
              Markup.foreign(values.1)
              if values.0 != values.1 { Markup(text: " ") + Markup.badge("differs", "even") }
            }
          }
        }
      }
    }
    return Markup.scrolling("The sweeps", table)
  }

  // MARK: Plots

  private var plotsOfA: SweepPlots { SweepPlots(comparison.a) }

  private func plots() throws -> Markup? {
    guard !comparison.metrics.isEmpty else { return nil }
    let first = plotsOfA, second = SweepPlots(comparison.b, after: first.colored)
    var legend: [LegendEntry] = []
    let tabs = try SweepPlots.Cost.allCases.map { cost in
      let shown = comparison.metrics.map { metric in
        let series =
          first.series(metric, cost).map { Self.named($0, "A") }
          + second.series(metric, cost).map { Self.named($0, "B") }
        legend = series.map(\.entry)
        return (name: metric.title, plot: SweepPlots.pareto(metric, against: cost, series))
      }.filter { !$0.plot.isEmpty }
      let content =
        shown.isEmpty ? Markup.paragraph("Not paired.") : try Markup.plots(shown.map { ($0.name, $0.plot) })
      return (cost.name, content)
    }
    return Markup {
      Markup.paragraph("A has whole lines and full markers, B dashed lines and hollow ones.", class: "note")
      Markup.legend(legend)
      Markup.tabs("cost", tabs)
    }
  }

  private static func named(_ series: ParetoPlot.Series, _ side: String) -> ParetoPlot.Series {
    var series = series
    series.entry.name += " (\(side))"
    series.entry.isHollow = side == "B"
    series.entry.dashes = side == "B" ? [5, 3] : []
    for index in series.points.indices { series.points[index].title = "\(side): " + series.points[index].title }
    return series
  }
}
