// Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", algorithm 2 without its
// second-order correction; ported from diffusers 0.42.1, scheduling_euler_discrete.py.
import Foundation
import Tensors

/// Euler steps in the noise level of the variance-exploding form.
public struct EulerDiscreteScheduler: Scheduler {
  public static let className = "EulerDiscreteScheduler"
  public static let shortNames = ["euler"]
  public static let keys: Set<String> = [
    "numTrainTimesteps", "betaStart", "betaEnd", "betaSchedule", "trainedBetas", "predictionType",
    "interpolationType", "useKarrasSigmas", "useExponentialSigmas", "useBetaSigmas", "sigmaMin", "sigmaMax",
    "timestepSpacing", "timestepType", "stepsOffset", "rescaleBetasZeroSnr", "finalSigmasType",
  ]

  enum Interpolation: String, Sendable {
    case linear
    case logLinear = "log_linear"
  }

  enum TimestepType: String, Sendable {
    case discrete
    case continuous
  }

  private let schedule: NoiseSchedule
  private let table: SigmaTable
  private let predictionType: PredictionType
  private let interpolation: Interpolation
  private let sigmaSpacing: SigmaSpacing?
  private let sigmaMin, sigmaMax: Double?
  private let spacing: TimestepSpacing
  private let stepsOffset: Int
  private let finalSigma: FinalSigma
  /// Models told the noise level itself, as `log(σ) / 4`.
  private let tellsSigma: Bool
  private var options = SamplingOptions()
  /// Noise level at the beginning of each step, and after the last.
  private var sigmas: [Float]

  public private(set) var timesteps: [Float] = []

  public var initialNoiseScale: Float {
    let highest = sigmas.max() ?? 1
    return spacing == .leading ? (highest * highest + 1).squareRoot() : highest
  }

  public init(_ configuration: SchedulerConfiguration) throws {
    schedule = try NoiseSchedule(configuration, for: Self.self, floorsTerminal: true)
    table = SigmaTable(schedule.sigmas)
    sigmas = schedule.sigmas.reversed() + [0]
    predictionType = try Self.predictionType(configuration, allowed: [.epsilon, .sample, .originalSample, .velocity])
    interpolation = try Self.choice("interpolation_type", configuration.interpolationType, default: .linear)
    sigmaSpacing = try SigmaSpacing(configuration, for: Self.self)
    (sigmaMin, sigmaMax) = (configuration.sigmaMin, configuration.sigmaMax)
    spacing = try Self.choice("timestep_spacing", configuration.timestepSpacing, default: .linspace)
    stepsOffset = configuration.stepsOffset ?? 0
    finalSigma = try Self.choice("final_sigmas_type", configuration.finalSigmasType, default: .zero)
    let type = try Self.choice("timestep_type", configuration.timestepType, default: TimestepType.discrete)
    tellsSigma = type == .continuous && predictionType == .velocity
  }

  public mutating func setTimesteps(_ request: StepRequest, options: SamplingOptions) throws {
    try Self.check(options, churn: true)
    var levels: [Double], times: [Double]
    switch request {
    case .sigmas(let given):
      guard given.count >= 2 else { throw Self.invalid("\(given.count) sigmas; at least two are needed") }
      levels = given.map { Double(Float($0)) }
      times = levels.dropLast().map(table.timestep)
    case .count(let count):
      times = spacing.timesteps(
        try Self.count(count), trainCount: schedule.count, last: schedule.count, offset: stepsOffset,
        reservesEnd: false, rounds: false
      ).map { Double(Float($0)) }
      (levels, times) = respaced(times)
    case .timesteps(let given):
      guard sigmaSpacing == nil, !tellsSigma else {
        throw Self.invalid("timesteps cannot be given where the configuration places steps by noise level")
      }
      guard !given.isEmpty else { throw Self.invalid("no timesteps given") }
      (levels, times) = respaced(given.map { Double(Float($0)) })
    }
    sigmas = levels.map { Float($0) }
    timesteps = tellsSigma ? sigmas.dropLast().map { 0.25 * log($0) } : times.map { Float($0) }
    self.options = options
  }

  /// Noise levels for timesteps, the last one included, and the timesteps that the levels then stand for.
  private func respaced(_ times: [Double]) -> (levels: [Double], times: [Double]) {
    var times = times
    var levels: [Double]
    switch interpolation {
    case .linear:
      levels = times.map(table.sigma)
    case .logLinear:
      let high = Double(log(table.sigmas[table.sigmas.count - 1])), low = Double(log(table.sigmas[0]))
      levels = floatLinspace(high, low, times.count + 1).map { Double(exp($0)) }
    }
    if let sigmaSpacing {
      levels = sigmaSpacing.sigmas(
        from: sigmaMax ?? levels[0], to: sigmaMin ?? levels[levels.count - 1], count: times.count)
      times = levels.map(table.timestep)
    }
    return (levels + [finalSigma == .zero ? 0 : Double(table.sigmas[0])], times)
  }

  public func scaledInput(_ sample: Tensor, at index: Int) -> Tensor {
    let scale = (sigmas[index] * sigmas[index] + 1).squareRoot()
    return sample.map { $0 / scale }
  }

  public mutating func step(
    _ prediction: Tensor, at index: Int, sample: Tensor, random: inout some RandomSource
  ) throws -> Tensor {
    precondition(index: index, prediction: prediction, sample: sample)
    let sigma = sigmas[index]
    let churns = options.churnMinimum <= sigma && sigma <= options.churnMaximum
    let gamma = churns ? min(options.churn / Float(sigmas.count - 1), Float(2).squareRoot() - 1) : 0
    let raised = sigma * (gamma + 1)
    var sample = sample
    if gamma > 0 {
      let added = (raised * raised - sigma * sigma).squareRoot() * options.churnNoise
      sample = weightedSum([(1, sample), (added, random.normal(sample.shape))])
    }
    let square = sigma * sigma + 1
    let clean =
      switch predictionType {
      case .epsilon: zipped(sample, prediction) { $0 - raised * $1 }
      case .velocity: zipped(sample, prediction) { $1 * (-sigma / square.squareRoot()) + $0 / square }
      default: prediction
      }
    let delta = sigmas[index + 1] - raised
    return zipped(sample, clean) { $0 + ($0 - $1) / raised * delta }
  }

  public func addNoise(_ noise: Tensor, to original: Tensor, at index: Int) -> Tensor {
    weightedSum([(1, original), (sigmas[index], noise)])
  }
}
