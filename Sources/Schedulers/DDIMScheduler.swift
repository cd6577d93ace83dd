// Song et al. 2021, "Denoising Diffusion Implicit Models"; ported from diffusers 0.42.1, scheduling_ddim.py.
import Tensors

/// Deterministic steps along the DDPM marginals; ``SamplingOptions/eta`` above 0 adds noise.
public struct DDIMScheduler: Scheduler {
  public static let className = "DDIMScheduler"
  public static let shortNames = ["ddim"]
  public static let keys: Set<String> = [
    "numTrainTimesteps", "betaStart", "betaEnd", "betaSchedule", "trainedBetas", "clipSample", "setAlphaToOne",
    "stepsOffset", "predictionType", "thresholding", "dynamicThresholdingRatio", "clipSampleRange", "sampleMaxValue",
    "timestepSpacing", "rescaleBetasZeroSnr",
  ]

  private let schedule: NoiseSchedule
  /// `ᾱ` taken to hold after the last step.
  private let finalAlpha: Float
  private let predictionType: PredictionType
  private let limit: SampleLimit
  private let spacing: TimestepSpacing
  private let stepsOffset: Int
  private var steps: [Int] = []
  private var requestedCount = 1
  private var eta: Float = 0

  public let initialNoiseScale: Float = 1
  public var timesteps: [Float] { steps.map { Float($0) } }

  public init(_ configuration: SchedulerConfiguration) throws {
    schedule = try NoiseSchedule(configuration, for: Self.self)
    finalAlpha = configuration.setAlphaToOne ?? true ? 1 : schedule.alphasCumprod[0]
    predictionType = try Self.predictionType(configuration, allowed: [.epsilon, .sample, .velocity])
    limit = SampleLimit(configuration, clips: configuration.clipSample ?? true)
    spacing = try Self.choice("timestep_spacing", configuration.timestepSpacing, default: .leading)
    stepsOffset = configuration.stepsOffset ?? 0
  }

  public mutating func setTimesteps(_ request: StepRequest, options: SamplingOptions) throws {
    try Self.check(options, eta: true)
    guard case .count(let count) = request else { throw Self.unsupported("timesteps", "given by the caller") }
    requestedCount = try Self.count(count, limit: schedule.count)
    steps = spacing.timesteps(
      count, trainCount: schedule.count, last: schedule.count, offset: stepsOffset, reservesEnd: false
    ).map { Int($0) }
    try Self.check(steps, against: schedule)
    eta = options.eta
  }

  public mutating func step(
    _ prediction: Tensor, at index: Int, sample: Tensor, random: inout some RandomSource
  ) throws -> Tensor {
    precondition(index: index, prediction: prediction, sample: sample)
    // The reference steps by the mean stride, also where the spacing makes the next timestep another one.
    let previous = steps[index] - schedule.count / requestedCount
    let alpha = schedule.alphasCumprod[steps[index]]
    let previousAlpha = previous >= 0 ? schedule.alphasCumprod[previous] : finalAlpha
    let signal = alpha.squareRoot(), spread = (1 - alpha).squareRoot()
    let clean = schedule.cleanSample(from: prediction, predictionType, sample: sample, alphaCumprod: alpha)
    let epsilon =
      switch predictionType {
      case .epsilon: prediction
      case .velocity: weightedSum([(signal, prediction), (spread, sample)])
      default: zipped(sample, clean) { ($0 - signal * $1) / spread }
      }
    // Equation 16, then equation 12.
    let variance = (1 - previousAlpha) / (1 - alpha) * (1 - alpha / previousAlpha)
    let deviation = eta * variance.squareRoot()
    let direction = (1 - previousAlpha - deviation * deviation).squareRoot()
    let mean = weightedSum([(previousAlpha.squareRoot(), limit(clean)), (direction, epsilon)])
    guard eta > 0 else { return mean }
    return weightedSum([(1, mean), (deviation, random.normal(sample.shape))])
  }

  public func addNoise(_ noise: Tensor, to original: Tensor, at index: Int) -> Tensor {
    schedule.addNoise(noise, to: original, at: steps[index])
  }
}
