import Foundation
import Media
import Testing

/// A frame whose every byte differs from its neighbours'.
func pattern(_ width: Int, _ height: Int) -> Frame {
  let pixels = (0..<width * height * 3).map { UInt8(truncatingIfNeeded: $0 * 37 + $0 >> 7) }
  return Frame(width: width, height: height, pixels: pixels)
}

/// CRC-32 as PNG chunks carry it.
private func crc32(_ bytes: [UInt8]) -> UInt32 {
  var crc = UInt32.max
  for byte in bytes {
    crc ^= UInt32(byte)
    for _ in 0..<8 { crc = crc & 1 == 0 ? crc >> 1 : (crc >> 1) ^ 0xedb8_8320 }
  }
  return ~crc
}

private func bigEndian(_ value: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }

private func chunk(_ type: String, _ data: [UInt8]) -> [UInt8] {
  let body = Array(type.utf8) + data
  return bigEndian(data.count) + body + bigEndian(Int(crc32(body)))
}

private let signature: [UInt8] = [137, 80, 78, 71, 13, 10, 26, 10]

private func header(width: Int, height: Int, depth: UInt8 = 8, color: UInt8 = 2) -> [UInt8] {
  signature + chunk("IHDR", bigEndian(width) + bigEndian(height) + [depth, color, 0, 0, 0])
}

struct PNGFileTests {
  @Test(arguments: [(1, 1), (1, 7), (7, 1), (16, 16), (63, 65), (257, 3)])
  func keepsPixels(width: Int, height: Int) throws {
    let frame = pattern(width, height)
    let (decoded, text) = try PNGFile.decode(PNGFile.encode(frame))
    #expect(decoded == frame)
    #expect(text.isEmpty)
  }

