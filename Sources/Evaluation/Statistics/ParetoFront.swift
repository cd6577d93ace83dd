/// The settings worth choosing: those that no other one equals or betters in everything and betters in something.
public enum ParetoFront {
  /// Indices of the points that are not dominated, ascending. Equal points are kept together or not at all.
  /// - Parameters:
  ///   - points: one coordinate an axis, none NaN.
  ///   - axes: which coordinates are better.
  public static func indices(of points: [[Double]], axes: [MetricDirection]) -> [Int] {
    for point in points {
      precondition(
        point.count == axes.count && !point.contains { $0.isNaN }, "point \(point) for \(axes.count) axes")
    }
    return points.indices.filter { index in !points.contains { dominates($0, points[index], axes) } }
  }

  private static func dominates(_ a: [Double], _ b: [Double], _ axes: [MetricDirection]) -> Bool {
    let isNowhereWorse = axes.indices.allSatisfy { !axes[$0].isBetter(b[$0], than: a[$0]) }
    return isNowhereWorse && axes.indices.contains { axes[$0].isBetter(a[$0], than: b[$0]) }
  }
}
