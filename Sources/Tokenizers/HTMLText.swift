/// The text of a piece of HTML, as BeautifulSoup 4.15 over Python 3.11's `html.parser` sees it: comments, declarations,
/// scripts, styles, templates and ruby annotations are left out; what does not parse as markup stays text.
///
/// Where `html.parser` raises an error (`<![` without a name it knows), the markup stays text here.
struct HTMLText {
  /// Elements whose text does not count, whatever is nested in them.
  private static let silent: Set<String> = ["rp", "rt", "script", "style", "template"]
  /// Elements that never have content.
  private static let void: Set<String> = [
    "area", "base", "basefont", "bgsound", "br", "col", "command", "embed", "frame", "hr", "image", "img", "input",
    "isindex", "keygen", "link", "menuitem", "meta", "nextid", "param", "source", "spacer", "track", "wbr",
  ]

  private let text: [Unicode.Scalar]
  private var position = 0
  private var result: [Unicode.Scalar] = []
  /// Text since the last tag or comment.
  private var pending: [Unicode.Scalar] = []
  private var open: [String] = []
  private var silentDepth = 0
  /// The script or style element that ends only with its own end tag.
  private var rawElement: String?
  private var lastBracket: Int
  /// Searches that reached the end of the text in vain and would do so again: keeps the whole linear.
  private var vain: Set<String> = []

  static func extract(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    guard text.contains("<") || text.contains("&") else { return text }
    var parser = HTMLText(text)
    parser.parse(atEnd: false)
    parser.parse(atEnd: true)
    parser.flush()
    return parser.result
  }

  private init(_ text: [Unicode.Scalar]) {
    self.text = text
    lastBracket = text.lastIndex(of: ">") ?? -1
  }

  /// Goes on from `position`. The first pass stops where more input might help, the second knows there is none.
  private mutating func parse(atEnd: Bool) {
    while position < text.count {
      if let rawElement {
        guard let next = endTag(of: rawElement) else { return }
        position = next
      } else {
        let next = text.run(from: position) { $0 != "<" && $0 != "&" }
        pending += text[position..<next]
        position = next
      }
      guard position < text.count else { return }
      guard text[position] == "<" ? parseMarkup(atEnd) : parseReference(atEnd) else { break }
    }
    guard atEnd, rawElement == nil else { return }
    pending += text[position...]
    position = text.count
  }

  // MARK: References

  /// Reads from `&`. Returns whether this pass goes on.
  private mutating func parseReference(_ atEnd: Bool) -> Bool {
    if text.has("#", at: position + 1) {
      if let (end, scalars) = numericReference() {
        pending += scalars
        position = end
        return true
      }
      if text[position...].contains(";") {
        pending += ["&", "#"]
        position += 2
      }
      return false
    }
    if text.has(at: position + 1, where: \.isASCIILetter) {
      guard let end = nameEnd() else {
        if atEnd, position + 2 == text.count { position += 1 }
        return false
      }
      let name = text[(position + 1)..<end]
      pending += HTMLEntities.scalars(named: name + [";"]) ?? (["&"] + name)
      position = text.has(";", at: end) ? end + 1 : end
      return true
    }
    guard position + 1 < text.count else { return false }
    pending.append("&")
    position += 1
    return true
  }

  /// The end of the name after `&`. Something must follow it: at the end of the text that is its last `-` or `.`.
  private func nameEnd() -> Int? {
    let end = text.run(from: position + 1) { $0.isASCIILetter || $0.isASCIIDigit || $0 == "-" || $0 == "." }
    if end < text.count { return end }
    return text[(position + 2)...].lastIndex { $0 == "-" || $0 == "." }
  }

  private func numericReference() -> (Int, [Unicode.Scalar])? {
    let isHex = text.has("x", at: position + 2) || text.has("X", at: position + 2)
    let first = position + (isHex ? 3 : 2)
    let end = text.run(from: first) { isHex ? $0.isASCIIHex : $0.isASCIIDigit }
    guard end > first, end < text.count, !text[end].isASCIIHex else { return nil }
    let value = HTMLEntities.number(text[first..<end], radix: isHex ? 16 : 10)
    let scalar: Unicode.Scalar =
      HTMLEntities.windows1252[value] ?? (value == 0 ? "\u{FFFD}" : Unicode.Scalar(value) ?? "\u{FFFD}")
    return (text.has(";", at: end) ? end + 1 : end, [scalar])
  }

