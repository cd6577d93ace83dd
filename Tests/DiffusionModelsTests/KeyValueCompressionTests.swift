import Testing

@testable import DiffusionModels

@Suite struct KeyValueCompressionTests {
  @Test func spellings() throws {
    #expect(try KeyValueCompression(parsing: "none") == .off)
    #expect(try KeyValueCompression(parsing: "conv") == KeyValueCompression(.conv))
    #expect(
      try KeyValueCompression(parsing: "average:ratio=2,layers=4-7")
        == KeyValueCompression(.average, ratio: 2, layers: 4...7))
    #expect(try KeyValueCompression(parsing: "uniform:layers=5") == KeyValueCompression(.uniform, layers: 5...5))
    for text in ["none", "conv", "average:ratio=2,layers=4-7", "nearest:ratio=8", "uniform:layers=5-5"] {
      #expect(try KeyValueCompression(parsing: text).description == text)
    }
  }

  @Test(arguments: [
    ("mean", "unknown key/value compression 'mean'; known: none, conv, average, uniform, nearest"),
    ("", "unknown key/value compression ''; known: none, conv, average, uniform, nearest"),
    ("none:ratio=2", "key/value compression 'none' has no option 'ratio=2'; known: no options"),
    ("average:size=2", "key/value compression 'average' has no option 'size'; known: ratio, layers"),
    ("average:", "key/value compression 'average' has no option ''; known: ratio, layers"),
    ("average:ratio=1", "key/value compression average:ratio: expected a whole number from 2 to 8, found '1'"),
    ("average:ratio", "key/value compression average:ratio: expected a whole number from 2 to 8, found ''"),
    ("average:ratio=2,ratio=3", "key/value compression average:ratio: expected it once, found '3'"),
    ("conv:layers=7-4", "key/value compression conv:layers: expected layers counted from 0, such as 4-7, found '7-4'"),
    ("conv:layers=-4", "key/value compression conv:layers: expected layers counted from 0, such as 4-7, found '-4'"),
    ("conv:layers=4-", "key/value compression conv:layers: expected layers counted from 0, such as 4-7, found '4-'"),
  ])
  func wrongSpellings(_ text: String, _ message: String) {
    let error = #expect(throws: KeyValueCompressionError.self) { try KeyValueCompression(parsing: text) }
    #expect(error?.description == message)
  }
}
