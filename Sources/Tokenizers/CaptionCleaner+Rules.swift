/// The rules about numbers, codes and words.
extension CaptionCleaner {
  private static let extensions: [StaticString] = ["png", "jpg", "jpeg", "bmp", "webp", "eps", "pdf", "apk", "mp4"]

  // MARK: Numbers

  /// Removes IP addresses, a time at the very end, `\n` typed as two characters, `#12`, `#12345` and long numbers.
  static func removeNumbers(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    var text = text.replacing(with: " ") { [text] in ipAddressEnd(text, $0) }
    text = text.replacing(with: "") { [text] index in
      guard isDigit(text, index), text.has(":", at: index + 1), isDigit(text, index + 2), isDigit(text, index + 3)
      else { return nil }
      let end = text.run(from: index + 4, while: PythonText.isSpace)
      return end == text.count && end > index + 4 ? end : nil
    }
    text = text.replacing(with: " ") { [text] in text.end(of: "\\n", at: $0) }
    text = removeNumber(text, marked: true) { (1...3).contains($0) }
    text = removeNumber(text, marked: true) { $0 >= 5 }
    return removeNumber(text, marked: false) { $0 >= 6 }
  }

  private static func isDigit(_ text: [Unicode.Scalar], _ index: Int) -> Bool {
    text.has(at: index, where: PythonText.isDigit)
  }

  private static func ipAddressEnd(_ text: [Unicode.Scalar], _ start: Int) -> Int? {
    var index = start
    for part in 0..<4 {
      if part > 0 {
        guard text.has(".", at: index) else { return nil }
        index += 1
      }
      let end = text.run(from: index, limit: 3, while: PythonText.isDigit)
      guard end > index else { return nil }
      index = end
    }
    return index
  }

  /// Removes whole numbers whose length passes the test, after `#` or at a word's start.
  private static func removeNumber(
    _ text: [Unicode.Scalar], marked: Bool, length test: (Int) -> Bool
  ) -> [Unicode.Scalar] {
    text.replacing(with: "") { index in
      guard marked ? text[index] == "#" : !text.isWord(at: index - 1) else { return nil }
      let first = marked ? index + 1 : index
      let end = text.run(from: first, while: PythonText.isDigit)
      return end > first && test(end - first) && !text.isWord(at: end) ? end : nil
    }
  }

  /// Removes sizes such as `1024x768`, also with Cyrillic or multiplication crosses and decimals.
  static func removeSizes(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    text.replacing(with: "") { index in
      guard !text.isWord(at: index - 1), isDigit(text, index) else { return nil }
      var cross = text.run(from: index, while: PythonText.isDigit)
      if text.has(".", at: cross) { cross = text.run(from: cross + 1, while: PythonText.isDigit) }
      guard text.has(at: cross, where: { "xх×".unicodeScalars.contains($0) }) else { return nil }
      let whole = text.run(from: cross + 1, while: PythonText.isDigit)
      guard whole > cross + 1 else { return nil }
      guard text.has(".", at: whole) else { return text.isBoundary(whole) ? whole : nil }
      let fraction = text.run(from: whole + 1, while: PythonText.isDigit)
      return [fraction, whole + 1, whole].first(where: text.isBoundary)
    }
  }

  // MARK: File names and codes

  /// Removes what ends in `.png` and the like, from the last space on.
  static func removeFileNames(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    text.replacing { index in
      guard !PythonText.isSpace(text[index]) else { return nil }
      let wordEnd = text.run(from: index) { !PythonText.isSpace($0) }
      for dot in (index..<wordEnd).reversed() where text[dot] == "." && dot > index {
        if let end = text.end(ofAny: extensions, at: dot + 1) { return (wordEnd, Array(text[end..<wordEnd])) }
      }
      return (wordEnd, Array(text[index..<wordEnd]))
    }
  }

  private enum Run { case letters(ClosedRange<Int>), digits(ClosedRange<Int>), optionalDigits, anything }

