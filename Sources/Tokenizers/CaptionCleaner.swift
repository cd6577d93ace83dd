/// What PixArt does to prompts before they are tokenized (`_text_preprocessing` of diffusers 0.42's
/// `PixArtSigmaPipeline`): the captions it was trained on went through the same.
///
/// `TextRepair` and `HTMLText` say what of ftfy and BeautifulSoup is not done. Every rule costs time linear in the
/// caption's length.
public enum CaptionCleaner {
  /// The prompt for `clean_caption=False`: lower case, no space at the ends.
  public static func plain(_ prompt: String) -> String {
    PythonText.strip(PythonText.lower([Unicode.Scalar](prompt))).string
  }

  /// What Wan's pipeline does to prompts: text repaired, HTML entities resolved, runs of white space as one space. Case
  /// stays.
  public static func basic(_ prompt: String) -> String {
    let text = HTMLEntities.unescape(HTMLEntities.unescape(TextRepair.fix([Unicode.Scalar](prompt))))
    return PythonText.strip(text).split(whereSeparator: PythonText.isSpace)
      .map { Array($0).string }.joined(separator: " ")
  }

  /// The prompt for `clean_caption=True`: web addresses, markup, CJK ideographs, file names, ids and advertising go;
  /// punctuation becomes plain; lower case. Done twice, since one round may uncover work for the next.
  public static func clean(_ prompt: String) -> String { round(round([Unicode.Scalar](prompt))).string }

  private static func round(_ caption: [Unicode.Scalar]) -> [Unicode.Scalar] {
    var text = PythonText.lower(PythonText.strip(unquote(caption)))
    text = text.replacing(with: "person") { text.end(of: "<person>", at: $0) }
    text = removeAddresses(text, scheme: ["https:", "http:"])
    text = removeAddresses(text, scheme: ["www:"])
    text = HTMLText.extract(text)
    text = plainPunctuation(removeNames(text))
    text = removeNumbers(text)
    text = collapsePunctuation(removeFileNames(text))
    text = HTMLEntities.unescape(HTMLEntities.unescape(TextRepair.fix(text)))
    text = removeAdvertising(removeCodes(text))
    text = removeSizes(text)
    return trim(spaceOut(text))
  }

  /// URL decoding: `+` is a space, `%41` a byte of UTF-8. Non-ASCII characters part the sequences.
  static func unquote(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    let spaced = text.map { $0 == "+" ? " " : $0 }
    guard spaced.contains("%") else { return spaced }
    return spaced.replacing { index in
      guard spaced[index].isASCII else { return nil }
      let end = spaced.run(from: index, while: \.isASCII)
      var bytes: [UInt8] = []
      var position = index
      while position < end {
        if spaced[position] == "%", position + 2 < end, spaced[position + 1].isASCIIHex, spaced[position + 2].isASCIIHex
        {
          bytes.append(UInt8(HTMLEntities.number(spaced[(position + 1)...(position + 2)], radix: 16)))
          position += 3
        } else {
          bytes.append(UInt8(spaced[position].value))
          position += 1
        }
      }
      return (end, [Unicode.Scalar](String(decoding: bytes, as: UTF8.self)))
    }
  }

  // MARK: Addresses and names

  /// Removes `https://` and host names with a well-known ending, path included.
  private static func removeAddresses(_ text: [Unicode.Scalar], scheme: [StaticString]) -> [Unicode.Scalar] {
    var hopelessUntil = 0
    return text.replacing(with: "") { index in
      guard text.isBoundary(index) else { return nil }
      if let end = text.end(ofAny: scheme, at: index) {
        let slashes = text.run(from: end, limit: 3) { $0 == "/" }
        if slashes > end { return slashes }
        if text.has(at: end, where: { $0.isASCIILetter || $0.isASCIIDigit || $0 == "%" }) { return end + 1 }
      }
      // If no host ends in the rest of these characters, none does in a rest of that rest.
      guard index >= hopelessUntil else { return nil }
      let end = text.run(from: index, while: isHost)
      for dot in (index..<end).reversed() where text[dot] == "." && dot > index {
        if let match = hostEnd(text, after: dot + 1) { return match }
      }
      hopelessUntil = end
      return nil
    }
  }

  private static func isHost(_ scalar: Unicode.Scalar) -> Bool {
    scalar.isASCIILetter || scalar.isASCIIDigit || scalar == "." || scalar == "-"
  }

