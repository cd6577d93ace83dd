// Ho et al. 2020, "Denoising Diffusion Probabilistic Models"; ported from diffusers 0.42.1, scheduling_ddpm.py.
import Foundation
import Tensors

/// Ancestral sampling: every step but the last adds fresh noise.
public struct DDPMScheduler: Scheduler {
  public static let className = "DDPMScheduler"
  public static let shortNames = ["ddpm"]
  public static let keys: Set<String> = [
    "numTrainTimesteps", "betaStart", "betaEnd", "betaSchedule", "trainedBetas", "varianceType", "clipSample",
    "predictionType", "thresholding", "dynamicThresholdingRatio", "clipSampleRange", "sampleMaxValue",
    "timestepSpacing", "stepsOffset", "rescaleBetasZeroSnr",
  ]

  /// Which variance the added noise has. The reference's `fixed_large_log` takes the root of a logarithm and yields
  /// NaN, so it is rejected.
  enum Variance: String, Sendable {
    case fixedSmall = "fixed_small"
    case fixedSmallLog = "fixed_small_log"
    case fixedLarge = "fixed_large"
    case learned
    case learnedRange = "learned_range"

    var isLearned: Bool { self == .learned || self == .learnedRange }
  }

  private let schedule: NoiseSchedule
  private let predictionType: PredictionType
  private let variance: Variance
  private let limit: SampleLimit
  private let spacing: TimestepSpacing
  private let stepsOffset: Int
  private var steps: [Int] = []

  public let initialNoiseScale: Float = 1
  public var timesteps: [Float] { steps.map { Float($0) } }

  public init(_ configuration: SchedulerConfiguration) throws {
    schedule = try NoiseSchedule(
      configuration, for: Self.self,
      allowed: BetaSchedule.common.union([.sigmoid, .laplace]))
    predictionType = try Self.predictionType(configuration, allowed: [.epsilon, .sample, .velocity])
    variance = try Self.choice("variance_type", configuration.varianceType, default: .fixedSmall)
    limit = SampleLimit(configuration, clips: configuration.clipSample ?? true)
    spacing = try Self.choice("timestep_spacing", configuration.timestepSpacing, default: .leading)
    stepsOffset = configuration.stepsOffset ?? 0
  }

  public mutating func setTimesteps(_ request: StepRequest, options: SamplingOptions) throws {
    try Self.check(options)
    switch request {
    case .count(let count):
      let count = try Self.count(count, limit: schedule.count)
      steps = spacing.timesteps(
        count, trainCount: schedule.count, last: schedule.count, offset: stepsOffset, reservesEnd: false
      ).map { Int($0) }
      try Self.check(steps, against: schedule)
    case .timesteps(let given):
      steps = try Self.descending(given, in: schedule)
    case .sigmas:
      throw Self.unsupported("sigmas", "given by the caller")
    }
  }

  public mutating func step(
    _ prediction: Tensor, at index: Int, sample: Tensor, random: inout some RandomSource
  ) throws -> Tensor {
    let (output, predictedVariance) = try split(prediction, sample: sample)
    precondition(index: index, prediction: output, sample: sample)
    let alpha = schedule.alphasCumprod[steps[index]]
    let previousAlpha = index + 1 < steps.count ? schedule.alphasCumprod[steps[index + 1]] : 1
    let beta = 1 - alpha, previousBeta = 1 - previousAlpha
    let stepAlpha = alpha / previousAlpha
    let stepBeta = 1 - stepAlpha
    let clean = limit(
      schedule.cleanSample(from: output, predictionType, sample: sample, alphaCumprod: alpha))

    // Equation 7: the posterior mean.
    let mean = weightedSum([
      (previousAlpha.squareRoot() * stepBeta / beta, clean),
      (stepAlpha.squareRoot() * previousBeta / beta, sample),
    ])
    guard steps[index] > 0 else { return mean }
    let noise = random.normal(output.shape)
    let smallest = max(previousBeta / beta * stepBeta, 1e-20)
    switch variance {
    case .fixedSmall:
      return weightedSum([(1, mean), (smallest.squareRoot(), noise)])
    case .fixedSmallLog:
      return weightedSum([(1, mean), (exp(0.5 * log(smallest)), noise)])
    case .fixedLarge:
      return weightedSum([(1, mean), (stepBeta.squareRoot(), noise)])
    case .learned:
      let scaled = zipped(predictedVariance ?? noise, noise) { $0.squareRoot() * $1 }
      return weightedSum([(1, mean), (1, scaled)])
    case .learnedRange:
      let least = log(smallest), most = log(stepBeta)
      let scaled = zipped(predictedVariance ?? noise, noise) { share, noise in
        let fraction = (share + 1) / 2
        return exp(0.5 * (fraction * most + (1 - fraction) * least)) * noise
      }
      return weightedSum([(1, mean), (1, scaled)])
    }
  }

  public func addNoise(_ noise: Tensor, to original: Tensor, at index: Int) -> Tensor {
    schedule.addNoise(noise, to: original, at: steps[index])
  }

  /// The prediction proper and, where one is learned, the variance that follows it along the channels.
  private func split(_ prediction: Tensor, sample: Tensor) throws -> (output: Tensor, variance: Tensor?) {
    guard variance.isLearned else { return (prediction, nil) }
    guard prediction.shape.count >= 2, prediction.shape[1] == sample.shape[1] * 2 else {
      throw Self.invalid(
        "variance_type = \(variance.rawValue) needs \(sample.shape[1] * 2) channels, found \(prediction.shape)")
    }
    let parts = prediction.chunked(2, axis: 1)
    return (parts[0], parts[1])
  }
}