  /// Removes codes such as `jc6640`, `jc6640vc` and `6640vc231`.
  static func removeCodes(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    let some = 1...Int.max
    var text = removeCode(text, [.letters(1...3), .digits(3...15)], "")
    text = removeCode(text, [.letters(some), .digits(some), .letters(some)], "")
    return removeCode(text, [.digits(some), .letters(some), .digits(some)], "")
  }

  /// Replaces words made of these runs. The runs differ in kind from their neighbours, so there is one way to match.
  private static func removeCode(_ text: [Unicode.Scalar], _ runs: [Run], _ replacement: String) -> [Unicode.Scalar] {
    text.replacing(with: replacement) { start in
      guard !text.isWord(at: start - 1), text.isWord(at: start) else { return nil }
      var index = start
      for run in runs {
        let end: Int
        switch run {
        case .letters(let count):
          end = text.run(from: index, while: \.isASCIILetter)
          guard count.contains(end - index) else { return nil }
        case .digits(let count):
          end = text.run(from: index, while: PythonText.isDigit)
          guard count.contains(end - index) else { return nil }
        case .optionalDigits: end = text.run(from: index, while: PythonText.isDigit)
        case .anything: end = text.run(from: index) { $0.isASCIILetter || PythonText.isDigit($0) }
        }
        index = end
      }
      return text.isWord(at: index) ? nil : index
    }
  }

  // MARK: Words

  /// Removes the phrases of shops and download pages, file extensions, page numbers and longer codes.
  static func removeAdvertising(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    var text = text.replacing(with: "") { [text] in shippingEnd(text, $0) }
    text = text.replacing(with: "") { [text] in downloadEnd(text, $0) }
    text = text.replacing(with: "") { [text] index in
      guard !text.isWord(at: index - 1), let click = text.end(of: "click", at: index), isSpace(text, click),
        let word = text.end(ofAny: ["for", "on"], at: click + 1), isSpace(text, word), text.isWord(at: word + 1)
      else { return nil }
      return text.run(from: word + 1, while: PythonText.isWord)
    }
    text = text.replacing(with: "") { [text] index in
      guard !text.isWord(at: index - 1), let end = text.end(ofAny: extensions, at: index) else { return nil }
      return isSpace(text, end) ? text.end(ofAny: ["images", "image"], at: end + 1) ?? end : end
    }
    text = text.replacing(with: "") { [text] index in
      guard !text.isWord(at: index - 1), let page = text.end(of: "page", at: index) else { return nil }
      let number = text.run(from: page, while: PythonText.isSpace)
      let end = text.run(from: number, while: PythonText.isDigit)
      return number > page && end > number && !text.isWord(at: end) ? end : nil
    }
    let some = 1...Int.max
    return removeCode(
      text, [.optionalDigits, .letters(some), .digits(some), .letters(some), .digits(some), .anything], " ")
  }

  private static func isSpace(_ text: [Unicode.Scalar], _ index: Int) -> Bool {
    text.has(at: index, where: PythonText.isSpace)
  }

  /// `worldwide free shipping`, the first two words optional.
  private static func shippingEnd(_ text: [Unicode.Scalar], _ start: Int) -> Int? {
    func skip(_ word: StaticString, _ index: Int) -> Int {
      guard let end = text.end(of: word, at: index) else { return index }
      let next = text.run(from: end, while: PythonText.isSpace)
      return next > end ? next : index
    }
    return text.end(of: "shipping", at: skip("free", skip("worldwide", start)))
  }

  /// `free download free`, the first and last words optional.
  private static func downloadEnd(_ text: [Unicode.Scalar], _ start: Int) -> Int? {
    var index = start
    if let free = text.end(of: "free", at: start), isSpace(text, free) { index = free + 1 }
    guard let end = text.end(of: "download", at: index) else { return nil }
    return isSpace(text, end) ? text.end(of: "free", at: end + 1) ?? end : end
  }
}
