import Foundation
import TolerantJSON

/// A token in a JSON file: its text, or an object with the text and how to match it.
struct TokenRecord: Decodable {
  private enum Keys: String, CodingKey { case id, content, lstrip, rstrip, singleWord, normalized, special }

  var id: Int?
  var content: String
  var stripsLeft = false, stripsRight = false, singleWord = false
  var normalized: Bool?, special: Bool?

  init(from decoder: any Decoder) throws {
    if let text = try? decoder.singleValueContainer().decode(String.self) {
      content = text
      return
    }
    let values = try decoder.container(keyedBy: Keys.self)
    id = try values.decodeIfPresent(Int.self, forKey: .id)
    content = try values.decode(String.self, forKey: .content)
    stripsLeft = try values.decodeIfPresent(Bool.self, forKey: .lstrip) ?? false
    stripsRight = try values.decodeIfPresent(Bool.self, forKey: .rstrip) ?? false
    singleWord = try values.decodeIfPresent(Bool.self, forKey: .singleWord) ?? false
    normalized = try values.decodeIfPresent(Bool.self, forKey: .normalized)
    special = try values.decodeIfPresent(Bool.self, forKey: .special)
  }

  /// The token; a special one is matched in the raw text unless its record says otherwise.
  func token(special named: Bool) -> AddedToken {
    let isSpecial = named || special ?? false
    return AddedToken(
      content: content, stripsLeft: stripsLeft, stripsRight: stripsRight, singleWord: singleWord,
      normalized: normalized ?? !isSpecial, isSpecial: isSpecial)
  }
}

/// A list of tokens, or an object that gives each a name.
struct TokenList: Decodable {
  var tokens: [TokenRecord]

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let named = try? container.decode([String: TokenRecord].self) {
      tokens = named.sorted { $0.key < $1.key }.map(\.value)
    } else {
      tokens = try container.decode([TokenRecord].self)
    }
  }
}

/// `tokenizer_config.json`, and with the same keys `special_tokens_map.json`.
struct TokenizerConfiguration: Decodable {
  var bosToken, eosToken, unkToken, sepToken, padToken, clsToken, maskToken: TokenRecord?
  var additionalSpecialTokens, extraSpecialTokens: TokenList?
  var addedTokensDecoder: [String: TokenRecord]?
  var extraIds: Int?
  var paddingSide, truncationSide: String?
  var splitSpecialTokens: Bool?
}

/// `tokenizer.json`, as far as T5 reads it.
struct TokenizerFile: Decodable {
  struct Component: Decodable {
    var type: String?
    var precompiledCharsmap: String?
    var normalizers, pretokenizers, processors, decoders: [Component]?

    /// This component and those inside it.
    var all: [Component] {
      [self] + [normalizers, pretokenizers, processors, decoders].flatMap { ($0 ?? []).flatMap(\.all) }
    }
  }
  struct Model: Decodable {
    var type: String?
    var unkId: Int?
    var vocab: [Piece]
  }
  /// A pair `[text, log probability]`.
  struct Piece: Decodable {
    var text: String, score: Double

    init(from decoder: any Decoder) throws {
      var pair = try decoder.unkeyedContainer()
      text = try pair.decode(String.self)
      score = try pair.decode(Double.self)
    }
  }
  /// Read before the vocabulary, whose form depends on the model type.
  struct Outline: Decodable {
    struct Model: Decodable { var type: String? }
    var model: Model
  }

  var addedTokens: [TokenRecord]?
  var normalizer, preTokenizer, postProcessor, decoder: Component?
  var model: Model
}

/// The JSON files of a tokenizer folder, each of which may be absent.
struct TokenizerFolder {
  let folder: URL
  let configuration: TokenizerConfiguration
  let specialTokens: TokenizerConfiguration?
  let addedTokens: [String: Int]?

  init(_ folder: URL) throws {
    self.folder = folder
    configuration =
      try Self.decode(TokenizerConfiguration.self, folder, "tokenizer_config.json") ?? TokenizerConfiguration()
    specialTokens = try Self.decode(TokenizerConfiguration.self, folder, "special_tokens_map.json")
    addedTokens = try Self.decode([String: Int].self, folder, "added_tokens.json")
    let path = folder.appendingPathComponent("tokenizer_config.json").path
    if let side = configuration.paddingSide, side != "right" {
      throw TokenizerError.unsupported(path: path, component: "padding_side \"\(side)\"")
    }
    if let side = configuration.truncationSide, side != "right" {
      throw TokenizerError.unsupported(path: path, component: "truncation_side \"\(side)\"")
    }
    if configuration.splitSpecialTokens == true {
      throw TokenizerError.unsupported(path: path, component: "split_special_tokens")
    }
  }

  /// The decoded file, nil if there is none.
  static func decode<T: Decodable>(_ type: T.Type, _ folder: URL, _ name: String) throws -> T? {
    do {
      return try TolerantJSON.decode(type, from: folder.appendingPathComponent(name))
    } catch let failure as TolerantJSON.Failure {
      if failure.isMissing { return nil }
      throw TokenizerError.malformed(path: failure.path, expected: "a tokenizer's JSON", found: failure.reason)
    }
  }
}
