/// A picture of at most 255 colours.
struct IndexedPicture: Sendable, Hashable {
  /// `[height, width]`, row after row: places in the palette.
  let indices: [UInt8]
  let palette: [SIMD3<UInt8>]
  /// Tells palettes of a clip apart, even those of the same colours.
  let paletteNumber: Int
}

/// Reduces frames of a clip to few colours each, with error diffusion (Floyd and Steinberg, 1976).
///
/// A palette is kept for as long as it serves: new ones for every frame would make what stands still flicker.
struct ColorQuantizer {
  /// One place of 256 is left for "as before", which GIF uses.
  static let maxColors = 255

  private var palette: ColorPalette?
  private var paletteNumber = 0
  /// Squared error of the palette on the frame it was made for, in levels, per pixel.
  private var errorAtFirst: Float = 0

  mutating func quantize(_ frame: Frame) -> IndexedPicture {
    let histogram = ColorHistogram(frame)
    var palette: ColorPalette
    if let kept = self.palette, histogram.error(of: kept) <= 1.25 * errorAtFirst + 0.5 {
      palette = kept
    } else {
      palette = ColorPalette(histogram.colors(Self.maxColors))
      paletteNumber += 1
      errorAtFirst = histogram.error(of: palette)
    }
    let indices = Self.diffuse(frame, &palette)
    self.palette = palette
    return IndexedPicture(indices: indices, palette: palette.colors, paletteNumber: paletteNumber)
  }

  /// The nearest colours, where each pixel's error is handed on to its neighbours to come: 7/16 ahead, 3/16, 5/16 and
  /// 1/16 below. Every other row runs backwards, which breaks up worms.
  private static func diffuse(_ frame: Frame, _ palette: inout ColorPalette) -> [UInt8] {
    let width = frame.width
    var indices = [UInt8](repeating: 0, count: width * frame.height)
    // Sixteenths of a level; one column more at either end.
    var below = [SIMD4<Int32>](repeating: .zero, count: width + 2)
    for y in 0..<frame.height {
      let here = below
      below = [SIMD4<Int32>](repeating: .zero, count: width + 2)
      var ahead = SIMD4<Int32>.zero
      let step = y % 2 == 0 ? 1 : -1
      var x = y % 2 == 0 ? 0 : width - 1
      for _ in 0..<width {
        let pixel = (y * width + x) * 3
        let exact = SIMD4(
          Int32(frame.pixels[pixel]), Int32(frame.pixels[pixel + 1]), Int32(frame.pixels[pixel + 2]), 0)
        let wanted = (exact &+ ((here[x + 1] &+ ahead &+ 8) &>> 4)).clamped(
          lowerBound: .zero, upperBound: SIMD4(255, 255, 255, 0))
        let index = palette.nearest(wanted)
        indices[y * width + x] = UInt8(index)
        let error = wanted &- palette.levels[index]
        ahead = error &* 7
        below[x + 1 - step] &+= error &* 3
        below[x + 1] &+= error &* 5
        below[x + 1 + step] &+= error
        x += step
      }
    }
    return indices
  }
}

/// Colours, and the nearest of them to any.
struct ColorPalette {
  let colors: [SIMD3<UInt8>]
  /// The same, for sums: red, green, blue, 0.
  let levels: [SIMD4<Int32>]
  /// The answer for colours alike in their six upper bits a channel; -1 where nobody asked yet.
  private var answers = [Int16](repeating: -1, count: 1 << 18)

  init(_ colors: [SIMD3<UInt8>]) {
    precondition(!colors.isEmpty && colors.count <= 256, "palette of \(colors.count)")
    self.colors = colors
    levels = colors.map { SIMD4(Int32($0.x), Int32($0.y), Int32($0.z), 0) }
  }

  /// The place of the colour nearest to `color`, or to one 3 levels away at most in each channel.
  mutating func nearest(_ color: SIMD4<Int32>) -> Int {
    let cell = color &>> 2
    let slot = Int(cell.x << 12 | cell.y << 6 | cell.z)
    if answers[slot] >= 0 { return Int(answers[slot]) }
    let index = exactlyNearest(color).index
    answers[slot] = Int16(index)
    return index
  }

  func exactlyNearest(_ color: SIMD4<Int32>) -> (index: Int, squaredDistance: Int32) {
    var best = (index: 0, squaredDistance: Int32.max)
    for (index, level) in levels.enumerated() {
      let offset = level &- color
      let squaredDistance = (offset &* offset).wrappedSum()
      if squaredDistance < best.squaredDistance { best = (index, squaredDistance) }
    }
    return best
  }
}