  // MARK: Markup

  /// Reads from `<`. Returns whether this pass goes on.
  private mutating func parseMarkup(_ atEnd: Bool) -> Bool {
    let start = position
    let end: Int?
    if text.has(at: start + 1, where: \.isASCIILetter) {
      end = parseStartTag()
    } else if text.has("/", at: start + 1) {
      end = parseEndTag()
    } else if text.end(of: "<!--", at: start) != nil {
      end = closing("--", from: start + 4)
      if end != nil { flush() }
    } else if text.has("?", at: start + 1) {
      end = bracket(from: start + 2)
      if end != nil { flush() }
    } else if text.has("!", at: start + 1) {
      end = parseDeclaration()
    } else if start + 1 < text.count {
      pending.append("<")
      end = start + 1
    } else {
      return false
    }
    if let end {
      position = end
      return true
    }
    guard atEnd else { return false }
    let stop = bracket(from: start + 1) ?? text[(start + 1)...].firstIndex(of: "<") ?? start + 1
    pending += text[start..<stop]
    position = stop
    return true
  }

  /// The end of the next `>`.
  private func bracket(from index: Int) -> Int? {
    guard index <= lastBracket else { return nil }
    return text[index...].firstIndex(of: ">").map { $0 + 1 }
  }

  /// The end of the next `mark`, spaces, `>`.
  private mutating func closing(_ mark: StaticString, from start: Int) -> Int? {
    guard start <= lastBracket, !vain.contains(mark.description) else { return nil }
    var index = start
    while index < text.count {
      if let after = text.end(of: mark, at: index) {
        let bracket = text.run(from: after, while: PythonText.isSpace)
        if text.has(">", at: bracket) { return bracket + 1 }
        if bracket > after {
          index = bracket
          continue
        }
      }
      index += 1
    }
    vain.insert(mark.description)
    return nil
  }

  private mutating func parseDeclaration() -> Int? {
    guard text.has("[", at: position + 2) else {
      // A document type or a bogus comment: up to the next bracket.
      let isDoctype = [Unicode.Scalar](text[position...].prefix(9)).string.lowercased() == "<!doctype"
      let end = bracket(from: position + (isDoctype ? 9 : 2))
      if end != nil { flush() }
      return end
    }
    let nameEnd = text.run(from: position + 3) {
      $0.isASCIILetter || $0.isASCIIDigit || "-_.".unicodeScalars.contains($0)
    }
    let name = [Unicode.Scalar](text[min(position + 3, text.count)..<nameEnd]).string.lowercased()
    guard ["cdata", "temp", "ignore", "include", "rcdata", "if", "else", "endif"].contains(name) else {
      pending.append("<")
      return position + 1
    }
    let isOffice = ["if", "else", "endif"].contains(name)
    guard let end = isOffice ? closing("]", from: position + 3) : closing("]]", from: position + 3) else { return nil }
    flush()
    if name == "cdata", text.has("[", at: nameEnd) {
      let content = text[(nameEnd + 1)..<end].dropLast()
      pending += content.reversed().drop { $0 == "]" || PythonText.isSpace($0) }.reversed()
      flush()
    }
    return end
  }

  private mutating func parseStartTag() -> Int? {
    guard position <= lastBracket || !vain.contains("<") else { return nil }
    guard let (end, isSelfClosing) = TagScanner(text).startTag(at: position) else {
      vain.insert("<")
      return nil
    }
    guard text[end - 1] == ">" else {
      pending += text[position..<end]
      return end
    }
    flush()
    let name = tagName(from: position + 1)
    if !isSelfClosing, !Self.void.contains(name) {
      open.append(name)
      if Self.silent.contains(name) { silentDepth += 1 }
      if name == "script" || name == "style" { rawElement = name }
    }
    return end
  }

  private mutating func parseEndTag() -> Int? {
    guard let end = bracket(from: position + 1) else { return nil }
    let nameStart = text.run(from: position + 2, while: PythonText.isSpace)
    let mayHaveSpace = rawElement != nil || isBare(nameStart)
    guard text.has(at: nameStart, where: \.isASCIILetter), nameStart == position + 2 || mayHaveSpace else {
      if end > position + 3 { flush() }
      return end
    }
    let isWhole = isBare(nameStart)
    let name = isWhole ? bareName(nameStart) : tagName(from: nameStart)
    if let rawElement, !isWhole || name != rawElement {
      pending += text[position..<end]
      return end
    }
    flush()
    close(name)
    rawElement = nil
    return end
  }

