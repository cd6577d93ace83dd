/// Drawing into a frame.
extension Frame {
  /// Writes `text` with its top left pixel at (`x`, `y`); what lies outside the frame is left out.
  public mutating func write(_ text: String, x: Int, y: Int, scale: Int = 1, grey: UInt8 = 0) {
    for (index, character) in text.enumerated() {
      let left = x + index * PixelText.advance * scale
      for row in 0..<PixelText.height {
        for column in 0..<PixelText.width where PixelText.isInk(character.asciiValue ?? 0, row: row, column: column) {
          fill(x: left + column * scale, y: y + row * scale, width: scale, height: scale, (grey, grey, grey))
        }
      }
    }
  }

  /// Fills a rectangle; what lies outside the frame is left out.
  public mutating func fill(
    x: Int, y: Int, width: Int, height: Int, _ color: (red: UInt8, green: UInt8, blue: UInt8)
  ) {
    let left = max(0, x), count = min(self.width, x + width) - left
    guard count > 0 else { return }
    let line = (0..<count).flatMap { _ in [color.red, color.green, color.blue] }
    for row in max(0, y)..<max(0, y, min(self.height, y + height)) {
      let start = (row * self.width + left) * 3
      pixels.replaceSubrange(start..<start + line.count, with: line)
    }
  }

  /// Puts `frame` with its top left pixel at (`x`, `y`), inside this one.
  public mutating func paste(_ frame: Frame, x: Int, y: Int) {
    precondition(x >= 0 && y >= 0 && x + frame.width <= width && y + frame.height <= height, "frame pasted outside")
    for row in 0..<frame.height {
      let start = ((y + row) * width + x) * 3
      pixels.replaceSubrange(
        start..<start + frame.width * 3, with: frame.pixels[row * frame.width * 3..<(row + 1) * frame.width * 3])
    }
  }
  /// Frames in a row or a column on white, `gap` pixels between them, tops or left edges in line.
  public static func joined(_ frames: [Frame], vertically: Bool, gap: Int) -> Frame {
    precondition(!frames.isEmpty, "no frames to join")
    let widths = frames.map(\.width), heights = frames.map(\.height), gaps = gap * (frames.count - 1)
    var result = Frame(
      width: vertically ? widths.max()! : widths.reduce(gaps, +),
      height: vertically ? heights.reduce(gaps, +) : heights.max()!, red: 255, green: 255, blue: 255)
    var at = 0
    for frame in frames {
      result.paste(frame, x: vertically ? 0 : at, y: vertically ? at : 0)
      at += (vertically ? frame.height : frame.width) + gap
    }
    return result
  }

  /// The frame with a white border.
  public func padded(_ border: Int) -> Frame {
    var result = Frame(width: width + 2 * border, height: height + 2 * border, red: 255, green: 255, blue: 255)
    result.paste(self, x: border, y: border)
    return result
  }
}
