import Foundation

/// The text that describes how a picture was made, in the grammar of the A1111 web interface, which most tools read:
///
///     a red cube on a table
///     Negative prompt: blurry
///     Steps: 20, Sampler: DPM++ 2M, CFG scale: 4.5, Seed: 42, Size: 512x512, Model: example, RNG: CPU
///
/// The grammar is that of `modules/infotext_utils.py` of stable-diffusion-webui. It cannot tell a prompt line that
/// begins with "Negative prompt:" from the negative prompt, and it drops white space at the ends of lines.
public struct Parameters: Sendable, Hashable {
  /// One entry of the last line.
  public struct Field: Sendable, Hashable {
    public let key: String
    public let value: String

    /// - Parameter key: begins with a letter, digit or underscore, goes on with these, spaces, `-` or `/`; two
    ///   characters at least.
    public init(_ key: String, _ value: String) {
      precondition(Parameters.isKey(key), "'\(key)' is no parameter name")
      self.key = key
      self.value = value
    }
  }

  public var prompt: String
  public var negativePrompt: String
  /// In the order of the text.
  public var fields: [Field]

  public init(prompt: String, negativePrompt: String = "", fields: [Field] = []) {
    self.prompt = prompt
    self.negativePrompt = negativePrompt
    self.fields = fields
  }

  /// The value of the first field of that name.
  public subscript(key: String) -> String? { fields.first { $0.key == key }?.value }

  /// Width and height of the `Size` field.
  public var size: (width: Int, height: Int)? {
    let parts = (self["Size"] ?? "").split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    guard parts.count == 2, let width = parts[0], let height = parts[1], width > 0, height > 0 else { return nil }
    return (width, height)
  }

  /// The text to store under the key `parameters`.
  public var text: String {
    var lines = [prompt]
    if !negativePrompt.isEmpty { lines.append("Negative prompt: " + negativePrompt) }
    if !fields.isEmpty { lines.append(fields.map { "\($0.key): \(Self.quoted($0.value))" }.joined(separator: ", ")) }
    return lines.joined(separator: "\n")
  }

  /// Reads any text: what is no parameter is prompt. The last line counts as parameters when it holds three or more.
  public init(parsing text: String) {
    // "\r\n" is one character to Swift.
    var lines = Self.stripped(text).split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
      .map { Self.stripped(String($0)) }
    fields = Self.scan(lines.last ?? "")
    if fields.count < 3 { fields = [] } else { lines.removeLast() }
    let marker = "Negative prompt:"
    var positive: [String] = [], negative: [String] = []
    var inNegative = false
    for line in lines {
      var line = line
      if line.hasPrefix(marker) {
        inNegative = true
        line = Self.stripped(String(line.dropFirst(marker.count)))
      }
      if inNegative { negative.append(line) } else { positive.append(line) }
    }
    prompt = positive.joined(separator: "\n")
    negativePrompt = negative.joined(separator: "\n")
  }
}

extension Parameters {
  private static func stripped(_ text: String) -> String { text.trimmingCharacters(in: .whitespacesAndNewlines) }

  // The grammar is one of Unicode scalars: a comma separates also where an accent follows it.
  private static func isWord(_ c: Unicode.Scalar) -> Bool {
    c.properties.isAlphabetic || c.properties.numericType != nil || c == "_"
  }

  private static func isKeyPart(_ c: Unicode.Scalar) -> Bool { isWord(c) || c == " " || c == "-" || c == "/" }

  private static func isKey(_ text: String) -> Bool {
    let scalars = text.unicodeScalars
    guard let first = scalars.first else { return false }
    return isWord(first) && scalars.count >= 2 && scalars.allSatisfy(isKeyPart)
  }

  /// A value as it is written: in JSON's quotes when it would not read back otherwise.
  static func quoted(_ value: String) -> String {
    let scalars = value.unicodeScalars
    func isSpace(_ c: Unicode.Scalar?) -> Bool { c?.properties.isWhitespace == true }
    let special = scalars.contains { $0 == "," || $0 == ":" || CharacterSet.newlines.contains($0) }
    guard special || isSpace(scalars.first) || isSpace(scalars.last) || scalars.first == "\"" else { return value }
    var result = "\""
    for scalar in scalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }

  private static func unquoted(_ text: String) -> String {
    guard text.count >= 2, text.first == "\"", text.last == "\"" else { return text }
    return (try? JSONDecoder().decode(String.self, from: Data(text.utf8))) ?? text
  }

  /// All `key: value` entries of a line, as upstream's regular expression finds them:
  /// `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)`, in one pass.
  private static func scan(_ line: String) -> [Field] {
    let text = Array(line.unicodeScalars)
    func string(_ range: Range<Int>) -> String { String(String.UnicodeScalarView(text[range])) }
    var fields: [Field] = []
    var position = 0
    while position < text.count {
      guard isWord(text[position]) else {
        position += 1
        continue
      }
      let start = position
      while position < text.count, isKeyPart(text[position]) { position += 1 }
      guard position < text.count, text[position] == ":", position - start >= 2 else { continue }
      let key = string(start..<position)
      position += 1
      while position < text.count, text[position].properties.isWhitespace { position += 1 }
      let end = quotedEnd(text, position) ?? text[position...].firstIndex(of: ",") ?? text.count
      fields.append(Field(key, unquoted(string(position..<end))))
      position = end + 1
    }
    return fields
  }

  /// The end of a non-empty quoted value at `start` that a comma or the end of the line follows.
  private static func quotedEnd(_ text: [Unicode.Scalar], _ start: Int) -> Int? {
    guard start < text.count, text[start] == "\"" else { return nil }
    var i = start + 1
    while i < text.count, text[i] != "\"" { i += text[i] == "\\" ? 2 : 1 }
    guard i < text.count, i > start + 1, i + 1 == text.count || text[i + 1] == "," else { return nil }
    return i + 1
  }
}
