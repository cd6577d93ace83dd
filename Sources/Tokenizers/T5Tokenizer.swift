import Foundation

/// A text as the ids a text encoder takes.
public struct TokenizedText: Sendable, Equatable {
  /// Ids, padded at the end to the length asked for.
  public var ids: [Int]
  /// Per id, whether it is part of the text, the closing `</s>` included.
  public var mask: [Bool]
  /// The text of the tokens cut off at the end to make the rest fit; empty if all did.
  public var dropped: String
}

/// The tokenizer of T5 and UMT5 text encoders, equal to `T5Tokenizer` of transformers 5, so also to what diffusers 0.42
/// feeds its text encoders.
///
/// A text is cut at added tokens (`</s>`, `<extra_id_0>`, …), normalized, split at whitespace, every word gets a leading
/// `▁`, and `UnigramModel` segments each word. transformers 5 rebuilds this pipeline whatever `tokenizer.json` says, of
/// which only the vocabulary, the normalization table and the added tokens count; so does this.
public struct T5Tokenizer: Sendable {
  static let wordStart = Array("▁".utf8)

  let model: UnigramModel
  let charsmap: PrecompiledCharsmap?
  let addedTokens: [Int: AddedToken]
  private let rawMatcher: AddedTokenMatcher
  private let normalizedMatcher: AddedTokenMatcher

  /// The id that fills up to the length asked for.
  public let padID: Int
  /// The id that ends every text.
  public let eosID: Int
  /// The id of what the vocabulary cannot spell.
  public var unkID: Int { model.unknownID }
  /// The number of ids, added tokens included.
  public var vocabularySize: Int { max(model.pieces.count, (addedTokens.keys.max() ?? -1) + 1) }

  init(model: UnigramModel, charsmap: PrecompiledCharsmap?, addedTokens: [Int: AddedToken], padID: Int, eosID: Int) {
    self.model = model
    self.charsmap = charsmap
    self.addedTokens = addedTokens
    self.padID = padID
    self.eosID = eosID
    let sorted = addedTokens.sorted { $0.key < $1.key }.map { (id: $0.key, token: $0.value) }
    let raw = sorted.filter { !$0.token.normalized }, normalized = sorted.filter { $0.token.normalized }
    rawMatcher = AddedTokenMatcher(raw, contents: raw.map(\.token.content))
    normalizedMatcher = AddedTokenMatcher(
      normalized, contents: normalized.map { charsmap?.normalize($0.token.content) ?? $0.token.content })
  }

  /// The ids of a text, without padding and without the closing `</s>`.
  public func tokens(_ text: String) -> [Int] {
    var ids: [Int] = []
    for (part, id) in rawMatcher.split(text) {
      if let id {
        ids.append(id)
        continue
      }
      for (part, id) in normalizedMatcher.split(charsmap?.normalize(part) ?? part) {
        if let id { ids.append(id) } else { appendWords(of: part, to: &ids) }
      }
    }
    return ids
  }

  /// The ids of a text, closed by `</s>` and padded to exactly `maxLength`. A longer text loses its end, never `</s>`.
  /// - Parameter maxLength: in tokens, at least 1.
  public func encode(_ text: String, maxLength: Int) throws -> TokenizedText {
    guard maxLength >= 1 else { throw TokenizerError.invalidLength(expected: "1 or more", found: maxLength) }
    let all = tokens(text)
    let kept = all.prefix(maxLength - 1)
    let padding = maxLength - kept.count - 1
    return TokenizedText(
      ids: kept + [eosID] + Array(repeating: padID, count: padding),
      mask: Array(repeating: true, count: kept.count + 1) + Array(repeating: false, count: padding),
      dropped: decode(Array(all[kept.count...])))
  }

  /// The text of ids. Special tokens are written out; ids out of range are left out.
  public func decode(_ ids: [Int]) -> String {
    var bytes: [UInt8] = []
    var isFirst = true
    for id in ids {
      guard let piece = piece(id) else { continue }
      var index = 0
      while index < piece.count {
        if piece[index...].starts(with: Self.wordStart) {
          if !isFirst { bytes.append(UInt8(ascii: " ")) }
          index += Self.wordStart.count
        } else {
          bytes.append(piece[index])
          index += 1
        }
      }
      isFirst = false
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private func piece(_ id: Int) -> [UInt8]? {
    if let token = addedTokens[id] {
      return Array((token.normalized ? charsmap?.normalize(token.content) ?? token.content : token.content).utf8)
    }
    return model.pieces.indices.contains(id) ? model.pieces[id] : nil
  }

  /// Splits at whitespace and before each `▁`, puts `▁` in front of words that lack it, and segments.
  private func appendWords(of text: String, to ids: inout [Int]) {
    for word in text.unicodeScalars.split(whereSeparator: \.properties.isWhitespace) {
      var current = Self.wordStart
      for scalar in (word.first == "▁" ? word.dropFirst() : word) {
        if scalar == "▁" {
          ids += model.encode(current)
          current = Self.wordStart
        } else {
          current += UTF8.encode(scalar)!
        }
      }
      ids += model.encode(current)
    }
  }
}
