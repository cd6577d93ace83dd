// Lu et al. 2022, "DPM-Solver" and "DPM-Solver++"; ported from diffusers 0.42.1, scheduling_dpmsolver_multistep.py.
import Foundation
import Tensors

/// Exponential integrators of order 1 to 3 in log-SNR time, deterministic or stochastic.
public struct DPMSolverMultistepScheduler: Scheduler {
  public static let className = "DPMSolverMultistepScheduler"
  public static let shortNames = ["dpm++", "dpmsolver++", "dpm"]
  public static let keys: Set<String> = [
    "numTrainTimesteps", "betaStart", "betaEnd", "betaSchedule", "trainedBetas", "solverOrder", "predictionType",
    "thresholding", "dynamicThresholdingRatio", "sampleMaxValue", "algorithmType", "solverType", "lowerOrderFinal",
    "eulerAtFinal", "useKarrasSigmas", "useExponentialSigmas", "useBetaSigmas", "useLuLambdas", "useFlowSigmas",
    "flowShift", "finalSigmasType", "lambdaMinClipped", "varianceType", "timestepSpacing", "stepsOffset",
    "rescaleBetasZeroSnr", "useDynamicShifting", "timeShiftType", "sigmaMin", "sigmaMax",
  ]

  enum Algorithm: String, Sendable {
    case dpmSolver = "dpmsolver"
    case dpmSolverPlusPlus = "dpmsolver++"
    case stochastic = "sde-dpmsolver"
    case stochasticPlusPlus = "sde-dpmsolver++"

    /// Integrates clean samples rather than noise.
    var predictsClean: Bool { self == .dpmSolverPlusPlus || self == .stochasticPlusPlus }
    var isStochastic: Bool { self == .stochastic || self == .stochasticPlusPlus }
  }

  enum SolverType: String, Sendable {
    case midpoint
    case heun
  }

  private enum LearnedVariance: String {
    case learned
    case learnedRange = "learned_range"
  }

  private let schedule: NoiseSchedule
  private let table: SigmaTable
  private let conversion: PredictionConversion
  private let algorithm: Algorithm
  private let solverType: SolverType
  private let order: Int
  private let lowersOrderAtEnd, endsWithEuler, learnsVariance: Bool
  private let sigmaSpacing: SigmaSpacing?
  private let usesLuLambdas, usesDynamicShift, roundsTimesteps: Bool
  private let flowShift: Double
  private let sigmaMin, sigmaMax: Double?
  private let finalSigma: FinalSigma
  /// Number of training timesteps whose log-SNR reaches `lambda_min_clipped`.
  private let lastTimestep: Int
  private let spacing: TimestepSpacing
  private let stepsOffset: Int
  /// Noise level at the beginning of each step, and after the last.
  private var sigmas: [Float] = []
  private var history: MultistepHistory

  public private(set) var timesteps: [Float] = []
  public let initialNoiseScale: Float = 1

  public init(_ configuration: SchedulerConfiguration) throws {
    schedule = try NoiseSchedule(configuration, for: Self.self, floorsTerminal: true)
    table = SigmaTable(schedule.sigmas)
    algorithm = try Self.choice("algorithm_type", configuration.algorithmType, default: .dpmSolverPlusPlus)
    solverType = try Self.choice("solver_type", configuration.solverType, default: .midpoint)
    order = configuration.solverOrder ?? 2
    guard (1...3).contains(order), !(order == 3 && algorithm == .stochastic) else {
      throw Self.unsupported("solver_order", "\(order) with algorithm_type = \(algorithm.rawValue)")
    }
    let isFlow = configuration.useFlowSigmas ?? false
    let noiseTypes: Set<PredictionType> = [.epsilon, .sample, .velocity]
    let type = try Self.predictionType(
      configuration, allowed: algorithm.predictsClean ? noiseTypes.union([.flow]) : noiseTypes)
    conversion = PredictionConversion(
      type: type, isFlow: isFlow, limit: SampleLimit(configuration, clips: false))
    finalSigma = try Self.choice("final_sigmas_type", configuration.finalSigmasType, default: .zero)
    if finalSigma == .zero, !algorithm.predictsClean {
      throw Self.unsupported("final_sigmas_type", "zero with algorithm_type = \(algorithm.rawValue)")
    }
    lowersOrderAtEnd = configuration.lowerOrderFinal ?? true
    endsWithEuler = configuration.eulerAtFinal ?? false
    if let variance = configuration.varianceType {
      guard LearnedVariance(rawValue: variance) != nil else { throw Self.unsupported("variance_type", variance) }
    }
    learnsVariance = configuration.varianceType != nil && type == .epsilon
    sigmaSpacing = try SigmaSpacing(configuration, for: Self.self)
    usesLuLambdas = configuration.useLuLambdas ?? false
    if isFlow, sigmaSpacing != nil || usesLuLambdas {
      throw Self.unsupported("use_flow_sigmas", "true together with another spacing of sigmas")
    }
    flowShift = configuration.flowShift ?? 1
    usesDynamicShift = configuration.useDynamicShifting ?? false
    if let shift = configuration.timeShiftType, shift != TimeShift.exponential.rawValue {
      throw Self.unsupported("time_shift_type", shift)
    }
    (sigmaMin, sigmaMax) = (configuration.sigmaMin, configuration.sigmaMax)
    let lambdaMinClipped = configuration.lambdaMinClipped ?? -.infinity
    spacing = try Self.choice("timestep_spacing", configuration.timestepSpacing, default: .linspace)
    stepsOffset = configuration.stepsOffset ?? 0
    lastTimestep = schedule.alphasCumprod.count { alpha in
      log(alpha.squareRoot()) - log((1 - alpha).squareRoot()) >= Float(lambdaMinClipped)
    }
    guard lastTimestep >= 1 else { throw Self.invalid("lambda_min_clipped = \(lambdaMinClipped) leaves no timesteps") }
    roundsTimesteps = configuration.betaSchedule != BetaSchedule.squaredCosine.rawValue
    history = MultistepHistory(capacity: order)
  }

