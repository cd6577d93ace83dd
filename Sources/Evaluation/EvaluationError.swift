/// What can be wrong with what is to be measured, in one line.
public enum EvaluationError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Frames of different sizes are compared, each as `WIDTHxHEIGHT`.
  case differentSizes(metric: String, expected: String, found: String)
  /// A frame is smaller than the metric can measure; `minimum` in pixels of the shorter side.
  case tooSmall(metric: String, minimum: Int, found: String)
  /// Clips of different lengths are compared, in frames.
  case differentLengths(metric: String, expected: Int, found: Int)
  /// A clip has fewer frames than the metric needs.
  case tooShort(metric: String, minimum: Int, found: Int)
  /// Tensors of different shapes are compared.
  case differentShapes(expected: [Int], found: [Int])
  /// A metric's own weights are missing or not what they must be.
  case weights(path: String, reason: String)
  /// A caption is said to promise what a judge cannot tell; `place` in the expectation, such as `things[0].shape`.
  case expectation(place: String, expected: String, found: String)

  public var description: String {
    switch self {
    case .differentSizes(let metric, let expected, let found):
      "\(metric): frame of \(found) compared with one of \(expected); sizes must be equal"
    case .tooSmall(let metric, let minimum, let found):
      "\(metric): frame of \(found) is too small; the shorter side must have at least \(minimum) pixels"
    case .differentLengths(let metric, let expected, let found):
      "\(metric): clip of \(found) frames compared with one of \(expected); lengths must be equal"
    case .tooShort(let metric, let minimum, let found):
      "\(metric): clip of \(found) frames is too short; expected at least \(minimum)"
    case .differentShapes(let expected, let found):
      "relative L2: tensor of shape \(found) compared with one of \(expected); shapes must be equal"
    case .weights(let path, let reason): "\(path): \(reason)"
    case .expectation(let place, let expected, let found): "\(place): expected \(expected); found '\(found)'"
    }
  }
}
