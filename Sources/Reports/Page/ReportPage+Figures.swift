import Sweeps

/// Plots and heat maps.
extension ReportPage {
  // MARK: Quality against cost

  func paretoPlots() throws -> Markup? {
    guard !analysis.measured.isEmpty, !analysis.metrics.isEmpty else { return nil }
    let tabs = try SweepPlots.Cost.allCases.map { cost in
      let shown = analysis.metrics.map { (name: $0.title, plot: plots.pareto($0, against: cost)) }
        .filter { !$0.plot.isEmpty }
      let content =
        shown.isEmpty
        ? Markup.paragraph("Not paired: no cell ran in one process with its dense reference, so times do not compare.")
        : try Markup.plots(shown.map { ($0.name, $0.plot) })
      return (cost.name, content)
    }
    return Markup {
      Markup.paragraph(
        "A point a variant; lines join a family from its highest density to its lowest. Vertical bars are "
          + "\(NumberText.percent(analysis.bootstrap.confidence)) intervals over prompts, horizontal ones the quartiles "
          + "of speed-ups over cells. Filled, ringed points are Pareto-optimal: nothing else is better at the same cost "
          + "or cheaper at the same quality. Random blocks are grey. Point at a marker for its numbers.", class: "note")
      Markup.legend(plots.legend)
      Markup.tabs("cost", tabs)
    }
  }

  // MARK: Along clips

  func curves() throws -> Markup? {
    guard analysis.isClip else { return nil }
    let tabs = try analysis.metrics.compactMap { metric -> (String, Markup)? in
      let shown = plots.curves(metric)
      guard !shown.isEmpty else { return nil }
      return (metric.title, try Markup.plots(shown.map { ($0.title, $0) }))
    }
    guard !tabs.isEmpty else { return nil }
    return Markup {
      Markup.paragraph(
        "Means over cells, frame by frame, or pair of neighbouring frames by pair. Frames that equal the reference's "
          + "have no finite PSNR and are left out.", class: "note")
      Markup.legend(plots.legend)
      Markup.tabs("curve", tabs)
    }
  }

  // MARK: Heat maps

  func heatMaps() throws -> Markup? {
    let drawn = plots.heatMaps()
    let groups = try analysis.families.compactMap { family -> Markup? in
      let variants = analysis.measured.filter { analysis.variants[$0].variant.family == family }
      let shown = try variants.compactMap { index in
        try drawn[index].map { (analysis.variants[index].name, try figures($0)) }
      }
      guard !shown.isEmpty else { return nil }
      return Markup("details", ["open": family == analysis.families.first ? "" : nil]) {
        Markup("summary") { family }
        shown.map { name, maps in
          Markup("h3") { name } + Markup("div", ["class": "maps"]) { maps }
        }
      }
    }
    guard !groups.isEmpty else { return nil }
    let hasRecall = analysis.results.cells.contains { $0.recall != nil }
    return Markup {
      Markup.paragraph(
        "Means over the cells of a variant; one scale of colours for all variants. Density is the share of query-key "
          + "pairs kept."
          + (hasRecall
            ? " Recall is the share of the softmax mass that lies on them, on sampled queries; the error is the relative "
              + "L2 of attention's output."
            : " Recall was not measured in this sweep."),
        class: "note")
      groups
    }
  }

  private func figures(_ maps: [(map: SweepPlots.Map, plot: HeatMapPlot)]) throws -> [Markup] {
    try maps.map { map, plot in
      let values = plot.values.joined().filter(\.isFinite)
      let drawing = try plot.markup()
      return Markup(
        "figure",
        [
          "class": "heat", "data-column": plot.columnName, "data-columns": "\(plot.values[0].count)",
          "data-values": plot.values.joined().map { NumberText.fixed($0, 3) }.joined(separator: " "),
        ]
      ) {
        Markup("figcaption") { map.name.prefix(1).uppercased() + map.name.dropFirst() }
        drawing
        Markup("output") {
          "\(NumberText.fixed(values.min(), 3)) to \(NumberText.fixed(values.max(), 3)), "
            + "mean \(NumberText.fixed(values.isEmpty ? nil : values.reduce(0, +) / Double(values.count), 3))"
        }
      }
    }
  }
}
