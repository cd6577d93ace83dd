/// Pictures of matrices in a perceptually even colour map: dark violet, blue, green, yellow.
public enum HeatMap {
  /// Colours at 0, 1/8, ... 1, close to viridis of matplotlib (van der Walt and Smith, CC0); straight lines between.
  private static let stops: [SIMD3<Float>] = [
    [68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140],
    [40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37],
  ]

  /// The colour of `value` in 0...1; outside is clamped, NaN is mid grey.
  public static func color(_ value: Float) -> (red: UInt8, green: UInt8, blue: UInt8) {
    if value.isNaN { return (128, 128, 128) }
    let place = min(max(value, 0), 1) * Float(stops.count - 1)
    let index = min(Int(place), stops.count - 2)
    let color = stops[index] + (stops[index + 1] - stops[index]) * (place - Float(index))
    let rounded = color.rounded(.toNearestOrAwayFromZero)
    return (UInt8(rounded.x), UInt8(rounded.y), UInt8(rounded.z))
  }

  /// One square of `scale` by `scale` pixels for each value.
  /// - Parameters:
  ///   - values: `[rows, columns]`, row after row; the first row is drawn at the top.
  ///   - range: values for the first and the last colour; the extremes of the finite values when `nil`.
  public static func draw(
    _ values: [Float], rows: Int, columns: Int, scale: Int = 1, range: ClosedRange<Float>? = nil
  ) -> Frame {
    precondition(rows > 0 && columns > 0 && scale > 0, "heat map of \(rows)x\(columns) at \(scale)")
    precondition(values.count == rows * columns, "\(values.count) values for \(rows)x\(columns)")
    let finite = values.filter(\.isFinite)
    let low = range?.lowerBound ?? finite.min() ?? 0, high = range?.upperBound ?? finite.max() ?? 0
    var pixels: [UInt8] = []
    pixels.reserveCapacity(values.count * scale * scale * 3)
    for row in 0..<rows {
      var line: [UInt8] = []
      for value in values[row * columns..<(row + 1) * columns] {
        // In halves, so that the span of the largest numbers does not overflow. Equal values are drawn as the lowest.
        let span = high / 2 - low / 2
        let (red, green, blue) = color(span > 0 || value.isNaN ? (value / 2 - low / 2) / span : 0)
        for _ in 0..<scale { line += [red, green, blue] }
      }
      for _ in 0..<scale { pixels += line }
    }
    return Frame(width: columns * scale, height: rows * scale, pixels: pixels)
  }
}