  @Test(arguments: [
    "", "a", "plain ASCII", "日本語 ünï ✓ 🎨", "two\nlines\tand \"quotes\"", String(repeating: "é ", count: 600),
    String(repeating: "long text, ", count: 50_000),
  ])
  func keepsText(value: String) throws {
    let text = [("parameters", value), ("tessera", #"{"schema":1}"#), ("empty", "")]
    let bytes = try PNGFile.encode(pattern(5, 4), text: text)
    let decoded = try PNGFile.decode(bytes)
    #expect(decoded.text.map(\.key) == text.map(\.0))
    #expect(decoded.text.map(\.value) == text.map(\.1))
    #expect(try PNGFile.encode(pattern(5, 4), text: text) == bytes)
    if value.utf8.count > 100_000 { #expect(bytes.count < 20_000) }
  }

  @Test(arguments: ["", " a", "a ", "a  b", "über", "line\nbreak", String(repeating: "k", count: 80)])
  func refusesKeys(key: String) {
    #expect(throws: MediaError.self) { try PNGFile.encode(pattern(1, 1), text: [(key, "v")]) }
  }

  @Test func refusesUnwritableText() {
    #expect(throws: MediaError.self) { try PNGFile.encode(pattern(1, 1), text: [("k", "a\0b")]) }
    let long = String(repeating: "x", count: PNGFile.maxTextBytes)
    #expect(throws: MediaError.self) { try PNGFile.encode(pattern(1, 1), text: [("k", long)]) }
  }

  @Test func readsLatin1Text() throws {
    var bytes = try PNGFile.encode(pattern(2, 2))
    bytes.insert(contentsOf: chunk("tEXt", Array("parameters".utf8) + [0, 0xe9, 0x74, 0xe9]), at: 33)
    #expect(try PNGFile.decode(bytes).text.first?.value == "été")
  }

  private let someText = [("parameters", "text"), ("long", String(repeating: "x", count: 3000))]

  @Test func everyTruncationIsAnError() throws {
    let bytes = try PNGFile.encode(pattern(9, 9), text: someText)
    for count in 0..<bytes.count { #expect(throws: MediaError.self) { try PNGFile.decode(Array(bytes[..<count])) } }
  }

  /// Any answer will do but a crash.
  @Test func survivesDamage() throws {
    let bytes = try PNGFile.encode(pattern(20, 9), text: someText)
    for position in bytes.indices {
      for change in [0xff, 0x01, 0x80] as [UInt8] {
        var damaged = bytes
        damaged[position] ^= change
        _ = try? PNGFile.decode(damaged)
      }
    }
    var random = SystemRandomNumberGenerator()
    for _ in 0..<300 {
      let noise = signature + (0..<200).map { _ in UInt8.random(in: 0...255, using: &random) }
      #expect(throws: MediaError.self) { try PNGFile.decode(noise) }
    }
  }

  @Test(arguments: [
    (65_537, 1), (1, 65_537), (0, 5), (5, 0), (0x7fff_ffff, 0x7fff_ffff), (65_536, 65_536), (20_000, 20_000),
  ])
  func refusesExtents(width: Int, height: Int) {
    let bytes =
      header(width: width, height: height) + chunk("IDAT", [0x78, 0x9c, 3, 0, 0, 0, 0, 1]) + chunk("IEND", [])
    #expect(throws: MediaError.self) { try PNGFile.decode(bytes) }
  }

  /// libpng would make room for what a chunk says it holds.
  @Test func chunksLieWithinTheFile() throws {
    var bytes = try PNGFile.encode(pattern(2, 2), text: [("k", "v")])
    let text = try #require(bytes.indices.first { bytes[$0...].starts(with: "iTXt".utf8) })
    bytes.replaceSubrange(text - 4..<text, with: bigEndian(64 << 20))
    let error = #expect(throws: MediaError.self) { try PNGFile.decode(bytes) }
    #expect(error.map { "\($0)".contains("a chunk of 67108864 bytes") } == true, "\(error.map { "\($0)" } ?? "")")
  }

  /// Many small chunks that inflate to 12 MB each, 240 MB if all were kept. libpng drops what is beyond its budget, or
  /// the whole is refused.
  @Test func boundsTextBombs() throws {
    let one = try PNGFile.encode(pattern(1, 1), text: [("bomb", String(repeating: "a", count: 12 << 20))])
    // The text follows the signature and the header, 33 bytes.
    let length = one[33..<37].reduce(0) { $0 << 8 | Int($1) }
    let text = one[33..<33 + 12 + length]
    #expect(Array(text[37..<41]) == Array("iTXt".utf8))
    let bytes = Array(one[..<33]) + (0..<20).flatMap { _ in text } + one[(33 + 12 + length)...]
    #expect(bytes.count < 1 << 20)
    let total = (try? PNGFile.decode(bytes))?.text.reduce(0) { $0 + $1.value.utf8.count } ?? 0
    #expect(total <= PNGFile.maxTextBytes)
  }

  @Test func readsOtherKinds() throws {
    // One stored deflate block: zlib header, final block, length, complement, row, Adler-32.
    func stored(_ row: [UInt8]) -> [UInt8] {
      var a = 1, b = 0
      for byte in row {
        a = (a + Int(byte)) % 65521
        b = (b + a) % 65521
      }
      let n = row.count
      return [0x78, 1, 1, UInt8(n), 0, ~UInt8(n), 0xff] + row + bigEndian(b << 16 | a)
    }
    let grey = header(width: 2, height: 1, color: 0) + chunk("IDAT", stored([0, 10, 200])) + chunk("IEND", [])
    #expect(try PNGFile.decode(grey).frame.pixels == [10, 10, 10, 200, 200, 200])
    let palette =
      header(width: 2, height: 1, color: 3) + chunk("PLTE", [1, 2, 3, 4, 5, 6]) + chunk("IDAT", stored([0, 1, 0]))
      + chunk("IEND", [])
    #expect(try PNGFile.decode(palette).frame.pixels == [4, 5, 6, 1, 2, 3])
    let rgba = header(width: 1, height: 1, color: 6) + chunk("IDAT", stored([0, 9, 8, 7, 0])) + chunk("IEND", [])
    #expect(try PNGFile.decode(rgba).frame.pixels == [9, 8, 7])
    let deep =
      header(width: 1, height: 1, depth: 16) + chunk("IDAT", stored([0, 255, 255, 128, 0, 0, 0])) + chunk("IEND", [])
    #expect(try PNGFile.decode(deep).frame.pixels == [255, 128, 0])
  }

  @Test func largeFrame() throws {
    let frame = pattern(1500, 1100)
    #expect(try PNGFile.decode(PNGFile.encode(frame)).frame == frame)
  }
}
