/// A straight line between two points.
struct Segment {
  let start: SIMD2<Double>, along: SIMD2<Double>

  init(_ start: SIMD2<Double>, _ end: SIMD2<Double>) { (self.start, along) = (start, end - start) }

  func distance(_ point: SIMD2<Double>) -> Double {
    let offset = point - start, square = (along * along).sum()
    let place = square > 0 ? min(max((offset * along).sum() / square, 0), 1) : 0
    return (offset - along * place).length
  }
}

/// A polygon that does not cross itself.
struct Polygon {
  let corners: [SIMD2<Double>], low: SIMD2<Double>, high: SIMD2<Double>
  private let sides: [Segment]

  /// - Parameter corners: at least three.
  init(_ corners: [SIMD2<Double>]) {
    precondition(corners.count > 2, "a polygon of \(corners.count) corners")
    self.corners = corners
    (low, high) = (corners.reduce(corners[0], pointwiseMin), corners.reduce(corners[0], pointwiseMax))
    sides = corners.indices.map { Segment(corners[$0], corners[($0 + 1) % corners.count]) }
  }

  /// To the outline; negative inside.
  func distance(_ point: SIMD2<Double>) -> Double {
    let nearest = sides.map { $0.distance(point) }.min() ?? .infinity
    // A ray to the right crosses the outline an odd number of times from inside.
    let crossings = sides.count { side in
      let end = side.start + side.along
      guard (side.start.y > point.y) != (end.y > point.y) else { return false }
      return point.x < side.start.x + side.along.x * (point.y - side.start.y) / side.along.y
    }
    return crossings % 2 == 1 ? -nearest : nearest
  }
}

extension SIMD2<Double> {
  var length: Double { (self * self).sum().squareRoot() }
}
