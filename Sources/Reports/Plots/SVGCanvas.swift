import Foundation
import Media

/// Draws SVG: for a page, with classes that the page's style sheet colours, or for a file of its own.
public struct SVGCanvas: Canvas {
  public enum Use: Sendable { case page, file }

  private let use: Use
  private let width: Double, height: Double
  private var parts: [Markup] = []

  public init(width: Double, height: Double, use: Use) { (self.width, self.height, self.use) = (width, height, use) }

  /// What was drawn, as a part of a page.
  /// - Parameter label: what readers who do not see it are told.
  func markup(label: String) -> Markup {
    Markup("svg", ["viewBox": "0 0 \(number(width)) \(number(height))", "role": "img", "aria-label": label]) { parts }
  }

  /// What was drawn, as a file.
  func file() -> String {
    let size =
      "width=\"\(number(width))\" height=\"\(number(height))\" viewBox=\"0 0 \(number(width)) \(number(height))\""
    let fonts = "font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\""
    return "<svg xmlns=\"http://www.w3.org/2000/svg\" \(size) \(fonts)>\n"
      + parts.map(\.source).joined(separator: "\n") + "\n</svg>\n"
  }

  // MARK: Canvas

  public mutating func rectangle(_ box: Box, fill: Ink, opacity: Double) {
    parts.append(
      Markup(
        "rect",
        [
          "x": number(box.x), "y": number(box.y), "width": number(box.width), "height": number(box.height),
          "fill": color(fill), "class": name(fill), "fill-opacity": share(opacity),
        ]))
  }

  public mutating func polyline(_ points: [SIMD2<Double>], _ stroke: Stroke) {
    guard points.count > 1 else { return }
    parts.append(
      Markup(
        "polyline",
        [
          "points": list(points), "fill": "none", "stroke": color(stroke.ink), "class": name(stroke.ink),
          "stroke-width": number(stroke.width), "stroke-opacity": share(stroke.opacity), "stroke-linejoin": "round",
          "stroke-dasharray": stroke.dashes.isEmpty ? nil : stroke.dashes.map(number).joined(separator: " "),
        ]))
  }

  public mutating func marker(
    _ shape: MarkerShape, center: SIMD2<Double>, radius: Double, fill: Ink, outline: Stroke, title: String?
  ) {
    let corners = shape.corners.map { center + $0 * radius }
    // Fill and outline may differ in colour: on a page the outline has the element's class and the fill a variable's.
    let isOne = fill == outline.ink
    parts.append(
      Markup("g", ["class": title == nil ? nil : "point"]) {
        Markup(
          "path",
          [
            "d": "M" + list(corners) + "Z",
            "fill": isOne ? color(fill) : use == .page ? "var(--\(fill.className))" : color(fill),
            "stroke": color(outline.ink), "class": name(outline.ink), "stroke-width": number(outline.width),
          ])
        if let title { Markup("title") { title } }
      })
  }

  public mutating func text(
    _ text: String, baseline: SIMD2<Double>, anchor: TextAnchor, style: TextStyle, ink: Ink
  ) {
    let anchors: [TextAnchor: String] = [.middle: "middle", .end: "end"]
    parts.append(
      Markup(
        "text",
        [
          "x": number(baseline.x), "y": number(baseline.y), "font-size": number(style.size),
          "font-weight": style == .title ? "600" : nil, "text-anchor": anchors[anchor], "fill": color(ink),
          "class": name(ink),
        ]
      ) { text })
  }

  public mutating func picture(_ frame: Frame, in box: Box) throws {
    parts.append(
      Markup(
        "image",
        [
          "x": number(box.x), "y": number(box.y), "width": number(box.width), "height": number(box.height),
          "preserveAspectRatio": "none", "style": "image-rendering:pixelated",
          "href": DataURI.png(try PNGFile.encode(frame)),
        ]))
  }

  // MARK: Spelling

  private func color(_ ink: Ink) -> String {
    guard use == .file else { return "currentColor" }
    let digits = String(ink.colors.light, radix: 16)
    return "#" + String(repeating: "0", count: 6 - digits.count) + digits
  }

  private func name(_ ink: Ink) -> String? { use == .page ? "ink-" + ink.className : nil }
  private func share(_ opacity: Double) -> String? { opacity == 1 ? nil : NumberText.fixed(opacity, 2) }
  private func list(_ points: [SIMD2<Double>]) -> String {
    points.map { "\(number($0.x)),\(number($0.y))" }.joined(separator: " ")
  }
  private func number(_ value: Double) -> String { NumberText.exact((value * 100).rounded() / 100) }
}

/// Files inside a page.
enum DataURI {
  static func png(_ bytes: [UInt8]) -> String { "data:image/png;base64," + Data(bytes).base64EncodedString() }
}