  private static func hostEnd(_ text: [Unicode.Scalar], after dot: Int) -> Int? {
    for domain in ["com", "co", "ru", "net", "org", "edu", "gov", "it"] as [StaticString] {
      guard let domainEnd = text.end(of: domain, at: dot) else { continue }
      let pathEnd = text.run(from: domainEnd) { PythonText.isWord($0) || $0 == "/" || $0 == "-" }
      for end in (domainEnd...pathEnd).reversed() where text.isBoundary(end) {
        if text.has("/", at: end), !text.has("@", at: end + 1) { return end + 1 }
        if !text.has("@", at: end) { return end }
      }
    }
    return nil
  }

  /// Removes `@names` and CJK strokes, ideographs and enclosed letters.
  private static func removeNames(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    text.replacing(with: "") { index in
      guard text[index] == "@", text.isWord(at: index + 1) else { return nil }
      return text.run(from: index + 1, while: PythonText.isWord)
    }
    .filter { !(0x31C0...0x9FFF).contains($0.value) }
  }

  // MARK: Punctuation

  private static let dashes: Set<Unicode.Scalar> = [
    "-", "\u{58A}", "\u{5BE}", "\u{1400}", "\u{1806}", "\u{2010}", "\u{2011}", "\u{2012}", "\u{2013}", "\u{2014}",
    "\u{2015}", "\u{2E17}", "\u{2E1A}", "\u{2E3A}", "\u{2E3B}", "\u{2E40}", "\u{301C}", "\u{3030}", "\u{30A0}",
    "\u{FE31}", "\u{FE32}", "\u{FE58}", "\u{FE63}", "\u{FF0D}",
  ]
  private static let bullets = Set("#®•©™&@·º½¾¿¡§~)(][}{|\\/*".unicodeScalars)

  /// Dashes and quotes in one form; `&quot;` and `&amp` gone.
  private static func plainPunctuation(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    var text = text.replacingRuns(with: "-", where: dashes.contains)
    text = text.map { "`´«»“”¨".unicodeScalars.contains($0) ? "\"" : "‘’".unicodeScalars.contains($0) ? "'" : $0 }
    text = text.replacing(with: "") { text.end(ofAny: ["&quot;", "&quot"], at: $0) }
    return text.replacing(with: "") { text.end(of: "&amp", at: $0) }
  }

  private static func collapsePunctuation(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    var text = text.replacingRuns(of: 2, with: "\"") { $0 == "\"" || $0 == "'" }
    text = text.replacingRuns(of: 2, with: " ") { $0 == "." }
    text = text.replacingRuns(with: " ", where: bullets.contains)
    text = replaceSpaced(".", in: text, with: " ") { _ in true }
    let isJoint: (Unicode.Scalar) -> Bool = { $0 == "-" || $0 == "_" }
    return text.count(where: isJoint) > 3 ? text.map { isJoint($0) ? " " : $0 } : text
  }

  /// Replaces `mark` between runs of spaces, the spaces included, where the first run's start passes the test.
  private static func replaceSpaced(
    _ mark: Unicode.Scalar, in text: [Unicode.Scalar], with replacement: String, where test: (Int) -> Bool
  ) -> [Unicode.Scalar] {
    let replacement = [Unicode.Scalar](replacement)
    return text.replacing { index in
      guard PythonText.isSpace(text[index]) else { return nil }
      let markIndex = text.run(from: index, while: PythonText.isSpace)
      if text.has(mark, at: markIndex), text.has(at: markIndex + 1, where: PythonText.isSpace), test(index) {
        return (text.run(from: markIndex + 1, while: PythonText.isSpace), replacement)
      }
      return (markIndex, Array(text[index..<markIndex]))
    }
  }

  private static func spaceOut(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    var text = replaceSpaced(":", in: text, with: ": ") { [text] in text.isBoundary($0) }
    text = text.replacing { index in
      guard !PythonText.isDigit(text[index]), text.has(at: index + 1, where: { ",./".unicodeScalars.contains($0) }),
        text.isWord(at: index + 2)
      else { return nil }
      return (index + 2, [text[index], text[index + 1], " "])
    }
    return text.replacingRuns(with: " ", where: PythonText.isSpace)
  }

  /// Takes enclosing quotes and stray punctuation from the ends.
  private static func trim(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    func isQuote(_ scalar: Unicode.Scalar?) -> Bool { scalar == "\"" || scalar == "'" }
    var text = text
    if text.count > 2, isQuote(text.first), isQuote(text.last) { text = Array(text.dropFirst().dropLast()) }
    if let first = text.first, "'_,-:;".unicodeScalars.contains(first) { text.removeFirst() }
    if let last = text.last, "'_,-:+".unicodeScalars.contains(last) { text.removeLast() }
    if text.first == ".", text.count > 1, !text.dropFirst().contains(where: PythonText.isSpace) { return [] }
    return PythonText.strip(text)
  }
}
