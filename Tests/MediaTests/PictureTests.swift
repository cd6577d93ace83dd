import Foundation
import Media
import Testing

struct ContactSheetTests {
  @Test func placesFrames() {
    let red = Frame(width: 2, height: 2, red: 255, green: 0, blue: 0)
    let blue = Frame(width: 2, height: 2, red: 0, green: 0, blue: 255)
    let sheet = ContactSheet.compose([red, blue, red], columns: 2, gap: 1, background: 9)
    #expect(sheet.width == 5 && sheet.height == 5)
    func pixel(_ x: Int, _ y: Int) -> [UInt8] { Array(sheet.pixels[(y * 5 + x) * 3..<(y * 5 + x) * 3 + 3]) }
    for y in 0..<5 {
      for x in 0..<5 {
        let gap = x == 2 || y == 2 || (x > 2 && y > 2)
        #expect(pixel(x, y) == (gap ? [9, 9, 9] : x > 2 ? [0, 0, 255] : [255, 0, 0]), "\(x) \(y)")
      }
    }
  }

  @Test func oneFrameIsItself() {
    #expect(ContactSheet.compose([pattern(7, 3)], columns: 4, gap: 5) == pattern(7, 3))
  }

  @Test func smallerFramesAreCentred() {
    let small = Frame(width: 2, height: 2, red: 1, green: 1, blue: 1)
    let sheet = ContactSheet.compose([pattern(6, 4), small], columns: 1, gap: 0)
    #expect(sheet.width == 6 && sheet.height == 8)
    let ones = sheet.pixels.suffix(72).enumerated().filter { $0.element == 1 }.map(\.offset)
    #expect(ones == Array(24...29) + Array(42...47))
  }
}

struct HeatMapTests {
  @Test func scalesAndColours() {
    let frame = HeatMap.draw([0, 1, 2, 4], rows: 2, columns: 2, scale: 3)
    #expect(frame.width == 6 && frame.height == 6)
    #expect(Array(frame.pixels[..<3]) == [68, 1, 84])
    #expect(Array(frame.pixels.suffix(3)) == [253, 231, 37])
    for y in 0..<6 {
      for x in 0..<6 {
        let (red, green, blue) = HeatMap.color([0, 0.25, 0.5, 1][y / 3 * 2 + x / 3])
        #expect(Array(frame.pixels[(y * 6 + x) * 3..<(y * 6 + x) * 3 + 3]) == [red, green, blue])
      }
    }
  }

  @Test func lightnessRises() {
    let lightness = stride(from: Float(0), through: 1, by: 1 / 64).map { value in
      let (red, green, blue) = HeatMap.color(value)
      return 0.2126 * Float(red) + 0.7152 * Float(green) + 0.0722 * Float(blue)
    }
    for (a, b) in zip(lightness, lightness.dropFirst()) { #expect(a < b) }
  }

  @Test(arguments: [
    [Float.nan, 1, .infinity, -.infinity], [3, 3, 3, 3], [.nan, .nan, .nan, .nan],
    [-Float.greatestFiniteMagnitude, .greatestFiniteMagnitude, 0, -0],
  ])
  func odd(values: [Float]) {
    let frame = HeatMap.draw(values, rows: 2, columns: 2)
    if values[0].isNaN { #expect(Array(frame.pixels[..<3]) == [128, 128, 128]) }
    #expect(HeatMap.draw(values, rows: 1, columns: 4, range: 0...1).width == 4)
  }
}

struct ResizeTests {
  struct Case: Decodable {
    let channels: Int, height: Int, width: Int, newHeight: Int, newWidth: Int, every: Int
    let values: [Float]
  }

  @Test func equalsDiffusers() throws {
    let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/resize.json")
    for item in try JSONDecoder().decode([Case].self, from: Data(contentsOf: url)) {
      let planes = (0..<item.channels * item.height * item.width).map { index in
        Float(Double(UInt32(truncatingIfNeeded: index &* 2_654_435_761)) / 0x1p31 - 1)
      }
      let result = resizeAndCrop(
        planes: planes, channels: item.channels, height: item.height, width: item.width, newHeight: item.newHeight,
        newWidth: item.newWidth)
      #expect(result.count == item.channels * item.newHeight * item.newWidth)
      var worst: Float = 0
      for (index, expected) in item.values.enumerated() {
        worst = max(worst, abs(result[index * item.every] - expected))
      }
      #expect(worst <= 1e-6, "\(item.height)x\(item.width) to \(item.newHeight)x\(item.newWidth): \(worst)")
    }
  }

  /// 49 * (1 / 49.0) truncates to 0, where upstream's crop fails.
  @Test(arguments: 1...120) func neverShort(extent: Int) {
    let planes = [Float](repeating: 0.5, count: extent * 3)
    for new in [1, 2, 7, 49, 101] {
      let result = resizeAndCrop(planes: planes, channels: 1, height: extent, width: 3, newHeight: new, newWidth: 1)
      #expect(result == [Float](repeating: 0.5, count: new))
    }
  }
}
