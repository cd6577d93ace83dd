import Media

/// Which values of a metric are better.
public enum MetricDirection: String, Sendable, Hashable, Codable {
  case lower, higher

  /// Whether `a` is better than `b`.
  public func isBetter(_ a: Double, than b: Double) -> Bool { self == .lower ? a < b : a > b }
}

/// What compares a clip with a reference of the same size and length, frame by frame.
public protocol ClipMetric: Sendable {
  /// The spelling in specs, tables and plots.
  var name: String { get }
  var direction: MetricDirection { get }
  /// One value a frame, or a pair of neighbouring frames; throws ``EvaluationError``.
  func curve(_ clip: [Frame], reference: [Frame]) throws -> MetricCurve
}

/// What compares one frame with a reference of the same size. Values do not depend on the number of threads.
public protocol FrameMetric: ClipMetric {
  /// Throws ``EvaluationError`` where the frames cannot be compared.
  func callAsFunction(_ frame: Frame, reference: Frame) throws -> Double
}

extension FrameMetric {
  public func curve(_ clip: [Frame], reference: [Frame]) throws -> MetricCurve {
    try requireEqualLengths(clip, reference, minimum: 1)
    return MetricCurve(
      name: name, direction: direction, values: try zip(clip, reference).map { try self($0, reference: $1) })
  }

  /// Throws unless both frames have one size, whose shorter side has at least `minimum` pixels.
  func requireEqualSizes(_ frame: Frame, _ reference: Frame, minimum: Int = 1) throws {
    guard frame.width == reference.width, frame.height == reference.height else {
      throw EvaluationError.differentSizes(metric: name, expected: reference.sizeName, found: frame.sizeName)
    }
    guard min(frame.width, frame.height) >= minimum else {
      throw EvaluationError.tooSmall(metric: name, minimum: minimum, found: frame.sizeName)
    }
  }
}

extension ClipMetric {
  /// Throws unless both clips have as many frames, and enough.
  func requireEqualLengths(_ clip: [Frame], _ reference: [Frame], minimum: Int) throws {
    guard clip.count == reference.count else {
      throw EvaluationError.differentLengths(metric: name, expected: reference.count, found: clip.count)
    }
    guard clip.count >= minimum else {
      throw EvaluationError.tooShort(metric: name, minimum: minimum, found: clip.count)
    }
  }
}

/// The metrics that need no weights.
public enum Metrics {
  /// For pictures, and for each frame of a clip.
  public static let frame: [any FrameMetric] = [PSNR(), SSIM(), MultiScaleSSIM(), FLIP()]
  /// For clips only.
  public static let temporal: [any ClipMetric] = [TemporalDifferenceError(), FlickerExcess()]
}

extension Frame {
  var sizeName: String { "\(width)x\(height)" }
}
