import Evaluation
import Sweeps

/// The table of all variants, notes and commands.
extension ReportPage {
  /// A column of numbers, or of texts.
  private struct Column {
    var name: String, detail: String?
    /// The order of the first click.
    var first: String
    var cell: (VariantSummary) -> (text: String, detail: String?, sort: String)
  }

  var table: Markup? {
    let shown = analysis.variants.filter { $0.variant.role != .dense }
    guard !shown.isEmpty else { return nil }
    let columns = self.columns
    let table = Markup("table", ["class": "sortable"]) {
      Markup("thead") {
        Markup("tr") {
          Markup("th", ["scope": "col", "data-kind": "text"]) { Markup("button", ["type": "button"]) { "Variant" } }
          columns.map { column in
            Markup("th", ["scope": "col", "data-first": column.first]) {
              Markup("button", ["type": "button"]) { column.name }
              if let detail = column.detail { Markup("small") { detail } }
            }
          }
          Markup("th", ["scope": "col", "data-kind": "text", "class": "left"]) {
            Markup("button", ["type": "button"]) { "Method and options" }
          }
        }
      }
      Markup("tbody") {
        shown.map { summary in
          Markup("tr") {
            Markup("th", ["scope": "row", "data-value": summary.name]) {
              if summary.variant.role != .control { plots.entry(summary.variant).swatch }
              summary.name
            }
            columns.map { column in
              let cell = column.cell(summary)
              return Markup("td", ["data-value": cell.sort]) {
                cell.text
                if let detail = cell.detail { Markup("small") { detail } }
              }
            }
            Markup("td", ["class": "options mono", "data-value": summary.variant.attention]) {
              summary.variant.attention
            }
          }
        }
      }
    }
    return Markup {
      Markup.paragraph(
        "Click a column's name to sort by it. Intervals and quartiles are below the values.", class: "note")
      Markup.scrolling("All variants", table)
    }
  }

  private var columns: [Column] {
    let metrics = analysis.metrics.map { metric in
      Column(name: metric.title, detail: metric.unit, first: metric.higherIsBetter ? "descending" : "ascending") {
        summary in
        guard let value = summary.metric(metric.name) else { return (NumberText.missing, nil, "") }
        var details = value.hasInterval ? [NumberText.interval(value.mean, metric.decimals)] : []
        if value.infiniteCells > 0, value.cells > 0 { details.append("\(value.infiniteCells) inf left out") }
        return (
          NumberText.fixed(value.mean.estimate, metric.decimals),
          details.isEmpty ? nil : details.joined(separator: " "),
          Self.sort(value.mean.estimate)
        )
      }
    }
    let hasRecall = analysis.variants.contains { $0.recall != nil }
    let recall: [Column] = [
      Self.plain("Recall", "of softmax mass, sparse calls", "descending", 4, \.recall),
      Self.plain("Output error", "relative L2, sparse calls", "ascending", 4, \.attentionError),
    ]
    return [
      Self.plain("Asked", "density", "ascending", 2, \.variant.targetDensity),
      Column(name: "Sparse calls", detail: "density", first: "ascending") {
        (
          NumberText.fixed($0.sparseDensity, 3), $0.missesTarget ? "not as asked" : nil, Self.sort($0.sparseDensity)
        )
      },
      Self.plain("Run", "density", "ascending", 3, \.runDensity),
    ] + metrics + [
      Self.speedup("Attention", \.attentionSpeedup), Self.speedup("Step", \.stepSpeedup),
      Column(name: "Planning", detail: "of attention", first: "ascending") {
        (NumberText.percent($0.planningShare, 1), nil, Self.sort($0.planningShare))
      },
      Column(name: "FLOPs kept", detail: "of denoising", first: "ascending") {
        (NumberText.percent($0.keptFLOPs, 1), nil, Self.sort($0.keptFLOPs))
      },
    ] + (hasRecall ? recall : []) + [
      Column(name: "Memory", detail: "at most", first: "ascending") {
        (NumberText.bytes($0.peakMemoryBytes), nil, Self.sort($0.peakMemoryBytes.map(Double.init)))
      },
      Column(name: "Cells", detail: nil, first: "descending") { ("\($0.cells)", nil, "\($0.cells)") },
    ]
  }

