import Evaluation
import Sweeps

/// A sweep as one HTML file that people read: what it found, plots, tables, pictures, and how to make it again. The file
/// asks nothing of any other file or host.
public struct ReportPage: Sendable {
  public let analysis: SweepAnalysis
  let plots: SweepPlots
  let pictures: PictureOptions

  public init(_ results: SweepResults, pictures: PictureOptions = PictureOptions(), bootstrap: Bootstrap = Bootstrap())
  {
    self.init(SweepAnalysis(results, bootstrap: bootstrap), pictures: pictures)
  }

  /// From an analysis that tables and plots were made from.
  public init(_ analysis: SweepAnalysis, pictures: PictureOptions = PictureOptions()) {
    self.analysis = analysis
    plots = SweepPlots(analysis)
    self.pictures = pictures
  }

  /// The page's text.
  public func html() throws -> String {
    let header = analysis.results.header
    return Page(
      title: "What sparse attention costs \(Self.name(header.pipeline))",
      subtitle: Markup.paragraph(
        "A paired sweep of \(header.pipelineClass): every cell against the dense run of the same prompt, noise and "
          + "sampling.", class: "sub"),
      sections: [
        Page.Section("summary", "Summary", summary), Page.Section("plots", "Quality against cost", try paretoPlots()),
        Page.Section("table", "All variants", table), Page.Section("adherence", "Obeying prompts", adherence),
        Page.Section("frames", "Along the clips", try curves()),
        Page.Section("pictures", "Side by side", try sideBySide()),
        Page.Section("maps", "Where attention is kept", try heatMaps()),
        Page.Section("notes", "How it was measured", notes), Page.Section("commands", "Commands", commands),
      ],
      footer: "Made by tessera \(header.version) from \(NumberText.count(analysis.results.cells.count, "cell"))."
    ).html
  }

  /// The last part of a folder's path.
  static func name(_ pipeline: String) -> String {
    pipeline.split(separator: "/").last.map(String.init) ?? pipeline
  }

  // MARK: Summary

  private var summary: Markup {
    let findings = Findings(analysis)
    return Markup {
      Markup.paragraph(findings.paragraph, class: "lead")
      if let obedience = findings.obedience { Markup.paragraph(obedience) }
      controls
      Markup("h3") { "Who wins, by density and metric" }
      winners(findings)
      Markup.paragraph(
        "Means over prompts with \(NumberText.percent(analysis.bootstrap.confidence)) bootstrap intervals. "
          + "\"Ahead\" is a paired difference whose interval lies on one side of 0; differences are not corrected for "
          + "their number. Density is of the calls that a plan made sparse; with dense steps and layers a run keeps more "
          + "(\"Run\" in the table of all variants).", class: "note")
      if let twins { twins }
      Markup("h3") { "What was run" }
      facts
    }
  }

  /// Variants whose results cannot be told apart by any metric: the same plan under two names.
  private var twins: Markup? {
    let shown = analysis.measured.filter { !analysis.variants[$0].metrics.isEmpty }
    let groups = Dictionary(grouping: shown) { index in
      analysis.cells[index].map { cell in [cell.prompt, "\(cell.seed)", "\(cell.metrics.sorted { $0.key < $1.key })"] }
        .sorted { $0.lexicographicallyPrecedes($1) }
    }
    let names = groups.values.filter { $0.count > 1 }.map { group in
      NumberText.list(group.sorted().map { analysis.variants[$0].name })
    }
    guard !names.isEmpty else { return nil }
    return Markup.paragraph(
      "The same in every cell, so one plan under two names: \(names.sorted().joined(separator: "; ")).", class: "note")
  }

  private var controls: Markup {
    let (all, broken) = analysis.controls
    if all.isEmpty {
      return Markup.paragraph(
        "The sweep has no control cells, which keep everything and must equal dense.", class: "note")
    }
    guard let first = broken.first else {
      return Markup.paragraph(
        "Control: \(all.count) of \(NumberText.count(all.count, "cell")) whose plans keep everything "
          + "equal\(all.count == 1 ? "s" : "") dense exactly.", class: "fine")
    }
    return Markup.paragraph(
      "Control failed: \(broken.count) of \(NumberText.count(all.count, "cell")) that keep everything differ from dense, "
        + "the first is \(first.folder). Do not trust this sweep.", class: "alert")
  }

