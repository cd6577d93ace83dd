/// Python's notions of text, which the model's captions were prepared with. Swift's and ICU's differ in the details.
enum PythonText {
  /// `str.isspace`, also `\s` in `re`.
  static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
    default: false
    }
  }

  /// `\w` in `re`: `str.isalnum` or an underscore.
  static func isWord(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.value < 0x80 {
      return switch scalar {
      case "a"..."z", "A"..."Z", "0"..."9", "_": true
      default: false
      }
    }
    return switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .decimalNumber,
      .letterNumber, .otherNumber:
      true
    default: false
    }
  }

  /// `\d` in `re`.
  static func isDigit(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x80 ? ("0"..."9").contains(scalar) : scalar.properties.generalCategory == .decimalNumber
  }

  /// `str.strip()`.
  static func strip(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    guard let first = text.firstIndex(where: { !isSpace($0) }), let last = text.lastIndex(where: { !isSpace($0) })
    else { return [] }
    return Array(text[first...last])
  }

  /// `str.lower()`: full case mapping, with the final form of sigma at the end of a word.
  static func lower(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    var result: [Unicode.Scalar] = []
    result.reserveCapacity(text.count)
    for (index, scalar) in text.enumerated() {
      if scalar == "\u{3A3}" {
        result.append(isFinalSigma(text, index) ? "\u{3C2}" : "\u{3C3}")
      } else if scalar.value < 0x80 {
        result.append(("A"..."Z").contains(scalar) ? Unicode.Scalar(UInt8(scalar.value) + 32) : scalar)
      } else {
        result += scalar.properties.lowercaseMapping.unicodeScalars
      }
    }
    return result
  }

  private static func isFinalSigma(_ text: [Unicode.Scalar], _ index: Int) -> Bool {
    func firstCounted(_ scalars: some Sequence<Unicode.Scalar>) -> Bool {
      scalars.first { !$0.properties.isCaseIgnorable }?.properties.isCased ?? false
    }
    return firstCounted(text[..<index].reversed()) && !firstCounted(text[(index + 1)...])
  }
}
