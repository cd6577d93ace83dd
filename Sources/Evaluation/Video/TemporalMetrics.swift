import Media

/// How differently two clips move: the root mean square, over all values of a frame, of the difference between one
/// clip's step from a frame to the next and the other's, in levels of 255. A constant offset between the clips costs
/// nothing; jitter that the reference lacks, and motion that it has and the clip lacks, both cost.
///
/// `value[t] = sqrt(mean(((clip[t + 1] - clip[t]) - (reference[t + 1] - reference[t]))^2))`: dtSSD of Erofeev et al. 2015
/// ("Perceptually motivated benchmark for video matting", BMVC), with a mean for the sum, of colours instead of mattes.
public struct TemporalDifferenceError: ClipMetric {
  public let name = "temporal-difference-error"
  public let direction = MetricDirection.lower

  public init() {}

  public func curve(_ clip: [Frame], reference: [Frame]) throws -> MetricCurve {
    try requireEqualClips(clip, reference)
    let values = parallelMap(clip.count - 1) { index in
      let (a, b) = (clip[index].pixels, clip[index + 1].pixels)
      let (c, d) = (reference[index].pixels, reference[index + 1].pixels)
      var sum = 0
      for value in a.indices {
        let error = Int(b[value]) - Int(a[value]) - Int(d[value]) + Int(c[value])
        sum += error * error
      }
      return (Double(sum) / Double(a.count)).squareRoot()
    }
    return MetricCurve(name: name, direction: direction, values: values)
  }
}

/// How much a clip changes from frame to frame: the mean absolute difference of neighbouring frames, in levels of 255.
/// This is what VBench calls temporal flickering (Huang et al. 2024, arXiv:2311.17982), where its score is
/// `(255 - mean) / 255`. It needs no reference, and counts motion as well: compare only clips of one scene.
public enum Flicker {
  public static let name = "flicker"

  /// One value a pair of neighbouring frames.
  public static func curve(_ clip: [Frame]) throws -> MetricCurve {
    guard clip.count >= 2 else { throw EvaluationError.tooShort(metric: name, minimum: 2, found: clip.count) }
    for frame in clip where frame.width != clip[0].width || frame.height != clip[0].height {
      throw EvaluationError.differentSizes(metric: name, expected: clip[0].sizeName, found: frame.sizeName)
    }
    let values = parallelMap(clip.count - 1) { index in
      let (a, b) = (clip[index].pixels, clip[index + 1].pixels)
      var sum = 0
      for value in a.indices { sum += abs(Int(b[value]) - Int(a[value])) }
      return Double(sum) / Double(a.count)
    }
    return MetricCurve(name: name, direction: .lower, values: values)
  }

  /// VBench's score of a clip, 0...1, higher is steadier.
  public static func score(_ curve: MetricCurve) -> Double { (255 - curve.summary.mean) / 255 }
}

/// ``Flicker`` of a clip less that of the reference, in levels of 255: above 0 where the clip is less steady, below 0
/// where it moves less.
public struct FlickerExcess: ClipMetric {
  public let name = "flicker-excess"
  public let direction = MetricDirection.lower

  public init() {}

  public func curve(_ clip: [Frame], reference: [Frame]) throws -> MetricCurve {
    try requireEqualClips(clip, reference)
    let (own, other) = (try Flicker.curve(clip).values, try Flicker.curve(reference).values)
    return MetricCurve(name: name, direction: direction, values: zip(own, other).map { $0 - $1 })
  }
}

extension ClipMetric {
  /// Throws unless the clips have as many frames, two at least, all of one size.
  fileprivate func requireEqualClips(_ clip: [Frame], _ reference: [Frame]) throws {
    try requireEqualLengths(clip, reference, minimum: 2)
    for frame in clip + reference
    where frame.width != reference[0].width || frame.height != reference[0].height {
      throw EvaluationError.differentSizes(metric: name, expected: reference[0].sizeName, found: frame.sizeName)
    }
  }
}