  /// Chooses the steps. `mu` is used only under `use_dynamic_shifting`.
  public mutating func setTimesteps(_ request: StepRequest, options: SamplingOptions) throws {
    try Self.check(options, mu: conversion.isFlow)
    let levels: [Double], times: [Double]
    switch request {
    case .count(let count):
      (levels, times) = placed(try Self.count(count), mu: options.mu)
    case .timesteps(let given):
      guard sigmaSpacing == nil, !usesLuLambdas, !conversion.isFlow else {
        throw Self.invalid("timesteps cannot be given where the configuration places steps by noise level")
      }
      guard !given.isEmpty, given.allSatisfy(\.isFinite) else { throw Self.invalid("no usable timesteps given") }
      times = given.map { $0.rounded(.towardZero) }
      levels = times.map(table.sigma)
    case .sigmas:
      throw Self.unsupported("sigmas", "given by the caller")
    }
    timesteps = times.map { Float($0.rounded(.towardZero)) }
    sigmas = levels.map { Float($0) } + [finalSigma == .zero ? 0 : table.sigmas[0]]
    history = MultistepHistory(capacity: order)
  }

  /// Noise levels and timesteps of `count` steps.
  private func placed(_ count: Int, mu: Double?) -> (levels: [Double], times: [Double]) {
    let low = Double(table.sigmas[0]), high = Double(table.sigmas[table.sigmas.count - 1])
    if conversion.isFlow {
      let train = Double(schedule.count)
      let shift = usesDynamicShift ? mu.map { exp($0) } ?? flowShift : flowShift
      let even = linspace(1, 1 / train, count + 1).map { 1 - $0 }
      let levels = Array(TimeShift.shifted(even, by: shift).dropFirst().reversed())
      return (levels, levels.map { $0 * train })
    }
    if let sigmaSpacing {
      let levels = sigmaSpacing.sigmas(from: sigmaMax ?? high, to: sigmaMin ?? low, count: count)
      let times = levels.map(table.timestep)
      return (levels, sigmaSpacing == .karras ? rounded(times) : times)
    }
    if usesLuLambdas {
      // Even in log-SNR (Lu et al. 2022, appendix).
      let levels = linspace(Double(log(Float(high))), Double(log(Float(low))), count).map { exp($0) }
      return (levels, rounded(levels.map(table.timestep)))
    }
    let times = spacing.timesteps(
      count, trainCount: schedule.count, last: lastTimestep, offset: stepsOffset, reservesEnd: true)
    return (times.map(table.sigma), times)
  }

  private func rounded(_ times: [Double]) -> [Double] {
    roundsTimesteps ? times.map { $0.rounded(.toNearestOrEven) } : times
  }

  public mutating func step(
    _ prediction: Tensor, at index: Int, sample: Tensor, random: inout some RandomSource
  ) throws -> Tensor {
    // The reference takes three channels here, written for pixel models; the sample's own number serves latents too.
    let prediction =
      learnsVariance && prediction.shape.count > 1 && prediction.shape[1] > sample.shape[1]
      ? prediction.narrowed(axis: 1, 0..<sample.shape[1]) : prediction
    precondition(index: index, prediction: prediction, sample: sample)
    history.advance(to: index)
    let available = history.outputs.count + 1
    history.append(
      algorithm.predictsClean
        ? conversion.clean(prediction, sample: sample, level: sigmas[index])
        : conversion.epsilon(prediction, sample: sample, level: sigmas[index]))
    let noise = algorithm.isStochastic ? random.normal(sample.shape) : nil
    return update(sample, at: index, order: min(available, stepOrder(at: index)), noise: noise)
  }

