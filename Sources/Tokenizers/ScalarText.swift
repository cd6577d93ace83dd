/// Matching on arrays of scalars: each rule looks at a position and says how far it matches, so the cost of a rule is
/// plain to see. A general regular expression engine would need a bound on backtracking.
extension [Unicode.Scalar] {
  init(_ text: String) { self = Array(text.unicodeScalars) }

  var string: String {
    var result = String.UnicodeScalarView()
    result.append(contentsOf: self)
    return String(result)
  }

  /// Whether this very scalar is at `index`.
  func has(_ scalar: Unicode.Scalar, at index: Int) -> Bool { index >= 0 && index < count && self[index] == scalar }

  /// Whether a scalar that passes the test is at `index`.
  func has(at index: Int, where test: (Unicode.Scalar) -> Bool) -> Bool {
    index >= 0 && index < count && test(self[index])
  }

  /// The end of `word` if it starts at `index`.
  func end(of word: StaticString, at index: Int) -> Int? {
    var position = index
    for scalar in word.description.unicodeScalars {
      guard has(scalar, at: position) else { return nil }
      position += 1
    }
    return position
  }

  /// The end of the first of `words` that starts at `index`.
  func end(ofAny words: [StaticString], at index: Int) -> Int? {
    for word in words { if let end = end(of: word, at: index) { return end } }
    return nil
  }

  /// The end of the run of passing scalars that starts at `index`, at most `limit` long.
  func run(from index: Int, limit: Int = .max, while test: (Unicode.Scalar) -> Bool) -> Int {
    var end = index
    while end < count, end - index < limit, test(self[end]) { end += 1 }
    return end
  }

  func isWord(at index: Int) -> Bool { has(at: index, where: PythonText.isWord) }

  /// `\b` in Python's `re`.
  func isBoundary(_ index: Int) -> Bool { isWord(at: index - 1) != isWord(at: index) }

  /// Every match, from the left and without overlap, replaced.
  /// - Parameter match: given a position, the end of the match there, beyond the position, and what to put in its place.
  func replacing(_ match: (Int) -> (end: Int, with: [Unicode.Scalar])?) -> [Unicode.Scalar] {
    var result: [Unicode.Scalar] = []
    result.reserveCapacity(count)
    var index = 0
    while index < count {
      if let (end, with) = match(index) {
        result += with
        index = end
      } else {
        result.append(self[index])
        index += 1
      }
    }
    return result
  }

  /// Every match replaced by the same text.
  func replacing(with text: String, _ match: (Int) -> Int?) -> [Unicode.Scalar] {
    let scalars = [Unicode.Scalar](text)
    return replacing { match($0).map { ($0, scalars) } }
  }

  /// Every run of at least `minimum` passing scalars replaced by `text`.
  func replacingRuns(of minimum: Int = 1, with text: String, where test: (Unicode.Scalar) -> Bool) -> [Unicode.Scalar] {
    let scalars = [Unicode.Scalar](text)
    return replacing { index in
      guard test(self[index]) else { return nil }
      let end = run(from: index, while: test)
      return (end, end - index >= minimum ? scalars : Array(self[index..<end]))
    }
  }
}

extension Unicode.Scalar {
  var isASCIIDigit: Bool { ("0"..."9").contains(self) }
  var isASCIILetter: Bool { ("a"..."z").contains(self) || ("A"..."Z").contains(self) }
  var isASCIIHex: Bool { isASCIIDigit || ("a"..."f").contains(self) || ("A"..."F").contains(self) }
}
