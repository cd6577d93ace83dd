/// A metric's values along a clip.
public struct MetricCurve: Sendable, Hashable {
  public let name: String
  public let direction: MetricDirection
  /// One a frame, or one a pair of neighbouring frames. Never empty; infinite where PSNR found equal frames.
  public let values: [Double]

  public init(name: String, direction: MetricDirection, values: [Double]) {
    precondition(!values.isEmpty, "\(name): a curve without values")
    (self.name, self.direction, self.values) = (name, direction, values)
  }

  /// What stands for the curve in tables.
  public struct Summary: Sendable, Hashable {
    /// Over the values that are finite; infinite where none is.
    public var mean: Double
    public var minimum: Double, maximum: Double
    /// Index of the worst value, the first of equal ones.
    public var worstFrame: Int
    /// Values left out of the mean: of PSNR, frames equal to the reference.
    public var infiniteCount: Int
  }

  public var summary: Summary {
    let finite = values.filter(\.isFinite)
    var worst = 0
    for index in values.indices where direction.isBetter(values[worst], than: values[index]) { worst = index }
    return Summary(
      mean: finite.isEmpty ? values[0] : finite.reduce(0, +) / Double(finite.count), minimum: values.min()!,
      maximum: values.max()!, worstFrame: worst, infiniteCount: values.count - finite.count)
  }
}
