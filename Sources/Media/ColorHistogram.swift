/// The colours of a frame, counted in cells of 8 levels a channel, and palettes made of them.
///
/// After Xiaolin Wu, "Efficient Statistical Color Quantization" (Graphics Gems II, 1991): the cube of colours is cut
/// again and again, always the box of the largest squared error where that leaves the least. Sums over boxes come from
/// tables of cumulated sums.
struct ColorHistogram {
  /// Cells along a channel, and an empty one in front.
  private static let side = 33

  /// Pixels, sums of red, green and blue.
  private typealias Moments = SIMD4<Double>

  private let cells: [Moments]
  /// Sums of squares of all channels.
  private let squares: [Double]

  init(_ frame: Frame) {
    let side = Self.side
    var cells = [Moments](repeating: .zero, count: side * side * side)
    var squares = [Double](repeating: 0, count: cells.count)
    for i in stride(from: 0, to: frame.pixels.count, by: 3) {
      let red = frame.pixels[i], green = frame.pixels[i + 1], blue = frame.pixels[i + 2]
      let cell = Self.index(Int(red >> 3) + 1, Int(green >> 3) + 1, Int(blue >> 3) + 1)
      let color = Moments(1, Double(red), Double(green), Double(blue))
      cells[cell] += color
      squares[cell] += (color * color).sum() - 1
    }
    self.cells = cells
    self.squares = squares
  }

  private static func index(_ red: Int, _ green: Int, _ blue: Int) -> Int { (red * side + green) * side + blue }

  /// Squared error in levels, per pixel, when each cell's mean becomes the palette's nearest colour.
  func error(of palette: ColorPalette) -> Float {
    var error = 0.0, count = 0.0
    for cell in cells where cell[0] > 0 {
      let mean = (cell / cell[0]).rounded(.toNearestOrAwayFromZero)
      let color = SIMD4(Int32(mean[1]), Int32(mean[2]), Int32(mean[3]), 0)
      error += cell[0] * Double(palette.exactlyNearest(color).squaredDistance)
      count += cell[0]
    }
    return Float(error / count)
  }

  /// At most `limit` colours: the means of as many boxes.
  func colors(_ limit: Int) -> [SIMD3<UInt8>] {
    let tables = Tables(cells: cells, squares: squares, side: Self.side)
    var boxes = [Box(low: SIMD3(repeating: 0), high: SIMD3(repeating: Self.side - 1))]
    // Boxes that cannot be cut have an error of 0 here.
    var errors = [tables.error(boxes[0])]
    while boxes.count < limit {
      guard let worst = errors.indices.max(by: { errors[$0] < errors[$1] }), errors[worst] > 0 else { break }
      guard let (first, second) = tables.cut(boxes[worst]) else {
        errors[worst] = 0
        continue
      }
      boxes[worst] = first
      errors[worst] = tables.error(first)
      boxes.append(second)
      errors.append(tables.error(second))
    }
    return boxes.map { box in
      let sum = tables.moments(box)
      let mean = (sum / sum[0]).rounded(.toNearestOrAwayFromZero)
      return SIMD3(UInt8(mean[1]), UInt8(mean[2]), UInt8(mean[3]))
    }
  }

  /// Cells above `low` and up to `high` in each channel.
  private struct Box {
    var low: SIMD3<Int>
    var high: SIMD3<Int>
  }

  /// Sums over all cells up to one, in each channel.
  private struct Tables {
    private var cumulated: [Moments]
    private var cumulatedSquares: [Double]

    init(cells: [Moments], squares: [Double], side: Int) {
      cumulated = cells
      cumulatedSquares = squares
      for stride in [1, side, side * side] {
        for cell in cells.indices where cell / stride % side > 0 {
          cumulated[cell] += cumulated[cell - stride]
          cumulatedSquares[cell] += cumulatedSquares[cell - stride]
        }
      }
    }

    /// Inclusion and exclusion at the eight corners.
    private func sum<Value>(_ box: Box, zero: Value, add: (inout Value, Int, Bool) -> Void) -> Value {
      var result = zero
      for corner in 0..<8 {
        let red = corner & 1 == 0 ? box.low.x : box.high.x
        let green = corner & 2 == 0 ? box.low.y : box.high.y
        let blue = corner & 4 == 0 ? box.low.z : box.high.z
        add(&result, ColorHistogram.index(red, green, blue), corner.nonzeroBitCount % 2 == 1)
      }
      return result
    }

    func moments(_ box: Box) -> Moments {
      sum(box, zero: .zero) { $0 += $2 ? cumulated[$1] : -cumulated[$1] }
    }

    /// Squared distances of a box's pixels from their mean.
    func error(_ box: Box) -> Double {
      let sum = moments(box)
      guard sum[0] > 0 else { return 0 }
      let squares = self.sum(box, zero: 0) { $0 += $2 ? cumulatedSquares[$1] : -cumulatedSquares[$1] }
      return squares - explained(sum)
    }

    /// The part of the squares that the mean accounts for: the larger, the smaller the error that is left.
    private func explained(_ sum: Moments) -> Double { ((sum * sum).sum() - sum[0] * sum[0]) / sum[0] }

    /// The two parts of least error, or `nil` where only one cell has pixels.
    func cut(_ box: Box) -> (Box, Box)? {
      let whole = moments(box)
      var best: (Box, Box)?
      var most = 0.0
      for channel in 0..<3 {
        for place in box.low[channel] + 1..<max(box.high[channel], box.low[channel] + 1) {
          var first = box
          first.high[channel] = place
          let sum = moments(first)
          guard sum[0] > 0, sum[0] < whole[0] else { continue }
          let score = explained(sum) + explained(whole - sum)
          if score > most {
            var second = box
            second.low[channel] = place
            most = score
            best = (first, second)
          }
        }
      }
      return best
    }
  }
}
