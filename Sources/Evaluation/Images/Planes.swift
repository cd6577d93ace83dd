import Media

/// Four planes of one size, one in each lane: what is filtered together lies together.
struct Planes: Sendable {
  typealias Pixel = SIMD4<Double>

  /// What lies beyond the border for a filter.
  enum Border {
    /// Nothing: results are where the whole filter fits.
    case none
    /// The pixels of the border, repeated.
    case repeated
  }

  let width: Int, height: Int
  /// `[height, width]`, row after row.
  let pixels: [Pixel]

  init(width: Int, height: Int, pixels: [Pixel]) {
    precondition(pixels.count == width * height, "\(pixels.count) pixels for \(width)x\(height)")
    (self.width, self.height, self.pixels) = (width, height, pixels)
  }

  /// Made in parallel, some rows at a time.
  /// - Parameter row: appends the pixels of one row.
  init(width: Int, height: Int, row: (_ y: Int, _ pixels: inout [Pixel]) -> Void) {
    let band = 16
    let bands = parallelMap((height + band - 1) / band) { index in
      var pixels: [Pixel] = []
      pixels.reserveCapacity(band * width)
      for y in index * band..<min((index + 1) * band, height) { row(y, &pixels) }
      return pixels
    }
    var pixels: [Pixel] = []
    pixels.reserveCapacity(width * height)
    for band in bands { pixels.append(contentsOf: band) }
    self.init(width: width, height: height, pixels: pixels)
  }

  /// Every pixel by itself.
  func map(_ transform: (Pixel) -> Pixel) -> Planes {
    Planes(width: width, height: height) { y, result in
      for x in y * width..<(y + 1) * width { result.append(transform(pixels[x])) }
    }
  }

  /// Correlation with a separable filter that differs from lane to lane.
  /// - Parameters:
  ///   - horizontal, vertical: an odd number of taps, the same of both.
  /// - Returns: planes of the same size, or smaller by the taps less one without a border.
  func filtered(horizontal: [Pixel], vertical: [Pixel], border: Border) -> Planes {
    let taps = horizontal.count, pad = border == .repeated ? taps / 2 : 0
    let newWidth = width + 2 * pad - taps + 1, newHeight = height + 2 * pad - taps + 1
    precondition(
      taps % 2 == 1 && vertical.count == taps && newWidth > 0 && newHeight > 0,
      "\(taps) and \(vertical.count) taps over \(width)x\(height)")
    return Planes(width: newWidth, height: newHeight) { y, result in
      var line = [Pixel](repeating: .zero, count: width + 2 * pad)
      for tap in 0..<taps {
        let row = min(max(y + tap - pad, 0), height - 1) * width, weight = vertical[tap]
        for x in 0..<width { line[pad + x] += weight * pixels[row + x] }
      }
      for x in 0..<pad { (line[x], line[pad + width + x]) = (line[pad], line[pad + width - 1]) }
      for x in 0..<newWidth {
        var sum = Pixel.zero
        for tap in 0..<taps { sum += horizontal[tap] * line[x + tap] }
        result.append(sum)
      }
    }
  }

  /// Half the size, rounded up: means of 2x2 pixels, the last row or column repeated where one is missing.
  func halved() -> Planes {
    Planes(width: (width + 1) / 2, height: (height + 1) / 2) { y, result in
      let top = 2 * y * width, bottom = min(2 * y + 1, height - 1) * width
      for left in stride(from: 0, to: width, by: 2) {
        let right = min(left + 1, width - 1)
        result.append((pixels[top + left] + pixels[top + right] + pixels[bottom + left] + pixels[bottom + right]) / 4)
      }
    }
  }
}
