import Media

/// Pictures of where two frames differ, for reports.
public enum DifferenceImage {
  /// The absolute difference of every value, times `gain`; what passes 255 is 255. Equal frames are black.
  public static func absolute(_ frame: Frame, reference: Frame, gain: Double = 4) throws -> Frame {
    try requireEqualSizes(frame, reference)
    return Frame(
      width: frame.width, height: frame.height,
      pixels: zip(frame.pixels, reference.pixels).map { a, b in
        UInt8(min((abs(Double(a) - Double(b)) * gain).rounded(), 255))
      })
  }

  /// Where a frame is brighter (red) or darker (blue) than the reference, by the mean of its three values; white is
  /// equal, and full colour is `limit` levels of 255 or more.
  public static func signed(_ frame: Frame, reference: Frame, limit: Double = 32) throws -> Frame {
    try requireEqualSizes(frame, reference)
    precondition(limit > 0, "a limit of \(limit) levels")
    var pixels: [UInt8] = []
    pixels.reserveCapacity(frame.pixels.count)
    for index in stride(from: 0, to: frame.pixels.count, by: 3) {
      let sum = (index..<index + 3).reduce(0) { $0 + Int(frame.pixels[$1]) - Int(reference.pixels[$1]) }
      let share = min(max(Double(sum) / 3 / limit, -1), 1), pale = UInt8((255 * (1 - abs(share))).rounded())
      pixels += share < 0 ? [pale, pale, 255] : [255, pale, pale]
    }
    return Frame(width: frame.width, height: frame.height, pixels: pixels)
  }

  private static func requireEqualSizes(_ frame: Frame, _ reference: Frame) throws {
    guard frame.width == reference.width, frame.height == reference.height else {
      throw EvaluationError.differentSizes(
        metric: "difference image", expected: reference.sizeName, found: frame.sizeName)
    }
  }
}
