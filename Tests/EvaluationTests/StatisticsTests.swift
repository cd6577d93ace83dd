import Testing

@testable import Evaluation

@Suite struct StatisticsTests {
  private let expected = ReferenceResults.all.statistics

  @Test func bootstrapEqualsReference() {
    let bootstrap = Bootstrap(
      seed: expected.seed, resamples: expected.resamples, confidence: expected.confidence)
    for item in expected.intervals {
      let interval = bootstrap.interval(expected.values, of: Bootstrap.Statistic(rawValue: item.statistic)!)
      #expect(abs(interval.lower - item.lower) < 1e-12 && abs(interval.upper - item.upper) < 1e-12)
      // scipy draws other samples.
      #expect(abs(interval.lower - item.scipyLower) < 0.4 && abs(interval.upper - item.scipyUpper) < 0.4)
      #expect(interval.lower < interval.estimate && interval.estimate < interval.upper)
    }
    #expect(Bootstrap(seed: 1).interval(expected.values) != Bootstrap(seed: 2).interval(expected.values))
  }

  @Test func promptsAreDrawnWhole() {
    let prompts = [[1.0, 3], [5, 7], [2, 2], [9, 11]]
    #expect(Bootstrap(seed: 3).interval(byPrompt: prompts) == Bootstrap(seed: 3).interval([2, 6, 2, 10]))
  }

  @Test func intervalsOfFewOrInfiniteValues() {
    let one = Bootstrap().interval([4.5])
    #expect(one == ConfidenceInterval(estimate: 4.5, lower: 4.5, upper: 4.5))
    let infinite = Bootstrap().interval([.infinity, .infinity])
    #expect(infinite.lower == .infinity && infinite.upper == .infinity)
    let mixed = Bootstrap().interval([30, 30, 30, 30, .infinity])
    #expect(mixed.lower == 30 && mixed.upper == .infinity && mixed.estimate == .infinity)
  }

  @Test func quantilesEqualReference() {
    for (share, value) in expected.quantiles {
      #expect(abs(expected.values.quantile(Double(share)!) - value) < 1e-12)
    }
    let spread = Spread([3, 1, 2, 10])
    #expect(spread.median == 2.5 && spread.minimum == 1 && spread.maximum == 10 && spread.count == 4)
    #expect(spread.interquartileRange == 4.75 - 1.75)
    #expect([Double]().median.isNaN)
  }

  @Test func pairsTellWinsFromLosses() {
    let baseline = [30.0, 28, 35, 31, 29], setting = [31.0, 29.5, 35, 30.5, 30]
    let higher = PairedDifference(setting, baseline: baseline, direction: .higher)
    #expect((higher.wins, higher.losses, higher.ties) == (3, 1, 1))
    #expect(abs(higher.mean.estimate - 0.6) < 1e-12 && higher.spread.median == 1)
    let lower = PairedDifference(setting, baseline: baseline, direction: .lower)
    #expect((lower.wins, lower.losses, lower.ties) == (1, 3, 1))
    #expect(PairedDifference([2, 3, 4], baseline: [1, 2, 3], direction: .higher).isSignificant)
    #expect(!PairedDifference([2, 1, 3], baseline: [1, 2, 3], direction: .higher).isSignificant)
  }

  @Test func paretoFrontKeepsWhatNothingDominates() {
    // Seconds, lower is better; PSNR, higher is better.
    let points = [[10.0, 40], [5, 35], [5, 30], [8, 34], [2, 20], [2, 20], [9, .infinity]]
    #expect(ParetoFront.indices(of: points, axes: [.lower, .higher]) == [1, 4, 5, 6])
    // The other way round: 10 s at 40 dB is the slowest, 2 s at 20 dB the worst.
    #expect(ParetoFront.indices(of: points, axes: [.higher, .lower]) == [0, 2, 3, 4, 5])
    #expect(ParetoFront.indices(of: [], axes: [.lower]).isEmpty)
  }
}
