import Foundation
import Testing

/// What every page must be, found by reading it as a browser would, roughly.
struct PageChecks {
  /// Elements that end where they begin.
  private static let empty: Set<String> = [
    "meta", "link", "img", "input", "br", "hr", "rect", "polyline", "image",
  ]

  /// Names of elements, attributes' values by name, and texts.
  private(set) var elements: [String] = []
  private(set) var attributes: [(element: String, name: String, value: String)] = []
  private(set) var texts: [String] = []
  private(set) var problems: [String] = []

  /// - Parameter isPage: else a file of XML.
  init(_ source: String, isPage: Bool = true) { read(Array(source.utf8)[...], isPage) }

  private mutating func read(_ source: ArraySlice<UInt8>, _ isPage: Bool) {
    var open: [String] = [], rest = source
    let doctype = Array("<!DOCTYPE html>".utf8)
    if isPage {
      if !rest.starts(with: doctype) { problems.append("no doctype") }
      rest = rest.dropFirst(doctype.count)
    }
    while let start = rest.firstIndex(of: UInt8(ascii: "<")) {
      add(text: rest[..<start])
      guard let end = rest[start...].firstIndex(of: UInt8(ascii: ">")) else {
        problems.append("a tag that never ends")
        return
      }
      let tag = String(decoding: rest[(start + 1)..<end], as: UTF8.self)
      rest = rest[(end + 1)...]
      guard !tag.hasPrefix("/") else {
        if open.popLast() != String(tag.dropFirst()) { problems.append("<\(tag)> ends nothing") }
        continue
      }
      let isClosed = tag.hasSuffix("/")
      let name = addElement(isClosed ? tag.dropLast() : Substring(tag))
      if isClosed != Self.empty.contains(name) { problems.append("<\(tag.prefix(60))> and its end") }
      if isClosed { continue }
      open.append(name)
      if name == "style" || name == "script" {
        let ending = Array("</\(name)>".utf8)
        rest = rest[(rest.indices.first { rest[$0...].starts(with: ending) } ?? rest.endIndex)...]
      }
    }
    add(text: rest)
    if !open.isEmpty { problems.append("never closed: \(open)") }
  }

  /// Takes apart `name key="value" key="value"`.
  private mutating func addElement(_ tag: Substring) -> String {
    let parts = tag.split(separator: "\"", omittingEmptySubsequences: false)
    var words = parts[0].split(separator: " ")
    let name = words.isEmpty ? "" : String(words.removeFirst())
    if name.isEmpty || !name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber) }) {
      problems.append("no name: \(tag.prefix(60))")
    }
    elements.append(name)
    for index in stride(from: 0, to: parts.count - 1, by: 2) {
      let key = index == 0 ? words.joined(separator: " ") : parts[index].trimmingCharacters(in: .whitespaces)
      if key.last != "=" || !key.dropLast().allSatisfy({ $0.isLetter || "-:".contains($0) }) || parts.count % 2 == 0 {
        problems.append("no attribute: \(key) in \(tag.prefix(60))")
      }
      attributes.append((name, String(key.dropLast()), String(parts[index + 1])))
    }
    if parts.count == 1, !words.isEmpty { problems.append("no value: \(tag.prefix(60))") }
    return name
  }

  private mutating func add(text bytes: ArraySlice<UInt8>) {
    let text = String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    guard !text.isEmpty else { return }
    texts.append(text)
    let entities = ["amp;", "lt;", "gt;", "quot;", "#39;"]
    let isEscaped = text.split(separator: "&", omittingEmptySubsequences: false).dropFirst()
      .allSatisfy { part in entities.contains { part.hasPrefix($0) } }
    if text.contains(">") || !isEscaped { problems.append("raw text: \(text.prefix(60))") }
  }

  /// What the page reads as.
  var text: String { texts.joined(separator: " ") }

  /// Values of an attribute, of any element.
  func values(_ name: String) -> [String] { attributes.filter { $0.name == name }.map(\.value) }

  /// Expects a page that is well formed and asks nothing of anyone.
  func expectSelfContained(_ source: String, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(problems == [], sourceLocation: sourceLocation)
    #expect(values("src").allSatisfy { $0.hasPrefix("data:image/png;base64,") }, sourceLocation: sourceLocation)
    #expect(
      values("href").allSatisfy { $0.hasPrefix("#") || $0.hasPrefix("data:") }, sourceLocation: sourceLocation)
    for word in ["http:", "https:", "//cdn", "@import", "url(", "fetch(", "XMLHttpRequest", "srcset", "file:"] {
      #expect(!source.contains(word), "\(word)", sourceLocation: sourceLocation)
    }
    #expect(!attributes.contains { $0.name.hasPrefix("on") }, sourceLocation: sourceLocation)
    let ids = values("id")
    #expect(Set(ids).count == ids.count, "ids twice", sourceLocation: sourceLocation)
    for word in ["nan", "NaN", "Optional(", "Infinity"] {
      #expect(!text.contains(word), "\(word) in the text", sourceLocation: sourceLocation)
    }
    let numbers = attributes.filter { ["x", "y", "width", "height", "points", "d"].contains($0.name) }
    #expect(
      numbers.allSatisfy { !$0.value.contains("inf") && !$0.value.contains("-,") && $0.value != "-" },
      sourceLocation: sourceLocation)
  }
}
