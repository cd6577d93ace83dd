import Foundation
import Testing

@testable import Tokenizers

/// Files from strangers: whatever they hold, the answer is a tokenizer or a `TokenizerError`, never a crash.
@Suite struct HostileTokenizerTests {
  /// Loads a folder with these files and uses what comes out; returns the error if it is refused.
  @discardableResult
  func load(_ files: [String: Data]) throws -> TokenizerError? {
    try Fixtures.withFolder(files) { folder in
      do {
        let tokenizer = try T5Tokenizer(folder: folder)
        _ = try tokenizer.encode("a ﬁne ＡＢＣ cube </s> é 日本 <extra_id_0> \u{1F600}", maxLength: 16)
        return nil
      } catch let error as TokenizerError {
        #expect(error.description.contains(folder.lastPathComponent), "the error names its file: \(error)")
        return error
      }
    }
  }

  @Test func refusesAFolderWithoutVocabulary() throws {
    let error = try load([:])
    guard case .missing(_, let expected) = error else { return #expect(Bool(false), "\(String(describing: error))") }
    #expect(expected == "tokenizer.json or spiece.model")
  }

  @Test func refusesSentencePieceFilesThatAreNotModels() throws {
    let samples: [Data] = [
      Data(), Data([0]), Data([0xFF]), Data("not a model, just text".utf8), Data(repeating: 0x0A, count: 10_000),
      Data(repeating: 0xFF, count: 10_000), Data([0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]), Data([0x0A, 0x00]),
    ]
    for sample in samples { #expect(try load(["spiece.model": sample]) != nil) }
  }

  @Test func survivesTruncatedModels() throws {
    let model = Data(try Fixtures.bytes("legacy/spiece.model"))
    for length in stride(from: 0, to: model.count, by: 97) { try load(["spiece.model": model.prefix(length)]) }
  }

  @Test func survivesDamagedModels() throws {
    let model = try Fixtures.bytes("legacy/spiece.model")
    var random = SeededGenerator(state: 1)
    for _ in 0..<400 {
      var damaged = model
      for _ in 0..<Int.random(in: 1...8, using: &random) {
        damaged[Int.random(in: damaged.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      try load(["spiece.model": Data(damaged)])
    }
  }

  @Test func survivesAnyNormalizationTable() throws {
    var random = SeededGenerator(state: 1)
    for _ in 0..<500 {
      let units = Int.random(in: 1...63, using: &random)
      var bytes = [UInt8(units * 4), 0, 0, 0]
      bytes += (0..<units * 4).map { _ in UInt8.random(in: 0...255, using: &random) }
      bytes += Array("abc\0de\0".utf8)
      _ = try PrecompiledCharsmap(bytes, path: "table").normalize("abc é ＡＢＣ \u{1F600} 日本語 \0")
    }
    let refused: [[UInt8]] = [
      [], [1], [0, 0, 0, 0, 1, 2, 3, 4], [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0], [3, 0, 0, 0, 1, 2, 3, 4],
    ]
    for bytes in refused {
      #expect(throws: TokenizerError.self) { try PrecompiledCharsmap(bytes, path: "table") }
    }
  }

  @Test func refusesBrokenJSON() throws {
    let deep = String(repeating: "{\"normalizers\":[", count: 20_000)
    let samples = [
      "", "{", "[]", "null", "{}", "{\"model\":3}", "{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}",
      "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[1,2]]}}",
      "{\"model\":{\"type\":\"Unigram\",\"vocab\":{\"a\":1}}}", "{\"normalizer\":" + deep,
    ]
    for sample in samples { #expect(try load(["tokenizer.json": Data(sample.utf8)]) != nil, "\(sample.prefix(60))") }
  }

  @Test func namesWhatItDoesNotSupport() throws {
    func message(_ files: [String: String]) throws -> String {
      try load(files.mapValues { Data($0.utf8) }).map(\.description) ?? "accepted"
    }
    let vocabulary = "[[\"<pad>\",0],[\"</s>\",0],[\"<unk>\",0],[\"▁a\",-1]]"
    let model = "\"model\":{\"type\":\"Unigram\",\"unk_id\":2,\"vocab\":\(vocabulary)}"
    let odd = "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Odd\"}]}"
    #expect(try message(["tokenizer.json": "{\(model)}"]) == "accepted")
    #expect(try message(["tokenizer.json": "{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}"]).contains("model \"BPE\""))
    #expect(try message(["tokenizer.json": "{\(model),\(odd)}"]).contains("normalizer \"Odd\""))
    #expect(
      try message(["tokenizer.json": "{\(model),\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}"])
        .contains("pre_tokenizer \"ByteLevel\""))
    #expect(
      try message(["tokenizer.json": "{\(model.replacingOccurrences(of: "\"unk_id\":2", with: "\"unk_id\":0"))}"])
        .contains("unk_id 0"))
    #expect(
      try message(["tokenizer.json": "{\(model)}", "tokenizer_config.json": "{\"padding_side\":\"left\"}"])
        .contains("padding_side \"left\""))
    #expect(
      try message(["tokenizer.json": "{\(model)}", "tokenizer_config.json": "{\"extra_ids\":-1}"])
        .contains("found -1"))
  }

  @Test func refusesHugeFiles() throws {
    for name in ["spiece.model", "tokenizer.json"] {
      try Fixtures.withFolder([name: Data()]) { folder in
        let handle = try FileHandle(forWritingTo: folder.appendingPathComponent(name))
        try handle.truncate(atOffset: UInt64(SentencePieceFile.sizeLimit) + 1)
        try handle.close()
        #expect(throws: TokenizerError.self) { try T5Tokenizer(folder: folder) }
      }
    }
  }
}