  public var savedState: SolverState { history.state }
  public mutating func restore(_ state: SolverState) throws { try history.restore(state, for: Self.self) }

  /// The order wanted of a step, before the start-up of the history limits it.
  private func stepOrder(at index: Int) -> Int {
    let isShort = lowersOrderAtEnd && timesteps.count < 15
    if index == timesteps.count - 1, endsWithEuler || isShort || finalSigma == .zero { return 1 }
    if index == timesteps.count - 2, isShort { return min(order, 2) }
    return order
  }

  /// One step of the given order from the newest outputs in the history.
  private func update(_ sample: Tensor, at index: Int, order: Int, noise: Tensor?) -> Tensor {
    func level(_ index: Int) -> NoiseLevel { NoiseLevel(sigmas[index], isFlow: conversion.isFlow) }
    let target = level(index + 1), current = level(index)
    let h = target.lambda - current.lambda
    let weights = Weights(algorithm, solverType, order: order, from: current, to: target, h: h)
    let newest = Array(history.outputs.reversed())
    var terms = [(weights.sample, sample), (weights.zeroth, newest[0])]
    if order >= 2 {
      let r0 = (current.lambda - level(index - 1).lambda) / h
      let slope = weightedDifference(1 / r0, newest[0], newest[1])
      if order == 2 {
        terms.append((weights.first, slope))
      } else {
        let r1 = (level(index - 1).lambda - level(index - 2).lambda) / h
        let change = zipped(slope, weightedDifference(1 / r1, newest[1], newest[2])) { $0 - $1 }
        terms.append((weights.first, weightedSum([(1, slope), (r0 / (r0 + r1), change)])))
        terms.append((weights.second, change.map { 1 / (r0 + r1) * $0 }))
      }
    }
    if let noise { terms.append((weights.noise, noise)) }
    return weightedSum(terms)
  }

  private func weightedDifference(_ weight: Float, _ a: Tensor, _ b: Tensor) -> Tensor {
    zipped(a, b) { weight * ($0 - $1) }
  }

  public func addNoise(_ noise: Tensor, to original: Tensor, at index: Int) -> Tensor {
    let level = NoiseLevel(sigmas[index], isFlow: conversion.isFlow)
    return weightedSum([(level.alpha, original), (level.sigma, noise)])
  }
}

extension DPMSolverMultistepScheduler {
  /// What a step multiplies the sample, the newest output, its two differences and fresh noise by.
  fileprivate struct Weights {
    var sample, zeroth, first, second, noise: Float

    init(
      _ algorithm: Algorithm, _ type: SolverType, order: Int, from current: NoiseLevel, to target: NoiseLevel, h: Float
    ) {
      let usesMidpoint = order == 2 && type == .midpoint
      (second, noise) = (0, 0)
      switch algorithm {
      case .dpmSolverPlusPlus:
        let growth = exp(-h) - 1
        sample = target.sigma / current.sigma
        zeroth = -target.alpha * growth
        first = target.alpha * (usesMidpoint ? -0.5 * growth : growth / h + 1)
        second = -target.alpha * ((growth + h) / (h * h) - 0.5)
      case .dpmSolver:
        let growth = exp(h) - 1
        sample = target.alpha / current.alpha
        zeroth = -target.sigma * growth
        first = -target.sigma * (usesMidpoint ? 0.5 * growth : growth / h - 1)
        second = -target.sigma * ((growth - h) / (h * h) - 0.5)
      case .stochasticPlusPlus:
        let growth = 1 - exp(-2 * h)
        sample = target.sigma / current.sigma * exp(-h)
        zeroth = target.alpha * growth
        first = target.alpha * (usesMidpoint ? 0.5 * growth : growth / (-2 * h) + 1)
        second = target.alpha * ((growth - 2 * h) / (4 * h * h) - 0.5)
        noise = target.sigma * growth.squareRoot()
      case .stochastic:
        let growth = exp(h) - 1
        sample = target.alpha / current.alpha
        zeroth = -2 * target.sigma * growth
        first = -target.sigma * (usesMidpoint ? growth : 2 * (growth / h - 1))
        noise = target.sigma * (exp(2 * h) - 1).squareRoot()
      }
    }
  }
}
