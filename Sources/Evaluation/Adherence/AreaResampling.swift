import Media

extension Frame {
  /// Means of 8-bit values over areas, at another size: row `i` of `height` covers the rows from
  /// `floor(i * self.height / height)` to `ceil((i + 1) * self.height / height)`, and columns likewise. The same as torch's
  /// `interpolate(mode="area")`, larger sizes included; the frame's own size leaves values as they are.
  /// - Returns: `[height, width, 3]`, 0...255.
  func areaResampled(width newWidth: Int, height newHeight: Int) -> [Float] {
    func range(_ index: Int, _ count: Int, of extent: Int) -> Range<Int> {
      index * extent / count..<((index + 1) * extent + count - 1) / count
    }
    let columns = (0..<newWidth).map { range($0, newWidth, of: width) }
    var result: [Float] = []
    result.reserveCapacity(newHeight * newWidth * 3)
    for row in 0..<newHeight {
      let rows = range(row, newHeight, of: height)
      for columns in columns {
        var red = 0, green = 0, blue = 0
        for y in rows {
          for index in stride(
            from: (y * width + columns.lowerBound) * 3, to: (y * width + columns.upperBound) * 3, by: 3)
          {
            red += Int(pixels[index])
            green += Int(pixels[index + 1])
            blue += Int(pixels[index + 2])
          }
        }
        let area = Float(rows.count * columns.count)
        result += [Float(red) / area, Float(green) / area, Float(blue) / area]
      }
    }
    return result
  }
}
