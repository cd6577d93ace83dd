/// What all pages share: one file, which asks nothing of any other file or host and forbids itself to.
struct Page {
  var title: String
  /// Below the title.
  var subtitle: Markup
  /// Parts with the name that the list at the top has for them; empty ones are left out.
  var sections: [Section]
  var footer: String

  struct Section {
    /// Of the link to it.
    var id: String
    var name: String
    /// `nil` where there is nothing to show.
    var content: Markup?

    init(_ id: String, _ name: String, _ content: Markup?) { (self.id, self.name, self.content) = (id, name, content) }
  }

  var html: String {
    let shown = sections.filter { $0.content != nil }
    let head = Markup("head") {
      Markup("meta", ["charset": "utf-8"])
      Markup("meta", ["http-equiv": "Content-Security-Policy", "content": Self.policy])
      Markup("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"])
      Markup("title") { title }
      // Or browsers ask the host for one.
      Markup("link", ["rel": "icon", "href": "data:,"])
      Markup.code("style", PageStyle.sheet)
    }
    let body = Markup("body") {
      Markup("header") {
        Markup("h1") { title }
        subtitle
      }
      Markup("nav", ["aria-label": "Contents"]) {
        Markup("ul") {
          shown.map { section in Markup("li") { Markup("a", ["href": "#" + section.id]) { section.name } } }
        }
      }
      Markup("main") {
        shown.map { section in
          Markup("section", ["id": section.id]) {
            Markup("h2") { section.name }
            section.content ?? Markup()
          }
        }
      }
      Markup("footer") { Markup("p") { footer } }
      Markup.code("script", PageScript.code)
    }
    return (head + body).page(language: "en")
  }

  /// What the page itself does not ask for, nothing that slips into it may ask for.
  private static let policy =
    ["connect", "font", "media", "object", "frame", "worker", "manifest"].map { "\($0)-src 'none'; " }
    .joined() + "img-src data:; base-uri 'none'; form-action 'none'"
}

extension Markup {
  static func paragraph(_ text: String, class name: String? = nil) -> Markup {
    Markup("p", ["class": name]) { text }
  }

  /// Text that strangers wrote: its direction stays its own.
  static func foreign(_ text: String) -> Markup { Markup("bdi") { text } }

  static func badge(_ text: String, _ kind: String? = nil) -> Markup {
    Markup("span", ["class": kind.map { "badge " + $0 } ?? "badge"]) { text }
  }

  /// Tabs that need no script. With one, only its content; with more than the style sheet knows, one below the other.
  /// - Parameter name: of the group, not used twice on a page.
  static func tabs(_ name: String, _ tabs: [(label: String, content: Markup)]) -> Markup {
    guard tabs.count > 1 else { return tabs.first?.content ?? Markup() }
    guard tabs.count <= 12 else { return Markup(tabs.map { tab in Markup("h3") { tab.label } + tab.content }) }
    let switches = tabs.enumerated().map { index, tab in
      Markup("input", ["type": "radio", "name": name, "id": "\(name)-\(index)", "checked": index == 0 ? "" : nil])
        + Markup("label", ["for": "\(name)-\(index)"]) { tab.label }
    }
    return Markup("div", ["class": "tabs"]) {
      switches
      tabs.map { tab in Markup("div", ["class": "panel"]) { tab.content } }
    }
  }

  /// Plots beside each other, each below its name.
  static func plots(_ plots: [(name: String, plot: any Plot)]) throws -> Markup {
    let figures = try plots.map { name, plot in
      let drawing = try plot.markup()
      return Markup("figure") {
        Markup("figcaption") { name }
        drawing
      }
    }
    return Markup("div", ["class": "plots"]) { figures }
  }

  static func legend(_ entries: [LegendEntry]) -> Markup {
    Markup("ul", ["class": "legend"]) {
      entries.map { entry in
        Markup("li") {
          entry.swatch
          entry.name
        }
      }
    }
  }

  /// A table in a box of its own, which scrolls where the page is narrow.
  static func scrolling(_ label: String, _ table: Markup) -> Markup {
    Markup("div", ["class": "box", "role": "region", "aria-label": label, "tabindex": "0"]) { table }
  }
}

extension LegendEntry {
  var swatch: Markup {
    var canvas = SVGCanvas(width: 26, height: 14, use: .page)
    draw(on: &canvas, at: [13, 7])
    return Markup("span", ["class": "swatch"]) { canvas.markup(label: "") }
  }
}
