import Foundation
import Testing

@testable import Tokenizers

/// What the reference tokenizer makes of the texts, as `make_fixtures.py` wrote it.
struct Golden: Decodable {
  struct Case: Decodable { var text: String, ids: [Int], decoded: String? }
  struct Cut: Decodable { var text: String, length: Int, ids: [Int], mask: [Int], dropped: String }

  var vocabulary, pad, eos, unk: Int
  var cases: [Case]
  var cut: [Cut]
}

enum Fixtures {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures")

  static func decode<T: Decodable>(_ type: T.Type, _ url: URL) throws -> T {
    try JSONDecoder().decode(type, from: Data(contentsOf: url))
  }

  static func golden(_ name: String) throws -> Golden {
    try decode(Golden.self, folder.appendingPathComponent("\(name).expected.json"))
  }

  static func bytes(_ path: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: folder.appendingPathComponent(path)))
  }

  /// Runs `body` with a folder that holds the given files and is removed afterwards.
  static func withFolder<R>(_ files: [String: Data], _ body: (URL) throws -> R) throws -> R {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tokenizer-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    for (name, data) in files { try data.write(to: folder.appendingPathComponent(name)) }
    return try body(folder)
  }

  /// A `tokenizer.json` with the vocabulary and normalization of a `spiece.model`.
  static func tokenizerJSON(fromSentencePiece name: String, extraIDs: Int) throws -> Data {
    let file = try SentencePieceFile(bytes: bytes(name), path: name)
    let model = try SentencePieceModel(serialized: file.checked, path: name)
    var vocabulary: [[Any]] = (0..<model.pieceCount).map {
      [String(decoding: model.piece($0), as: UTF8.self), Double(model.score($0))]
    }
    let added: [[String: Any]] = (0..<extraIDs).map {
      [
        "id": model.pieceCount + extraIDs - 1 - $0, "content": "<extra_id_\($0)>", "lstrip": false, "rstrip": false,
        "single_word": false, "normalized": false, "special": true,
      ]
    }
    vocabulary += (0..<extraIDs).reversed().map { ["<extra_id_\($0)>", 0.0] }
    let charsmap = Data(file.charsmap).base64EncodedString()
    return try JSONSerialization.data(withJSONObject: [
      "added_tokens": added, "normalizer": ["type": "Precompiled", "precompiled_charsmap": charsmap],
      "model": ["type": "Unigram", "unk_id": 2, "vocab": vocabulary],
    ])
  }
}

/// The same random numbers every time (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

/// Compares a tokenizer with the reference, text by text.
func check(_ tokenizer: T5Tokenizer, _ golden: Golden, sourceLocation: SourceLocation = #_sourceLocation) throws {
  #expect(tokenizer.vocabularySize == golden.vocabulary, sourceLocation: sourceLocation)
  #expect(tokenizer.padID == golden.pad, sourceLocation: sourceLocation)
  #expect(tokenizer.eosID == golden.eos, sourceLocation: sourceLocation)
  #expect(tokenizer.unkID == golden.unk, sourceLocation: sourceLocation)
  for item in golden.cases {
    let ids = tokenizer.tokens(item.text) + [tokenizer.eosID]
    #expect(ids == item.ids, "\(item.text.debugDescription)", sourceLocation: sourceLocation)
    if let decoded = item.decoded {
      let text = Array(tokenizer.decode(item.ids).utf8)
      #expect(text == Array(decoded.utf8), "\(item.text.debugDescription)", sourceLocation: sourceLocation)
    }
  }
  for item in golden.cut {
    let result = try tokenizer.encode(item.text, maxLength: item.length)
    #expect(result.ids == item.ids, "\(item.text.debugDescription)", sourceLocation: sourceLocation)
    #expect(result.mask == item.mask.map { $0 == 1 }, "\(item.text.debugDescription)", sourceLocation: sourceLocation)
    #expect(
      result.dropped == item.dropped, "\(item.text.debugDescription) in \(item.length)", sourceLocation: sourceLocation)
  }
}
