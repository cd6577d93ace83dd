/// SentencePiece's normalization table: a Darts double-array trie from character sequences to replacements.
///
/// Applied as the `tokenizers` library of transformers 5 does, which differs from SentencePiece: a grapheme shorter than
/// six bytes whose first bytes are in the table is replaced as a whole by the *shortest* match, its combining marks
/// included; otherwise each of its scalars is looked up on its own.
struct PrecompiledCharsmap: Sendable {
  private let units: [UInt32]
  private let replacements: [UInt8]

  /// - Parameter bytes: the table's size in bytes (32-bit little endian), the table, then zero-terminated replacements.
  init(_ bytes: [UInt8], path: String) throws {
    func word(_ index: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(bytes[index + $1]) << (8 * UInt32($1)) } }
    guard bytes.count >= 8 else {
      throw TokenizerError.malformed(
        path: path, expected: "a normalization table of 8 bytes or more", found: "\(bytes.count) bytes")
    }
    let size = Int(word(0))
    guard size >= 4, size % 4 == 0, size <= bytes.count - 4 else {
      throw TokenizerError.malformed(
        path: path, expected: "a normalization trie that fits its \(bytes.count) bytes", found: "a size of \(size)")
    }
    units = stride(from: 4, to: 4 + size, by: 4).map(word)
    replacements = Array(bytes[(4 + size)...])
    guard String(validating: replacements, as: UTF8.self) != nil else {
      throw TokenizerError.malformed(path: path, expected: "normalization results in UTF-8", found: "other bytes")
    }
  }

  /// The normalized text.
  func normalize(_ text: String) -> String {
    var result = String.UnicodeScalarView()
    for grapheme in text {
      if grapheme.utf8.count < 6, let replacement = replacement(for: grapheme.utf8) {
        result.append(contentsOf: replacement.unicodeScalars)
        continue
      }
      for scalar in grapheme.unicodeScalars {
        if let replacement = replacement(for: UTF8.encode(scalar)!) {
          result.append(contentsOf: replacement.unicodeScalars)
        } else {
          result.append(scalar)
        }
      }
    }
    return String(result)
  }

  /// The replacement for the shortest start of `key` that is in the table.
  private func replacement(for key: some Sequence<UInt8>) -> String? {
    guard let first = units.first else { return nil }
    var position = Self.offset(first)
    for byte in key {
      if byte == 0 { return nil }
      position ^= Int(byte)
      guard position < units.count else { return nil }
      let unit = units[position]
      guard unit & 0x8000_00FF == UInt32(byte) else { return nil }
      position ^= Self.offset(unit)
      if unit >> 8 & 1 == 1 {
        guard position < units.count else { return nil }
        return text(at: Int(units[position] & 0x7FFF_FFFF))
      }
    }
    return nil
  }

  private static func offset(_ unit: UInt32) -> Int { Int(unit >> 10) << Int((unit & 1 << 9) >> 6) }

  private func text(at start: Int) -> String? {
    guard start < replacements.count else { return nil }
    return String(validating: replacements[start...].prefix { $0 != 0 }, as: UTF8.self)
  }
}