  private func winners(_ findings: Findings) -> Markup {
    let shown = zip(analysis.bands, analysis.verdicts).filter { !$0.1.isEmpty }
    guard !shown.isEmpty else { return Markup.paragraph("Nothing to compare yet.", class: "note") }
    let table = Markup("table", ["class": "winners"]) {
      Markup("thead") {
        Markup("tr") {
          Markup("th", ["scope": "col"]) { "Density" }
          analysis.metrics.map { metric in
            Markup("th", ["scope": "col", "class": "left"]) {
              metric.title
              Markup("small") { metric.higherIsBetter ? "higher is better" : "lower is better" }
            }
          }
        }
      }
      Markup("tbody") {
        shown.map { band, verdicts in
          Markup("tr") {
            Markup("th", ["scope": "row"]) {
              band.label
              Markup("small") { band.isTarget ? "asked for" : "measured" }
              Markup("small") { band.setting.label(among: analysis.settings) }
            }
            analysis.metrics.map { metric in
              Markup("td") { verdicts.first { $0.metric == metric }.map { winner($0, findings) } ?? Markup(text: "-") }
            }
          }
        }
      }
    }
    return Markup.scrolling("Who wins", table)
  }

  private func winner(_ verdict: Verdict, _ findings: Findings) -> Markup {
    let summary = analysis.variants[verdict.best], metric = verdict.metric
    let value = summary.metric(metric.name)
    return Markup {
      Markup("div") {
        plots.entry(summary.variant).swatch
        Markup("b") { summary.variant.family }
      }
      Markup("div") { value.map { Self.text($0, metric) } ?? "-" }
      Markup("div") { standing(verdict) }
      if let baseline = verdict.baseline, baseline.comparison.outcome != .tooFewPrompts,
        !Findings.beats(baseline.comparison, metric)
      {
        Markup("div") { Markup.badge("not better than random", "bad") }
      }
      if !verdict.beatenByChance.isEmpty {
        Markup("small") {
          "random is ahead of " + NumberText.list(verdict.beatenByChance.map { analysis.variants[$0].variant.family })
        }
      }
      if let next = verdict.rivals.first {
        let more = findings.more(verdict, next)
        if !more.isEmpty {
          Markup("small") { "but kept more pairs than \(analysis.variants[next.variant].variant.family)" }
        }
      }
    }
  }

  private func standing(_ verdict: Verdict) -> Markup {
    func names(_ rivals: [Verdict.Rival]) -> String {
      NumberText.list(rivals.map { analysis.variants[$0.variant].variant.family })
    }
    if verdict.rivals.isEmpty { return Markup.badge("the only method") }
    if verdict.level.isEmpty {
      return Markup.badge(verdict.rivals.count == 1 ? "ahead of \(names(verdict.rivals))" : "ahead of all", "good")
    }
    if verdict.level.allSatisfy({ $0.comparison.outcome == .tooFewPrompts }) {
      return Markup.badge("too few prompts to tell")
    }
    return Markup.badge("not significantly ahead of \(names(verdict.level))", "even")
  }

  static func text(_ value: VariantSummary.Metric, _ metric: SweepResults.Header.Metric) -> String {
    let estimate = NumberText.fixed(value.mean.estimate, metric.decimals)
    return value.hasInterval ? "\(estimate) \(NumberText.interval(value.mean, metric.decimals))" : estimate
  }

  private var facts: Markup {
    let header = analysis.results.header, cells = analysis.results.cells
    let grid = header.tokenGrid, tokens = grid.reduce(1, *)
    let sizes = cells.map { "\($0.width) x \($0.height)" + ($0.frames > 1 ? ", \($0.frames) frames" : "") }.uniqued()
    let memory = cells.compactMap(\.cost.peakMemoryBytes).max()
    let rows: [(String, String)] = [
      ("Pipeline", header.pipeline), ("Class", header.pipelineClass), ("Pictures", sizes.joined(separator: "; ")),
      ("Token grid", grid.map(String.init).joined(separator: " x ") + " = \(tokens) tokens"),
      ("Layers x heads", "\(header.layers) x \(header.heads)"),
      ("Steps", Set(cells.map(\.variant.steps)).sorted().map(String.init).joined(separator: ", ")),
      ("Arithmetic", cells.map(\.variant.dtype).uniqued().joined(separator: ", ")),
      ("Prompts x seeds", "\(analysis.prompts.count) x \(analysis.seeds.count)"),
      ("Variants", "\(analysis.variants.count)"), ("Cells", "\(cells.count)"),
      ("Machine", "\(header.cpu), \(NumberText.count(header.threads, "thread"))"),
      ("Processes", "\(Set(cells.map(\.cost.process)).count)"), ("Peak memory", NumberText.bytes(memory)),
      ("Version", header.version),
    ]
    return Markup {
      Markup("dl", ["class": "facts"]) {
        rows.map { name, value in
          Markup("div") {
            Markup("dt") { name }
            Markup("dd") { Markup.foreign(value) }
          }
        }
      }
      Markup("details") {
        Markup("summary") { "Prompts and seeds" }
        Markup("ul", ["class": "plain"]) { analysis.prompts.map { prompt in Markup("li") { Markup.foreign(prompt) } } }
        Markup.paragraph("Seeds: " + analysis.seeds.map(String.init).joined(separator: ", "))
      }
    }
  }
}

extension Markup {
  /// Several pieces beside each other.
  init(@MarkupBuilder _ content: () -> Markup) { self = content() }
}
