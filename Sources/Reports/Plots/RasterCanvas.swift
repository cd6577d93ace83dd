import Media

/// Draws pixels, with smooth edges; text in the plain letters of ``PixelText``.
public struct RasterCanvas: Canvas {
  private let width: Int, height: Int
  /// Pixels a point.
  private let scale: Double
  /// `[height, width]`, red, green, blue of 0...255.
  private var pixels: [SIMD3<Float>]

  /// - Parameters:
  ///   - width, height: in points.
  ///   - scale: pixels a point.
  public init(width: Double, height: Double, scale: Int = 2) {
    self.scale = Double(scale)
    (self.width, self.height) = (Int((width * self.scale).rounded(.up)), Int((height * self.scale).rounded(.up)))
    pixels = Array(repeating: Self.color(.paper), count: self.width * self.height)
  }

  /// What was drawn.
  public var frame: Frame {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(pixels.count * 3)
    for pixel in pixels {
      let value = pixel.clamped(lowerBound: .zero, upperBound: .init(repeating: 255)) + 0.5
      for lane in 0..<3 { bytes.append(UInt8(value[lane])) }
    }
    return Frame(width: width, height: height, pixels: bytes)
  }

  // MARK: Canvas

  public mutating func rectangle(_ box: Box, fill: Ink, opacity: Double) {
    let low = SIMD2(box.x, box.y) * scale, high = SIMD2(box.right, box.bottom) * scale
    cover(low, high, fill, opacity) { point in
      // The shares of the pixel's width and height that lie inside.
      let from = pointwiseMax(low, point - 0.5), to = pointwiseMin(high, point + 0.5)
      return max(0, to.x - from.x) * max(0, to.y - from.y)
    }
  }

  public mutating func polyline(_ points: [SIMD2<Double>], _ stroke: Stroke) {
    let half = max(stroke.width * scale, 1) / 2, color = Self.color(stroke.ink)
    for piece in Self.dashed(points.map { $0 * scale }, stroke.dashes.map { $0 * scale }) {
      // Each pixel takes the ink once, however many segments touch it: the largest of their shares.
      var shares: [Int: Double] = [:]
      for (start, end) in zip(piece, piece.dropFirst()) {
        let segment = Segment(start, end)
        let (columns, rows) = around(pointwiseMin(start, end) - half, pointwiseMax(start, end) + half)
        for y in rows {
          for x in columns {
            let share = half + 0.5 - segment.distance(SIMD2(Double(x) + 0.5, Double(y) + 0.5))
            if share > 0 { shares[y * width + x] = max(share, shares[y * width + x] ?? 0) }
          }
        }
      }
      for (index, share) in shares { blend(index % width, index / width, color, Float(min(share, 1) * stroke.opacity)) }
    }
  }

  public mutating func marker(
    _ shape: MarkerShape, center: SIMD2<Double>, radius: Double, fill: Ink, outline: Stroke, title: String?
  ) {
    let polygon = Polygon(shape.corners.map { (center + $0 * radius) * scale }), half = outline.width * scale / 2
    cover(polygon.low, polygon.high, fill, 1) { 0.5 - polygon.distance($0) }
    cover(polygon.low - half, polygon.high + half, outline.ink, outline.opacity) {
      half + 0.5 - abs(polygon.distance($0))
    }
  }

  public mutating func text(
    _ text: String, baseline: SIMD2<Double>, anchor: TextAnchor, style: TextStyle, ink: Ink
  ) {
    let glyphScale = max(1, Int((scale * (style == .title ? 1.25 : 1)).rounded()))
    let picture = PixelText.frame(Self.plain(text), scale: glyphScale)
    let shift = anchor == .start ? 0 : anchor == .middle ? Double(picture.width) / 2 : Double(picture.width)
    let left = Int((baseline.x * scale - shift).rounded()), top = Int((baseline.y * scale).rounded()) - 8 * glyphScale
    for row in 0..<picture.height {
      for column in 0..<picture.width where picture.pixels[(row * picture.width + column) * 3] < 128 {
        blend(left + column, top + row, Self.color(ink), 1)
      }
    }
  }

  public mutating func picture(_ frame: Frame, in box: Box) {
    let left = Int((box.x * scale).rounded()), right = Int((box.right * scale).rounded())
    let top = Int((box.y * scale).rounded()), bottom = Int((box.bottom * scale).rounded())
    for y in top..<max(top, bottom) {
      for x in left..<max(left, right) {
        let row = (y - top) * frame.height / (bottom - top), column = (x - left) * frame.width / (right - left)
        let start = (row * frame.width + column) * 3
        blend(
          x, y, SIMD3(Float(frame.pixels[start]), Float(frame.pixels[start + 1]), Float(frame.pixels[start + 2])), 1)
      }
    }
  }

  // MARK: Pixels

  /// Blends `ink` in by the share of each pixel that is covered.
  /// - Parameters:
  ///   - low, high: corners of what is drawn, in pixels.
  ///   - coverage: at the middle of a pixel; below 0 is 0, above 1 is 1.
  private mutating func cover(
    _ low: SIMD2<Double>, _ high: SIMD2<Double>, _ ink: Ink, _ opacity: Double,
    _ coverage: (SIMD2<Double>) -> Double
  ) {
    let color = Self.color(ink), (columns, rows) = around(low, high)
    for y in rows {
      for x in columns {
        let share = coverage(SIMD2(Double(x) + 0.5, Double(y) + 0.5))
        if share > 0 { blend(x, y, color, Float(min(share, 1) * opacity)) }
      }
    }
  }

  /// The pixels in and around a box.
  private func around(_ low: SIMD2<Double>, _ high: SIMD2<Double>) -> (columns: Range<Int>, rows: Range<Int>) {
    func range(_ low: Double, _ high: Double, _ count: Int) -> Range<Int> {
      let first = min(max(0, Int(low) - 1), count)
      return first..<max(first, min(count, Int(high) + 2))
    }
    return (range(low.x, high.x, width), range(low.y, high.y, height))
  }

  private mutating func blend(_ x: Int, _ y: Int, _ color: SIMD3<Float>, _ share: Float) {
    guard (0..<width).contains(x), (0..<height).contains(y) else { return }
    pixels[y * width + x] += (color - pixels[y * width + x]) * share
  }

  private static func color(_ ink: Ink) -> SIMD3<Float> {
    let color = ink.colors.light
    return SIMD3(Float(color >> 16 & 255), Float(color >> 8 & 255), Float(color & 255))
  }

  /// In the letters there are.
  private static func plain(_ text: String) -> String {
    String(text.map { ["×": "x", "–": "-", "…": ".", "·": "-"][$0] ?? $0 })
  }

  /// The parts of a line that are drawn.
  private static func dashed(_ points: [SIMD2<Double>], _ dashes: [Double]) -> [[SIMD2<Double>]] {
    guard let first = points.first, dashes.contains(where: { $0 > 0 }) else { return [points] }
    var pieces: [[SIMD2<Double>]] = [[first]], turn = 0, left = dashes[0]
    for (start, end) in zip(points, points.dropFirst()) {
      var at = start
      while true {
        let rest = (end - at).length
        guard rest > left else {
          left -= rest
          if turn % 2 == 0 { pieces[pieces.count - 1].append(end) }
          break
        }
        at += (end - at) / rest * left
        if turn % 2 == 0 { pieces[pieces.count - 1].append(at) } else { pieces.append([at]) }
        turn += 1
        left = max(dashes[turn % dashes.count], 0.5)
      }
    }
    return pieces.filter { $0.count > 1 }
  }
}
