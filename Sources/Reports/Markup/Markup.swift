/// A piece of HTML or SVG that is well formed and escaped by construction: text enters through ``init(text:)`` or as an
/// attribute's value, names of elements and attributes are literals, and every element that opens closes.
struct Markup: Sendable, Hashable {
  private(set) var source: String

  /// Nothing.
  init() { source = "" }

  /// Text, as it is to be read.
  init(text: String) { source = Self.escaped(text) }

  /// An element.
  /// - Parameters:
  ///   - attributes: written in order; those with `nil` are left out, those with `""` are written all the same.
  ///   - content: what the element holds. Elements that can hold nothing, such as `img`, must have none.
  init(
    _ name: StaticString, _ attributes: KeyValuePairs<StaticString, String?> = [:],
    @MarkupBuilder _ content: () -> Markup = { Markup() }
  ) {
    let name = name.description, content = content()
    source = "<" + name
    for case (let key, let value?) in attributes {
      source += " " + key.description + "=\"" + Self.escaped(value) + "\""
    }
    if Self.isVoid.contains(name) {
      precondition(content.source.isEmpty, "<\(name)> with content")
      source += " />"
    } else {
      source += ">" + content.source + "</" + name + ">"
    }
  }

  init(_ parts: [Markup]) { source = parts.map(\.source).joined() }

  /// The page's own style sheet or script, which are not escaped.
  static func code(_ name: StaticString, _ text: String) -> Markup {
    precondition(!text.contains("</"), "code that would end its element")
    var markup = Markup()
    markup.source = "<\(name)>\n\(text)\n</\(name)>"
    return markup
  }

  static func + (a: Markup, b: Markup) -> Markup { Markup([a, b]) }
  static func += (a: inout Markup, b: Markup) { a.source += b.source }

  var isEmpty: Bool { source.isEmpty }

  /// A whole page in a language.
  func page(language: String) -> String {
    let opening = "<!DOCTYPE html>\n<html lang=\"" + Self.escaped(language) + "\">\n"
    return opening + source + "\n</html>\n"
  }

  private static let isVoid: Set<String> = [
    "br", "hr", "img", "link", "input", "meta", "col", "line", "polyline", "polygon", "rect", "circle", "image",
  ]

  /// Control characters are not allowed in HTML and XML; they become U+FFFD.
  private static func escaped(_ text: String) -> String {
    // Most of a page is pictures in base64 and numbers, which are as they are.
    let isPlain = text.utf8.allSatisfy { byte in
      byte >= 0x20 && byte < 0x7f && byte != 0x22 && byte != 0x26 && byte != 0x27 && byte != 0x3c && byte != 0x3e
    }
    if isPlain { return text }
    var result = ""
    result.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      case "\t", "\n": result.unicodeScalars.append(scalar)
      case "\u{0}"..."\u{1f}", "\u{7f}"..."\u{9f}", "\u{fffe}", "\u{ffff}": result += "\u{fffd}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}

/// Lists of elements and texts as they are written down.
@resultBuilder enum MarkupBuilder {
  static func buildExpression(_ markup: Markup) -> Markup { markup }
  static func buildExpression(_ text: String) -> Markup { Markup(text: text) }
  static func buildExpression(_ parts: [Markup]) -> Markup { Markup(parts) }
  static func buildBlock(_ parts: Markup...) -> Markup { Markup(parts) }
  static func buildOptional(_ part: Markup?) -> Markup { part ?? Markup() }
  static func buildEither(first: Markup) -> Markup { first }
  static func buildEither(second: Markup) -> Markup { second }
  static func buildArray(_ parts: [Markup]) -> Markup { Markup(parts) }
}
