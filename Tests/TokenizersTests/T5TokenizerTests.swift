import Foundation
import Testing

@testable import Tokenizers

@Suite struct T5TokenizerTests {
  @Test(arguments: ["nfkc", "legacy", "json"])
  func equalsTransformers(_ name: String) throws {
    let golden = try Fixtures.golden(name)
    #expect(golden.cases.count >= 300)
    try check(try T5Tokenizer(folder: Fixtures.folder.appendingPathComponent(name)), golden)
  }

  /// The same vocabulary and normalization from the other kind of file.
  @Test func tokenizerJSONGivesTheIdsOfSentencePiece() throws {
    let json = try Fixtures.tokenizerJSON(fromSentencePiece: "nfkc/spiece.model", extraIDs: 100)
    try Fixtures.withFolder(["tokenizer.json": json]) {
      try check(try T5Tokenizer(folder: $0), try Fixtures.golden("nfkc"))
    }
  }

  /// `TESSERA_TOKENIZER_FOLDER` and `TESSERA_TOKENIZER_GOLDEN` name a folder and its `make_fixtures.py --golden` file.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["TESSERA_TOKENIZER_GOLDEN"] != nil))
  func equalsTransformersOnAGivenFolder() throws {
    let environment = ProcessInfo.processInfo.environment
    let folder = try #require(environment["TESSERA_TOKENIZER_FOLDER"])
    let golden = try #require(environment["TESSERA_TOKENIZER_GOLDEN"])
    try check(
      try T5Tokenizer(folder: URL(fileURLWithPath: folder)),
      try Fixtures.decode(Golden.self, URL(fileURLWithPath: golden)))
  }

  /// A second opinion on ordinary words, where libsentencepiece and transformers agree.
  @Test func agreesWithLibsentencepieceOnPlainWords() throws {
    let file = try SentencePieceFile(bytes: Fixtures.bytes("nfkc/spiece.model"), path: "nfkc/spiece.model")
    let model = try SentencePieceModel(serialized: file.checked, path: "nfkc/spiece.model")
    let tokenizer = try T5Tokenizer(folder: Fixtures.folder.appendingPathComponent("nfkc"))
    let texts = ["a red cube on a wooden table", "soft morning light, detailed", "маленький дом", "une petite rivière"]
    for text in texts { #expect(model.encode(text) == tokenizer.tokens(text), "\(text)") }
    #expect(model.unknownID == 2 && model.padID == 0 && model.endID == 1)
    #expect(model.id(of: "</s>") == 1 && model.id(of: "no such piece") == 2)
  }

  @Test func padsAndKeepsTheEndOnTruncation() throws {
    let tokenizer = try T5Tokenizer(folder: Fixtures.folder.appendingPathComponent("nfkc"))
    let whole = try tokenizer.encode("a red cube", maxLength: 32)
    #expect(whole.ids.count == 32 && whole.mask.count == 32 && whole.dropped.isEmpty)
    #expect(whole.ids[whole.mask.count(where: { $0 }) - 1] == tokenizer.eosID)
    let cut = try tokenizer.encode(String(repeating: "a red cube ", count: 50), maxLength: 8)
    #expect(cut.ids.last == tokenizer.eosID && !cut.mask.contains(false) && cut.dropped.hasSuffix("red cube"))
    #expect(throws: TokenizerError.invalidLength(expected: "1 or more", found: 0)) {
      try tokenizer.encode("a", maxLength: 0)
    }
  }

  @Test func encodesAVeryLongPromptQuickly() throws {
    let tokenizer = try T5Tokenizer(folder: Fixtures.folder.appendingPathComponent("nfkc"))
    let clock = ContinuousClock()
    let time = try clock.measure {
      for unit in ["a", "a red cube </s> ", "日", "\u{301}", "😀\u{200D}", " "] {
        _ = try tokenizer.encode(String(repeating: unit, count: 100_000), maxLength: 300)
      }
    }
    #expect(time < .seconds(20))
  }
}
