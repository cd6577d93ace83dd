import Sweeps

/// Pictures side by side: dense, each variant, and where it differs.
extension ReportPage {
  func sideBySide() throws -> Markup? {
    let book = try PictureBook(analysis, pictures)
    guard !book.exhibits.isEmpty else {
      return book.notes.isEmpty ? nil : Markup(book.notes.map { Markup.paragraph($0, class: "note") })
    }
    let widest = book.exhibits.flatMap { $0.groups.flatMap { $0 } }.map(\.film.width).max() ?? 128
    return Markup {
      Markup.paragraph(
        "Beside each picture is its absolute difference from dense, \(NumberText.exact(PictureBook.gain)) times as bright. "
          + "Press on a picture to see dense in its place.", class: "note")
      book.notes.map { Markup.paragraph($0, class: "note") }
      Markup("div", ["class": "control"]) {
        Markup("label") {
          "Size of pictures"
          Markup(
            "input",
            [
              "type": "range", "min": "64", "max": "\(max(320, widest))", "value": "150", "data-tile": "",
            ])
        }
      }
      book.exhibits.enumerated().map { index, exhibit in show(exhibit, index) }
    }
  }

  private func show(_ exhibit: PictureBook.Exhibit, _ index: Int) -> Markup {
    Markup("details", ["class": "exhibit", "open": index == 0 ? "" : nil]) {
      Markup("summary") {
        Markup.foreign(exhibit.prompt)
        Markup("span", ["class": "note"]) { " seed \(exhibit.seed)" }
      }
      if exhibit.frames.count > 1 { slider(exhibit) }
      exhibit.groups.enumerated().map { group, entries in tiles(entries, "dense-\(index)-\(group)") }
    }
  }

  private func slider(_ exhibit: PictureBook.Exhibit) -> Markup {
    let last = exhibit.frames.count - 1
    return Markup("div", ["class": "control"]) {
      Markup("label") {
        "Frame"
        Markup(
          "input",
          [
            "type": "range", "min": "0", "max": "\(last)", "value": "0", "step": "1", "autocomplete": "off",
            "data-frame-labels": exhibit.frames.map(String.init).joined(separator: " "),
          ])
        Markup("output") { "\(exhibit.frames[0])" }
      }
    }
  }

  /// The reference, then its variants by density.
  private func tiles(_ entries: [PictureBook.Entry], _ id: String) -> Markup {
    let bands = analysis.bands.compactMap { band -> (DensityBand, [PictureBook.Entry])? in
      let own = entries.dropFirst().filter { band.members.contains($0.variant) }.sorted { $0.variant < $1.variant }
      return own.isEmpty ? nil : (band, own)
    }
    let findings = Findings(analysis)
    return Markup {
      entries.first.map { [tile($0, id: id, reference: nil)] } ?? []
      bands.map { band, own in
        Markup("h3") { "Density \(findings.label(band))" }
          + Markup("div", ["class": "tiles"]) { own.map { tile($0, id: nil, reference: id) } }
      }
    }
  }

  private func tile(_ entry: PictureBook.Entry, id: String?, reference: String?) -> Markup {
    let summary = analysis.variants[entry.variant]
    let values = analysis.metrics.prefix(2).compactMap { metric in
      entry.cell.metrics[metric.name].map { "\(metric.title) \(NumberText.fixed($0, metric.decimals))" }
    }
    return Markup("figure", ["class": entry.difference == nil ? "tile single" : "tile", "id": id]) {
      Markup("div", ["class": "pair"]) {
        film(entry.film, "\(summary.name), seed \(entry.cell.seed)", reference: reference)
        if let difference = entry.difference { film(difference, "difference of \(summary.name)", reference: nil) }
      }
      Markup("figcaption") {
        summary.name
        Markup("small") { values.joined(separator: ", ") }
      }
    }
  }

  private func film(_ film: PictureBook.Film, _ label: String, reference: String?) -> Markup {
    Markup(
      "div",
      [
        "class": max(film.width, film.height) <= 128 ? "film small" : "film",
        "style": "aspect-ratio:\(film.width)/\(film.height);--frames:\(film.frames)", "data-reference": reference,
        "tabindex": reference == nil ? nil : "0", "role": reference == nil ? nil : "button",
        "aria-label": reference == nil ? nil : "Show dense in place of \(label)",
      ]
    ) { Markup("img", ["src": film.uri, "alt": label, "draggable": "false"]) }
  }
}
