/// How one setting differs from another over the same prompts and seeds.
public struct PairedDifference: Sendable, Hashable, Codable {
  /// The mean of the differences, setting less baseline.
  public var mean: ConfidenceInterval
  /// The differences themselves.
  public var spread: Spread
  /// Pairs where the setting is better, worse, and neither.
  public var wins: Int, losses: Int, ties: Int

  /// - Parameters:
  ///   - setting, baseline: pair by pair, as many of both, at least one, all finite.
  ///   - direction: which values are better.
  public init(_ setting: [Double], baseline: [Double], direction: MetricDirection, bootstrap: Bootstrap = Bootstrap()) {
    precondition(setting.count == baseline.count, "\(setting.count) values paired with \(baseline.count)")
    let differences = zip(setting, baseline).map { $0 - $1 }
    mean = bootstrap.interval(differences)
    spread = Spread(differences)
    wins = zip(setting, baseline).count { direction.isBetter($0, than: $1) }
    losses = zip(setting, baseline).count { direction.isBetter($1, than: $0) }
    ties = setting.count - wins - losses
  }

  /// Whether the interval lies on one side of 0.
  public var isSignificant: Bool { mean.lower > 0 || mean.upper < 0 }
}
