extension Sequence<Double> {
  /// Arithmetic mean; NaN of nothing.
  public var mean: Double {
    var sum = 0.0, count = 0.0
    for value in self { (sum, count) = (sum + value, count + 1) }
    return sum / count
  }

  /// The middle value, or the mean of the two in the middle; NaN of nothing.
  public var median: Double { quantile(0.5) }

  /// The value below which a share of all lies, straight lines between neighbours (`numpy.quantile`'s default); NaN of
  /// nothing.
  /// - Parameter share: 0...1.
  public func quantile(_ share: Double) -> Double { sorted().quantileOfSorted(share) }
}

extension Array<Double> {
  func quantileOfSorted(_ share: Double) -> Double {
    precondition((0...1).contains(share), "a share of \(share)")
    guard !isEmpty else { return .nan }
    let place = share * Double(count - 1), index = Swift.min(Int(place), count - 1)
    let low = self[index], high = self[Swift.min(index + 1, count - 1)], fraction = place - Double(index)
    // Neighbours may be infinite.
    return low == high || fraction == 0 ? low : low + (high - low) * fraction
  }
}

/// Repeated measurements in five numbers.
public struct Spread: Sendable, Hashable, Codable {
  public var count: Int
  public var median: Double, lowerQuartile: Double, upperQuartile: Double, minimum: Double, maximum: Double

  /// - Parameter values: at least one, none NaN.
  public init(_ values: [Double]) {
    precondition(!values.isEmpty && !values.contains { $0.isNaN }, "spread of \(values.count) values, or of NaN")
    let sorted = values.sorted()
    count = sorted.count
    (minimum, maximum) = (sorted[0], sorted[sorted.count - 1])
    (median, lowerQuartile) = (sorted.quantileOfSorted(0.5), sorted.quantileOfSorted(0.25))
    upperQuartile = sorted.quantileOfSorted(0.75)
  }

  /// Between the quartiles.
  public var interquartileRange: Double { upperQuartile - lowerQuartile }
}
