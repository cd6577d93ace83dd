/// An estimate with the range that it may lie in.
public struct ConfidenceInterval: Sendable, Hashable, Codable {
  public var estimate: Double, lower: Double, upper: Double
}

/// Percentile bootstrap (Efron 1979): the statistic of as many values drawn with replacement, many times over. The same
/// seed and values give the same interval on every machine.
public struct Bootstrap: Sendable, Hashable {
  /// What is estimated.
  public enum Statistic: String, Sendable, Hashable, Codable {
    case mean, median

    func callAsFunction(_ values: [Double]) -> Double { self == .mean ? values.mean : values.median }
  }

  public var seed: UInt64
  /// Drawings.
  public var resamples: Int
  /// Share of the drawings that the interval holds, 0...1.
  public var confidence: Double

  public init(seed: UInt64 = 0, resamples: Int = 10_000, confidence: Double = 0.95) {
    precondition(resamples > 0 && (0...1).contains(confidence), "\(resamples) drawings, confidence \(confidence)")
    (self.seed, self.resamples, self.confidence) = (seed, resamples, confidence)
  }

  /// The interval over independent values, such as one for each prompt.
  /// - Parameter values: at least one, none NaN. Infinite ones, such as PSNR of equal frames, make the mean infinite.
  public func interval(_ values: [Double], of statistic: Statistic = .mean) -> ConfidenceInterval {
    precondition(!values.isEmpty && !values.contains { $0.isNaN }, "bootstrap of \(values.count) values, or of NaN")
    var generator = SplitMix64(state: seed), drawn = values
    let drawings = (0..<resamples).map { _ in
      for index in drawn.indices { drawn[index] = values[generator.next(below: values.count)] }
      return statistic(drawn)
    }.sorted()
    return ConfidenceInterval(
      estimate: statistic(values), lower: drawings.quantileOfSorted((1 - confidence) / 2),
      upper: drawings.quantileOfSorted((1 + confidence) / 2))
  }

  /// The interval over prompts, each of which has values for several seeds: those of one prompt are not independent, so
  /// prompts are drawn, each standing for the mean of its values.
  /// - Parameter prompts: at least one prompt, each with at least one value.
  public func interval(byPrompt prompts: [[Double]], of statistic: Statistic = .mean) -> ConfidenceInterval {
    interval(prompts.map(\.mean), of: statistic)
  }
}

/// The generator of Steele, Lea and Flood 2014 (doi:10.1145/2660193.2660195).
struct SplitMix64 {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
    return word ^ word >> 31
  }

  /// Even over `0 ..< count`, but for a share of `count / 2^64`.
  mutating func next(below count: Int) -> Int { Int(next().multipliedFullWidth(by: UInt64(count)).high) }
}