  private static func sort(_ value: Double?) -> String { value.map { $0.isNaN ? "" : NumberText.exact($0) } ?? "" }

  private static func plain(
    _ name: String, _ detail: String, _ first: String, _ decimals: Int, _ value: @escaping (VariantSummary) -> Double?
  ) -> Column {
    Column(name: name, detail: detail, first: first) {
      (NumberText.fixed(value($0), decimals), nil, sort(value($0)))
    }
  }

  private static func speedup(_ name: String, _ spread: @escaping (VariantSummary) -> Spread?) -> Column {
    Column(name: name, detail: "speed-up", first: "descending") {
      (NumberText.speedup(spread($0)), NumberText.quartiles(spread($0)), sort(spread($0)?.median))
    }
  }

  // MARK: Notes

  var notes: Markup? {
    let confidence = NumberText.percent(analysis.bootstrap.confidence)
    let notes = [
      (analysis.metrics.allSatisfy(\.comparesWithReference) ? "Metrics" : "All metrics but adherence")
        + " compare raw pictures with those of the dense run of the same prompt, seed, sampling, arithmetic and kernel. "
        + "A clip's value is the mean over its frames.",
      "A variant's value is the mean over prompts, each of which stands for the mean over its seeds. Infinite values, "
        + "PSNR of pictures equal to dense, are left out and counted; where all are infinite, the value is inf.",
      "Intervals are percentile bootstrap over prompts: \(analysis.bootstrap.resamples) drawings, \(confidence), a fixed "
        + "seed. One prompt has no interval.",
      "Two variants are compared over the prompts and seeds that both ran: one difference a prompt, bootstrapped in the "
        + "same way. With fewer than \(PairedComparison.fewestPrompts) prompts no difference is called significant, since "
        + "even one sign in all of them would not pass a sign test at 5%. Differences are not corrected for their number.",
      "A density of the summary holds variants that were asked for it, and those within a factor of "
        + "\(NumberText.fixed(DensityBand.tolerance, 2)) of it that were not asked for any. Of each family the best one "
        + "is compared. Variants of different arithmetic, sampling, or dense steps and layers are not mixed.",
      "Density of sparse calls is over calls that a plan made sparse; density of the run is over all calls of "
        + "self-attention, those left dense among them.",
      "A speed-up is the dense reference's seconds divided by the cell's, only where both ran in one process; the median "
        + "over cells, with quartiles. Attention is planning and computing; a step is the mean over all steps. The first "
        + "step counts: it is often a dense one, so that leaving it out would flatter sparse runs, and its plans are part "
        + "of their cost. Warm-up weighs on both sides since their order alternates.",
      "Recall and output error are measured on sampled queries of the first prompts, over the calls that a plan made "
        + "sparse: the share of dense's softmax mass that lies on pairs kept, and the relative L2 of attention's output.",
      "Memory is the least over a variant's cells of what the process had held by then: an upper bound of its own need.",
    ]
    let meanings = analysis.metrics.compactMap { metric in metric.meaning.map { "\(metric.title): \($0)" } }
    return Markup("ul", ["class": "plain"]) { (notes + meanings).map { note in Markup("li") { note } } }
  }

  // MARK: Commands

  var commands: Markup? {
    guard !analysis.variants.isEmpty else { return nil }
    return Markup {
      Markup.paragraph("What to type to make a result again: a variant's first cell, then all of them.", class: "note")
      Markup.paragraph("This page anew from the folder's cells, and two sweeps beside each other:", class: "note")
      Markup("pre") { "sweep-attention report FOLDER\nsweep-attention compare FOLDER OTHER -o both.html" }
      zip(analysis.variants, analysis.cells).map { summary, cells in
        Markup("details") {
          Markup("summary") {
            summary.name + " "
            Markup("span", ["class": "note"]) { NumberText.count(cells.count, "cell") }
          }
          Markup("pre") { cells.first?.command ?? "" }
          if cells.count > 1 {
            Markup("details") {
              Markup("summary") { "All \(cells.count) cells" }
              Markup("pre", ["class": "log", "tabindex": "0"]) { cells.map(\.command).joined(separator: "\n") }
            }
          }
        }
      }
    }
  }
}
