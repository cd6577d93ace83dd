import Foundation
import Testing

@testable import Tokenizers

@Suite struct CaptionCleanerTests {
  struct Caption: Decodable { var text: String, clean: String, plain: String }

  func check(_ url: URL) throws {
    let captions = try Fixtures.decode([Caption].self, url)
    #expect(captions.count >= 100)
    for caption in captions {
      // Compared by scalars: `==` on strings ignores how an accent is composed.
      let clean = CaptionCleaner.clean(caption.text), plain = CaptionCleaner.plain(caption.text)
      #expect(
        Array(clean.unicodeScalars) == Array(caption.clean.unicodeScalars),
        "\(caption.text.debugDescription): \(clean.debugDescription), not \(caption.clean.debugDescription)")
      #expect(Array(plain.unicodeScalars) == Array(caption.plain.unicodeScalars), "\(caption.text.debugDescription)")
    }
  }

  @Test func equalsDiffusers() throws {
    try check(Fixtures.folder.appendingPathComponent("captions.expected.json"))
  }

  /// `TESSERA_CAPTION_GOLDEN` names a file made by `make_fixtures.py --captions`.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["TESSERA_CAPTION_GOLDEN"] != nil))
  func equalsDiffusersOnGivenCaptions() throws {
    try check(URL(fileURLWithPath: try #require(ProcessInfo.processInfo.environment["TESSERA_CAPTION_GOLDEN"])))
  }

  /// Texts that cost a backtracking engine quadratic time or worse.
  @Test(arguments: [
    "a", "a.", "-", " ", "\"", "<", "<a ", "<!-- >", "&", "&#", "&amp;", "http", "1x", "1.", "a1", "free ",
    "worldwide ",
    ".png", "@", "%", "Σ'", "<script>", "</", "<b>", "\u{301}", "<a b=' ", "<a b=\">",
  ])
  func longCaptionsAreQuick(_ unit: String) {
    let clock = ContinuousClock()
    let time = clock.measure { _ = CaptionCleaner.clean(String(repeating: unit, count: 40_000 / unit.count)) }
    #expect(time < .seconds(10), "\(unit.debugDescription): \(time)")
  }
}
