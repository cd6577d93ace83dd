import Foundation

/// The repairs of the Python package ftfy 6.3 that can change a lower-cased caption: character references, control
/// characters of Latin-1 read as Windows-1252, ligatures, full and half width, curly quotes, line breaks, terminal
/// escapes, control characters, and Unicode normal form C.
///
/// Not done: mojibake, i.e. UTF-8 that someone decoded as a one-byte encoding ("Ã©" for "é"). Captions come here in
/// lower case and without `™`, dashes and single curly quotes, which has already broken most of it ("ã©", "â€ "); what
/// ftfy could still repair, such as "â€œ" for a quotation mark, stays as typed. So do references in capitals (`&EACUTE;`).
enum TextRepair {
  /// The repaired text, each line on its own.
  static func fix(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    var result: [Unicode.Scalar] = []
    var start = 0, resolvesReferences = true
    while start < text.count {
      let end = Swift.min(text.run(from: start) { $0 != "\n" } + 1, text.count)
      let line = Array(text[start..<end])
      // A line that looks like markup, and all after it, keep their references.
      if line.contains("<") { resolvesReferences = false }
      result += fixLine(line, resolvesReferences)
      start = end
    }
    return result
  }

  private static func fixLine(_ line: [Unicode.Scalar], _ resolvesReferences: Bool) -> [Unicode.Scalar] {
    var text = line
    // Each round resolves one level of references. The bound is for captions that nest them without end.
    for _ in 0..<64 {
      let before = text
      if resolvesReferences { text = resolveReferences(text) }
      text = text.flatMap(replacement)
      text = text.replacing { index in
        guard text[index] == "\r" else { return nil }
        return (text.has("\n", at: index + 1) ? index + 2 : index + 1, ["\n"])
      }
      text = text.replacing(with: "") { index in
        guard text[index] == "\u{1B}", text.has("[", at: index + 1) else { return nil }
        let end = text.run(from: index + 2) { PythonText.isDigit($0) || $0 == ";" }
        return text.has(at: end, where: \.isASCIILetter) ? end + 1 : nil
      }
      text.removeAll(where: isUnwantedControl)
      text = [Unicode.Scalar](text.string.precomposedStringWithCanonicalMapping)
      if text == before { break }
    }
    return text
  }

  /// Unlike `HTMLEntities.unescape`, only what a semicolon ends.
  private static func resolveReferences(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    text.replacing { index in
      guard text[index] == "&" else { return nil }
      let first = text.has("#", at: index + 1) ? index + 2 : index + 1
      let end = text.run(from: first, limit: 24) { $0.isASCIIDigit || $0.isASCIILetter }
      guard end > first, text.has(";", at: end) else { return nil }
      let reference = text[index...end]
      if first == index + 1 {
        return (end + 1, HTMLEntities.scalars(named: reference.dropFirst()) ?? Array(reference))
      }
      let resolved = HTMLEntities.unescape(Array(reference))
      return (end + 1, resolved.contains(";") ? Array(reference) : resolved)
    }
  }

  private static func replacement(_ scalar: Unicode.Scalar) -> [Unicode.Scalar] {
    guard scalar.value >= 0x80 else { return [scalar] }
    switch scalar.value {
    case 0x80...0x9F:
      let meant = HTMLEntities.windows1252[scalar.value] ?? scalar
      return meant == scalar ? (scalar == "\u{85}" ? ["\n"] : [scalar]) : replacement(meant)
    case 0x2BC, 0x2018...0x201B: return ["'"]
    case 0x201C...0x201F: return ["\""]
    case 0x2028, 0x2029: return ["\n"]
    case 0x3000: return [" "]
    case 0x149: return ["'", "n"]
    case 0xFB05: return ["\u{17F}", "t"]
    case 0x132, 0x133, 0x1C4...0x1CC, 0x1F1...0x1F3, 0xFB00...0xFB06, 0xFF01...0xFFEF:
      return [Unicode.Scalar](String(Character(scalar)).precomposedStringWithCompatibilityMapping)
    default: return [scalar]
    }
  }

  private static func isUnwantedControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x00...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x206A...0x206F, 0xFEFF, 0xFFF9...0xFFFC: true
    default: false
    }
  }
}
