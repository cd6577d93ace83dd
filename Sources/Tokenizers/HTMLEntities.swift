/// Named and numeric character references of HTML 5.
enum HTMLEntities {
  /// Names without `&`, with the `;` where it is part of the name, as in Python's `html.entities.html5`.
  private static let named: [String: [Unicode.Scalar]] = {
    var result: [String: [Unicode.Scalar]] = [:]
    for item in table.split(whereSeparator: \.isWhitespace) {
      let sides = item.split(separator: "=", maxSplits: 1)
      guard sides.count == 2 else { continue }
      let scalars = sides[1].split(separator: "+").compactMap { UInt32($0, radix: 16).flatMap(Unicode.Scalar.init) }
      result[sides[0].hasSuffix("!") ? String(sides[0].dropLast()) : sides[0] + ";"] = scalars
    }
    return result
  }()

  /// What Windows-1252 has where Latin-1 has control characters.
  static let windows1252: [UInt32: Unicode.Scalar] = [
    0x80: "\u{20AC}", 0x82: "\u{201A}", 0x83: "\u{192}", 0x84: "\u{201E}", 0x85: "\u{2026}", 0x86: "\u{2020}",
    0x87: "\u{2021}", 0x88: "\u{2C6}", 0x89: "\u{2030}", 0x8A: "\u{160}", 0x8B: "\u{2039}", 0x8C: "\u{152}",
    0x8E: "\u{17D}", 0x91: "\u{2018}", 0x92: "\u{2019}", 0x93: "\u{201C}", 0x94: "\u{201D}", 0x95: "\u{2022}",
    0x96: "\u{2013}", 0x97: "\u{2014}", 0x98: "\u{2DC}", 0x99: "\u{2122}", 0x9A: "\u{161}", 0x9B: "\u{203A}",
    0x9C: "\u{153}", 0x9E: "\u{17E}", 0x9F: "\u{178}",
  ]

  /// The scalars of a name exactly as the standard lists it.
  static func scalars(named name: some Sequence<Unicode.Scalar>) -> [Unicode.Scalar]? {
    var text = ""
    text.unicodeScalars.append(contentsOf: name)
    return named[text]
  }

  /// All references resolved, those without a semicolon too: Python's `html.unescape`.
  static func unescape(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    guard text.contains("&") else { return text }
    return text.replacing { index in
      guard text[index] == "&" else { return nil }
      if text.has("#", at: index + 1) { return numeric(text, index) }
      var end = text.run(from: index + 1, limit: 32) { !"\t\n\u{C} <&#;".unicodeScalars.contains($0) }
      guard end > index + 1 else { return nil }
      if text.has(";", at: end) { end += 1 }
      let name = text[(index + 1)..<end]
      for length in stride(from: name.count, to: 1, by: -1) {
        if let scalars = scalars(named: name.prefix(length)) { return (end, scalars + name.dropFirst(length)) }
      }
      return (end, Array(text[index..<end]))
    }
  }

  /// A numeric reference at `&#`, resolved by the rules for parse errors.
  private static func numeric(_ text: [Unicode.Scalar], _ start: Int) -> (end: Int, with: [Unicode.Scalar])? {
    let isHex = text.has("x", at: start + 2) || text.has("X", at: start + 2)
    let first = start + (isHex ? 3 : 2)
    let end = text.run(from: first) { isHex ? $0.isASCIIHex : $0.isASCIIDigit }
    guard end > first else { return nil }
    let after = text.has(";", at: end) ? end + 1 : end
    return (after, resolve(number(text[first..<end], radix: isHex ? 16 : 10)))
  }

  /// The value of digits, or something beyond Unicode if it is large.
  static func number(_ digits: ArraySlice<Unicode.Scalar>, radix: UInt32) -> UInt32 {
    digits.reduce(0) { min($0 * radix + UInt32(Character($1).hexDigitValue ?? 0), 0x11_0000) }
  }

  private static func resolve(_ value: UInt32) -> [Unicode.Scalar] {
    if value == 0x0D || (0x80...0x9F).contains(value) {
      return (windows1252[value] ?? Unicode.Scalar(value)).map { [$0] } ?? []
    }
    guard value != 0, let scalar = Unicode.Scalar(value) else { return ["\u{FFFD}"] }
    switch value {
    case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0xFDD0...0xFDEF: return []
    default: return value & 0xFFFE == 0xFFFE ? [] : [scalar]
    }
  }
}
