import Media
import Testing

struct PixelTextTests {
  private func ink(_ frame: Frame) -> [String] {
    (0..<frame.height).map { row in
      String((0..<frame.width).map { frame.pixels[(row * frame.width + $0) * 3] == 0 ? "#" : "." })
    }
  }

  @Test func drawsLetters() {
    #expect(
      ink(PixelText.frame("7,")) == [
        "............", "#####.......", "....#.......", "...#........", "..#.........", ".#.....##...", ".#......#...",
        ".#.....#....", "............", "............",
      ])
    #expect(PixelText.frame("abc", scale: 2).width == 36 && PixelText.frame("", scale: 2).width == 1)
    #expect(ink(PixelText.frame("ü")) == ink(PixelText.frame("?")))
  }

  /// Every character has ink of its own, but for the space.
  @Test func charactersDiffer() {
    let pictures = (33..<127).map { ink(PixelText.frame(String(UnicodeScalar(UInt8($0))))) }
    #expect(Set(pictures).count == 94 && pictures.allSatisfy { $0.contains { $0.contains("#") } })
    #expect(ink(PixelText.frame(" ")).allSatisfy { !$0.contains("#") })
  }

  @Test func drawingStaysInside() {
    var frame = Frame(width: 8, height: 6, red: 255, green: 255, blue: 255)
    frame.write("W", x: -3, y: -2)
    frame.write("W", x: 6, y: 4)
    frame.fill(x: 5, y: -1, width: 9, height: 2, (0, 0, 0))
    frame.fill(x: 9, y: 9, width: 3, height: 3, (0, 0, 0))
    #expect(ink(frame)[0] == ".#...###" && ink(frame)[1].hasPrefix(".#"))
  }

  @Test func joining() {
    let a = Frame(width: 2, height: 1, red: 0, green: 0, blue: 0),
      b = Frame(width: 1, height: 2, red: 0, green: 0, blue: 0)
    #expect(ink(.joined([a, b], vertically: false, gap: 1)) == ["##.#", "...#"])
    #expect(ink(.joined([a, b], vertically: true, gap: 1)) == ["##", "..", "#.", "#."])
    #expect(ink(b.padded(1)) == ["...", ".#.", ".#.", "..."])
  }
}
