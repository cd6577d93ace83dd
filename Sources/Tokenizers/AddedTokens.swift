/// A token matched verbatim in the text, before any segmentation.
struct AddedToken: Sendable, Equatable {
  var content: String
  /// Whether whitespace on that side belongs to the token.
  var stripsLeft = false, stripsRight = false
  /// Whether the token must not touch a letter, digit or underscore.
  var singleWord = false
  /// Whether it is searched for after normalization.
  var normalized = false
  var isSpecial = true
}

/// Finds added tokens in a text: from the left, the longest that starts there.
struct AddedTokenMatcher: Sendable {
  struct Match: Equatable { var start: Int, end: Int, id: Int }

  private let tokens: [(id: Int, token: AddedToken)]
  private let trie: ByteTrie

  init(_ tokens: [(id: Int, token: AddedToken)], contents: [String]) {
    self.tokens = tokens
    trie = ByteTrie(contents.map { Array($0.utf8) })
  }

  /// Splits a text into tokens and what lies between them.
  func split(_ text: String) -> [(text: String, id: Int?)] {
    guard !tokens.isEmpty else { return [(text, nil)] }
    let bytes = Array(text.utf8)
    var parts: [(String, Int?)] = []
    var plainStart = 0
    func appendPlain(upTo end: Int) {
      if end > plainStart { parts.append((String(decoding: bytes[plainStart..<end], as: UTF8.self), nil)) }
    }
    for match in matches(in: bytes) {
      appendPlain(upTo: match.start)
      parts.append((String(decoding: bytes[match.start..<match.end], as: UTF8.self), match.id))
      plainStart = match.end
    }
    appendPlain(upTo: bytes.count)
    return parts
  }

  private func matches(in bytes: [UInt8]) -> [Match] {
    var matches: [Match] = []
    var position = 0
    while position < bytes.count {
      var longest: (end: Int, index: Int)?
      trie.forEachPrefix(of: bytes, from: position) { end, index in longest = (end, index) }
      guard let (end, index) = longest else {
        position += 1
        continue
      }
      let (id, token) = tokens[index]
      let searchStart = position
      position = end
      if token.singleWord, Self.touchesWord(bytes, searchStart, end) { continue }
      var match = Match(start: searchStart, end: end, id: id)
      if token.stripsLeft {
        let floor = matches.last?.end ?? 0
        match.start = Self.skipSpaces(before: searchStart, in: bytes, floor: floor)
      }
      if token.stripsRight { match.end = Self.skipSpaces(after: end, in: bytes) }
      // A token may begin within the whitespace the one before it took.
      match.start = max(match.start, matches.last?.end ?? 0)
      matches.append(match)
      position = max(position, match.end)
    }
    return matches
  }

  private static func touchesWord(_ bytes: [UInt8], _ start: Int, _ end: Int) -> Bool {
    let before = String(decoding: bytes[..<start].suffix(4), as: UTF8.self).unicodeScalars.last
    let after = String(decoding: bytes[end...].prefix(4), as: UTF8.self).unicodeScalars.first
    return [before, after].contains { $0.map(PythonText.isWord) ?? false }
  }

  private static func skipSpaces(before end: Int, in bytes: [UInt8], floor: Int) -> Int {
    let scalars = String(decoding: bytes[floor..<end], as: UTF8.self).unicodeScalars
    return end - scalars.reversed().prefix { $0.properties.isWhitespace }.reduce(0) { $0 + UTF8.width($1) }
  }

  private static func skipSpaces(after start: Int, in bytes: [UInt8]) -> Int {
    let scalars = String(decoding: bytes[start...].prefix(256), as: UTF8.self).unicodeScalars
    return start + scalars.prefix { $0.properties.isWhitespace }.reduce(0) { $0 + UTF8.width($1) }
  }
}