  /// Whether only a plain name and spaces come before the bracket.
  private func isBare(_ start: Int) -> Bool {
    text.has(">", at: text.run(from: bareEnd(start), while: PythonText.isSpace))
  }

  private func bareEnd(_ start: Int) -> Int {
    text.run(from: start) { $0.isASCIILetter || $0.isASCIIDigit || "-.:_".unicodeScalars.contains($0) }
  }

  private func bareName(_ start: Int) -> String { [Unicode.Scalar](text[start..<bareEnd(start)]).string.lowercased() }

  private func tagName(from start: Int) -> String {
    [Unicode.Scalar](text[start..<text.run(from: start, while: TagScanner.isName)]).string.lowercased()
  }

  private func endTag(of element: String) -> Int? {
    var index = position
    while index < text.count {
      if text.has("<", at: index), text.has("/", at: index + 1) {
        let name = text.run(from: index + 2, while: PythonText.isSpace)
        if isBare(name), bareName(name) == element { return index }
      }
      index += 1
    }
    return nil
  }

  // MARK: Elements

  private mutating func close(_ name: String) {
    guard open.contains(name) else { return }
    while let last = open.popLast() {
      if Self.silent.contains(last) { silentDepth -= 1 }
      if last == name { return }
    }
  }

  /// Ends a stretch of text. One of spaces only shrinks to a single space or line break.
  private mutating func flush() {
    defer { pending.removeAll(keepingCapacity: true) }
    guard silentDepth == 0, !pending.isEmpty else { return }
    if pending.allSatisfy({ " \t\n\r\u{C}".unicodeScalars.contains($0) }) {
      result.append(pending.contains("\n") ? "\n" : " ")
    } else {
      result += pending
    }
  }
}

/// Finds the end of a start tag with its attributes, forgiving as `html.parser` is.
struct TagScanner {
  private let text: [Unicode.Scalar]

  init(_ text: [Unicode.Scalar]) { self.text = text }

  static func isName(_ scalar: Unicode.Scalar) -> Bool { !"\t\n\r\u{C} />\0".unicodeScalars.contains(scalar) }

  /// The end of the tag at `start`, beyond its `>` if it has one; nil if the text ends first.
  func startTag(at start: Int) -> (end: Int, isSelfClosing: Bool)? {
    var index = text.run(from: start + 1, while: Self.isName)
    var closesItself = false
    while true {
      let gap = text.run(from: index) { PythonText.isSpace($0) || $0 == "/" }
      closesItself = gap > index ? text.has("/", at: gap - 1) : closesItself
      index = gap
      let previous = text[index - 1]
      let mayStart = "'\"/".unicodeScalars.contains(previous) || PythonText.isSpace(previous)
      guard mayStart, text.has(at: index, where: { !PythonText.isSpace($0) && $0 != "/" && $0 != ">" }) else { break }
      index = text.run(from: index + 1) { !PythonText.isSpace($0) && !"/=>".unicodeScalars.contains($0) }
      index = value(after: index)
      closesItself = false
    }
    guard index < text.count else { return nil }
    if text[index] == ">" { return (index + 1, closesItself) }
    if text[index].isASCIILetter || text[index] == "=" { return nil }
    return (index, false)
  }

  /// The end of `= value` if there is one after an attribute name.
  private func value(after name: Int) -> Int {
    let equals = text.run(from: name, while: PythonText.isSpace)
    let afterEquals = text.run(from: equals) { $0 == "=" }
    guard afterEquals > equals else { return name }
    let start = text.run(from: afterEquals, while: PythonText.isSpace)
    guard text.has("'", at: start) || text.has("\"", at: start) else { return bare(start) }
    if let end = text[(start + 1)...].firstIndex(of: text[start]) { return end + 1 }
    // The quotation never ends: what comes before it is the value.
    if start > afterEquals { return afterEquals }
    return afterEquals - equals > 1 ? bare(afterEquals - 1) : name
  }

  private func bare(_ start: Int) -> Int { text.run(from: start) { $0 != ">" && !PythonText.isSpace($0) } }
}
