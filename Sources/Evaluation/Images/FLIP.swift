import Foundation
import Media

/// LDR-FLIP (Andersson et al. 2020, "FLIP: A Difference Evaluator for Alternating Images", doi:10.1145/3406183): the
/// difference seen when one picture is flipped to the other on a screen, 0...1 for each pixel, and its mean.
///
/// The same as `flip_evaluator.evaluate(reference, frame, "LDR")` to Float32 accuracy.
public struct FLIP: FrameMetric {
  public let name = "flip"
  public let direction = MetricDirection.lower
  /// Pixels in a degree of the viewer's sight.
  public let pixelsPerDegree: Double

  /// - Parameter pixelsPerDegree: the default is the authors': a screen of 3840 pixels on 0.7 m, seen from 0.7 m.
  public init(pixelsPerDegree: Double = 0.7 * 3840 / 0.7 * .pi / 180) {
    precondition(pixelsPerDegree > 0, "\(pixelsPerDegree) pixels in a degree")
    self.pixelsPerDegree = pixelsPerDegree
  }

  public func callAsFunction(_ frame: Frame, reference: Frame) throws -> Double {
    let map = try errorMap(frame, reference: reference)
    return map.reduce(0, +) / Double(map.count)
  }

  /// The error of every pixel, `[height, width]`, each in 0...1.
  public func errorMap(_ frame: Frame, reference: Frame) throws -> [Double] {
    try requireEqualSizes(frame, reference)
    let opponents = (OpponentColor.planes(frame), OpponentColor.planes(reference))
    let colors = (filteredColors(opponents.0), filteredColors(opponents.1))
    let features = (self.features(opponents.0), self.features(opponents.1))
    let errors = Planes(width: frame.width, height: frame.height) { y, result in
      for index in y * frame.width..<(y + 1) * frame.width {
        let color = Self.colorError(colors.0.pixels[index], colors.1.pixels[index])
        let difference = features.0.pixels[index] - features.1.pixels[index]
        // The square root is the exponent q_f = 0.5.
        let feature = (max(abs(difference.x), abs(difference.y)) / 2.0.squareRoot()).squareRoot()
        result.append([pow(color, 1 - feature), 0, 0, 0])
      }
    }
    return errors.pixels.map(\.x)
  }

  // MARK: Colour

  /// The error of two colours from 0 to 1: what lies below the share p_c = 0.4 of the largest takes p_t = 0.95 of it.
  private static func colorError(_ a: Planes.Pixel, _ b: Planes.Pixel) -> Double {
    let share = 0.4 * largestDifference, error = pow(PerceivedColor.distance(a, b), exponent)
    return error < share ? 0.95 / share * error : 0.95 + (error - share) / (largestDifference - share) * 0.05
  }
  /// The exponent q_c.
  private static let exponent = 0.7
  /// Between green and blue.
  private static let largestDifference = pow(
    PerceivedColor.distance(PerceivedColor.of([0, 1, 0, 0]), PerceivedColor.of([0, 0, 1, 0])), exponent)

  /// Colours as they are perceived after the eye's blur: one Gaussian for lightness and for red-green, a sum of two
  /// for yellow-blue.
  private func filteredColors(_ opponents: Planes) -> Planes {
    let spreads = Planes.Pixel(0.0047, 0.0053, 0.04, 0.025), heights = Planes.Pixel(1, 1, 34.1, 13.5)
    let radius = Int((3 * (spreads.max() / (2 * .pi * .pi)).squareRoot() * pixelsPerDegree).rounded(.up))
    var taps = (-radius...radius).map { tap in
      let place = Double(tap) / pixelsPerDegree
      return (-.pi * .pi * place * place / spreads).map(exp)
    }
    let sums = taps.reduce(.zero, +)
    taps = taps.map { $0 / sums }
    let volumes = heights * (.pi / spreads).squareRoot() * sums * sums
    let first = volumes.z / (volumes.z + volumes.w)
    let blurred = opponents.map { Planes.Pixel($0.x, $0.y, $0.z, $0.z) }
      .filtered(horizontal: taps, vertical: taps, border: .repeated)
    return blurred.map { color in
      let opponent = Planes.Pixel(color.x, color.y, first * color.z + (1 - first) * color.w, 0)
      return PerceivedColor.of(OpponentColor.linear(opponent).clamped(lowerBound: .zero, upperBound: .one))
    }
  }

  // MARK: Features

  /// The strength of edges in the first lane, of points in the second.
  private func features(_ opponents: Planes) -> Planes {
    let deviation = 0.5 * 0.082 * pixelsPerDegree, radius = Int((3 * deviation).rounded(.up))
    let places = (-radius...radius).map(Double.init)
    let bell = places.map { exp(-$0 * $0 / (2 * deviation * deviation)) }
    let smooth = Self.balanced(bell)
    let edge = Self.balanced(zip(places, bell).map { -$0 * $1 })
    let point = Self.balanced(zip(places, bell).map { ($0 * $0 / (deviation * deviation) - 1) * $1 })
    let responses = opponents.map { Planes.Pixel(repeating: ($0.x + 16) / 116) }.filtered(
      horizontal: places.indices.map { [edge[$0], smooth[$0], point[$0], smooth[$0]] },
      vertical: places.indices.map { [smooth[$0], edge[$0], smooth[$0], point[$0]] }, border: .repeated)
    return responses.map { response in
      let squares = response * response
      return [(squares.x + squares.y).squareRoot(), (squares.z + squares.w).squareRoot(), 0, 0]
    }
  }

  /// Taps whose positive ones sum to 1, and negative ones to -1.
  private static func balanced(_ taps: [Double]) -> [Double] {
    let positive = taps.reduce(0) { $0 + max($1, 0) }, negative = taps.reduce(0) { $0 + max(-$1, 0) }
    return taps.map { $0 > 0 ? $0 / positive : $0 < 0 ? $0 / negative : 0 }
  }
}

extension SIMD4<Double> {
  fileprivate func map(_ transform: (Double) -> Double) -> Self {
    [transform(x), transform(y), transform(z), transform(w)]
  }
}
