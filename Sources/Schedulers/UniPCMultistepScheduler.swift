// Zhao et al. 2023, "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models"; ported from
// diffusers 0.42.1, scheduling_unipc_multistep.py.
import Foundation
import Tensors

/// A predictor of order 1 to 3 whose result the next step's prediction corrects, at no extra model call.
public struct UniPCMultistepScheduler: Scheduler {
  public static let className = "UniPCMultistepScheduler"
  public static let shortNames = ["unipc"]
  public static let keys: Set<String> = [
    "numTrainTimesteps", "betaStart", "betaEnd", "betaSchedule", "trainedBetas", "solverOrder", "predictionType",
    "thresholding", "dynamicThresholdingRatio", "sampleMaxValue", "predictX0", "solverType", "lowerOrderFinal",
    "disableCorrector", "solverP", "useKarrasSigmas", "useExponentialSigmas", "useBetaSigmas", "useFlowSigmas",
    "flowShift", "timestepSpacing", "stepsOffset", "finalSigmasType", "rescaleBetasZeroSnr", "useDynamicShifting",
    "timeShiftType", "sigmaMin", "sigmaMax", "shiftTerminal",
  ]

  /// The paper's two choices of `B(h)`.
  enum SolverType: String, Sendable {
    case bh1
    case bh2
  }

  private let schedule: NoiseSchedule
  private let table: SigmaTable
  private let conversion: PredictionConversion
  private let solverType: SolverType
  private let order: Int
  private let predictsClean, lowersOrderAtEnd: Bool
  /// Steps whose result is not corrected.
  private let uncorrected: Set<Int>
  private let sigmaSpacing: SigmaSpacing?
  private let usesDynamicShift: Bool
  private let timeShift: TimeShift
  private let flowShift, shiftTerminal: Double
  private let sigmaMin, sigmaMax: Double?
  private let finalSigma: FinalSigma
  private let spacing: TimestepSpacing
  private let stepsOffset: Int
  /// Noise level at the beginning of each step, and after the last.
  private var sigmas: [Float] = []
  private var history: MultistepHistory
  /// The corrected sample from which the last step predicted, and the order it used.
  private var last: (sample: Tensor, order: Int)?

  public private(set) var timesteps: [Float] = []
  public let initialNoiseScale: Float = 1

  public init(_ configuration: SchedulerConfiguration) throws {
    schedule = try NoiseSchedule(configuration, for: Self.self, floorsTerminal: true)
    table = SigmaTable(schedule.sigmas)
    if configuration.solverP != nil { throw Self.unsupported("solver_p", "not null") }
    solverType = try Self.choice("solver_type", configuration.solverType, default: .bh2)
    order = configuration.solverOrder ?? 2
    guard (1...3).contains(order) else { throw Self.unsupported("solver_order", order) }
    predictsClean = configuration.predictX0 ?? true
    let isFlow = configuration.useFlowSigmas ?? false
    let noiseTypes: Set<PredictionType> = [.epsilon, .sample, .velocity]
    let type = try Self.predictionType(
      configuration, allowed: predictsClean ? noiseTypes.union([.flow]) : noiseTypes)
    if configuration.thresholding ?? false, !predictsClean {
      throw Self.unsupported("thresholding", "true with predict_x0 = false")
    }
    conversion = PredictionConversion(type: type, isFlow: isFlow, limit: SampleLimit(configuration, clips: false))
    lowersOrderAtEnd = configuration.lowerOrderFinal ?? true
    uncorrected = Set(configuration.disableCorrector ?? [])
    sigmaSpacing = try SigmaSpacing(configuration, for: Self.self)
    if isFlow, let sigmaSpacing, sigmaSpacing != .karras {
      throw Self.unsupported("use_flow_sigmas", "true together with \(sigmaSpacing) sigmas")
    }
    usesDynamicShift = configuration.useDynamicShifting ?? false
    timeShift = try Self.choice("time_shift_type", configuration.timeShiftType, default: .exponential)
    flowShift = configuration.flowShift ?? 1
    shiftTerminal = configuration.shiftTerminal ?? 0
    if configuration.shiftTerminal != nil, !isFlow {
      throw Self.unsupported("shift_terminal", "\(shiftTerminal) without use_flow_sigmas")
    }
    (sigmaMin, sigmaMax) = (configuration.sigmaMin, configuration.sigmaMax)
    finalSigma = try Self.choice("final_sigmas_type", configuration.finalSigmasType, default: .zero)
    spacing = try Self.choice("timestep_spacing", configuration.timestepSpacing, default: .linspace)
    stepsOffset = configuration.stepsOffset ?? 0
    history = MultistepHistory(capacity: order)
  }

  /// Chooses the steps. Under `use_dynamic_shifting` the options must hold `mu`, which is otherwise not used.
  public mutating func setTimesteps(_ request: StepRequest, options: SamplingOptions) throws {
    try Self.check(options, mu: conversion.isFlow)
    if usesDynamicShift, options.mu == nil { throw Self.invalid("use_dynamic_shifting needs mu") }
    let levels: [Double], times: [Double]
    switch request {
    case .count(let count):
      let count = try Self.count(count)
      if let sigmaSpacing {
        (levels, times) = respaced(count, by: sigmaSpacing)
      } else if conversion.isFlow {
        let even = Array(linspace(1, 1 / Double(schedule.count), count + 1).dropLast())
        (levels, times) = shifted(even, mu: options.mu)
      } else {
        times = spacing.timesteps(
          count, trainCount: schedule.count, last: schedule.count, offset: stepsOffset, reservesEnd: true)
        levels = times.map(table.sigma)
      }
    case .sigmas(let given):
      guard conversion.isFlow, sigmaSpacing == nil else {
        throw Self.unsupported("sigmas", "given by the caller without plain use_flow_sigmas")
      }
      guard !given.isEmpty else { throw Self.invalid("no sigmas given") }
      (levels, times) = shifted(given, mu: options.mu)
    case .timesteps:
      throw Self.unsupported("timesteps", "given by the caller")
    }
    let isPlain = sigmaSpacing == nil && !conversion.isFlow
    let lowest = isPlain ? table.sigmas[0] : Float(levels[levels.count - 1])
    timesteps = times.map { Float($0.rounded(.towardZero)) }
    sigmas = levels.map { Float($0) } + [finalSigma == .zero ? 0 : lowest]
    history = MultistepHistory(capacity: order)
    last = nil
  }

  private func respaced(_ count: Int, by spacing: SigmaSpacing) -> (levels: [Double], times: [Double]) {
    let low = Double(table.sigmas[0]), high = Double(table.sigmas[table.sigmas.count - 1])
    let levels = spacing.sigmas(from: sigmaMax ?? high, to: sigmaMin ?? low, count: count)
    if conversion.isFlow {
      let flow = levels.map { $0 / ($0 + 1) }
      return (flow, flow.map { $0 * Double(schedule.count) })
    }
    let times = levels.map(table.timestep)
    return (levels, spacing == .karras ? times.map { $0.rounded(.toNearestOrEven) } : times)
  }

  private func shifted(_ even: [Double], mu: Double?) -> (levels: [Double], times: [Double]) {
    var levels =
      if usesDynamicShift, let mu { timeShift(even, mu: mu) } else { TimeShift.shifted(even, by: flowShift) }
    if shiftTerminal != 0 { levels = TimeShift.stretched(levels, to: shiftTerminal) }
    // No signal at all has no log-SNR.
    let margin = 1e-6
    if abs(levels[0] - 1) < margin { levels[0] -= margin }
    return (levels, levels.map { $0 * Double(schedule.count) })
  }

  public mutating func step(
    _ prediction: Tensor, at index: Int, sample: Tensor, random: inout some RandomSource
  ) throws -> Tensor {
    precondition(index: index, prediction: prediction, sample: sample)
    history.advance(to: index)
    let output =
      predictsClean
      ? conversion.clean(prediction, sample: sample, level: sigmas[index])
      : conversion.epsilon(prediction, sample: sample, level: sigmas[index])
    var corrected = sample
    if let last, !uncorrected.contains(index - 1) {
      corrected = update(last.sample, from: index - 1, order: last.order, correctingWith: output)
    }
    let available = history.outputs.count + 1
    history.append(output)
    let wanted = lowersOrderAtEnd ? min(order, timesteps.count - index) : order
    let stepOrder = min(wanted, available)
    last = (corrected, stepOrder)
    return update(corrected, from: index, order: stepOrder, correctingWith: nil)
  }

  /// The history's, then the last corrected sample and its order.
  public var savedState: SolverState {
    var state = history.state
    state.tensors += [last?.sample].compactMap { $0 }
    state.numbers.append(last?.order ?? 0)
    return state
  }

  public mutating func restore(_ state: SolverState) throws {
    guard let order = state.numbers.last, (0...self.order).contains(order), order == 0 || !state.tensors.isEmpty else {
      throw Self.invalid("a saved state of another solver")
    }
    var own = state
    own.numbers.removeLast()
    last = order > 0 ? (own.tensors.removeLast(), order) : nil
    guard order <= own.tensors.count else { throw Self.invalid("a saved state of another solver") }
    try history.restore(own, for: Self.self)
  }

  /// One step from `sample` at `index` to the next noise level: the predictor (UniP), or, when the output at the next
  /// level is known, the corrector (UniC).
  private func update(_ sample: Tensor, from index: Int, order: Int, correctingWith next: Tensor?) -> Tensor {
    func level(_ index: Int) -> NoiseLevel { NoiseLevel(sigmas[index], isFlow: conversion.isFlow) }
    let target = level(index + 1), current = level(index)
    let h = target.lambda - current.lambda
    let newest = Array(history.outputs.reversed())
    var ratios: [Float] = [], differences: [Tensor] = []
    for back in 1..<max(order, 1) {
      let ratio = (level(index - back).lambda - current.lambda) / h
      ratios.append(ratio)
      differences.append(zipped(newest[back], newest[0]) { ($0 - $1) / ratio })
    }
    let terms = UniPCTerms(h: predictsClean ? -h : h, ratios: ratios + [1], solverType: solverType)
    let weights: [Float]
    if let next {
      differences.append(zipped(next, newest[0]) { $0 - $1 })
      weights = order == 1 ? [0.5] : terms.weights(order)
    } else {
      weights = order == 2 ? [0.5] : terms.weights(order - 1)
    }
    let (kept, scale) =
      predictsClean
      ? (target.sigma / current.sigma, target.alpha) : (target.alpha / current.alpha, target.sigma)
    let plain = weightedSum([(kept, sample), (-scale * terms.phi, newest[0])])
    // Without differences the product below would be 0 times an infinite B under bh1 at a final level of zero.
    guard !differences.isEmpty else { return plain }
    let residual = weightedSum(Array(zip(weights, differences)))
    return weightedSum([(1, plain), (-scale * terms.b, residual)])
  }

  public func addNoise(_ noise: Tensor, to original: Tensor, at index: Int) -> Tensor {
    let level = NoiseLevel(sigmas[index], isFlow: conversion.isFlow)
    return weightedSum([(level.alpha, original), (level.sigma, noise)])
  }
}

/// The small linear system of UniPC (the paper's equation 9) for one step.
struct UniPCTerms {
  /// `e^h - 1` and `B(h)`.
  let phi, b: Float
  private let rows: [[Float]]
  private let right: [Float]

  /// - Parameters:
  ///   - h: signed step in log-SNR time.
  ///   - ratios: positions of the known outputs in units of the step, the next level's last.
  init(h: Float, ratios: [Float], solverType: UniPCMultistepScheduler.SolverType) {
    phi = expm1(h)
    b = solverType == .bh1 ? h : phi
    var rows: [[Float]] = [], right: [Float] = []
    var power = [Float](repeating: 1, count: ratios.count)
    var remainder = phi / h - 1, factorial: Float = 1
    for index in 1...ratios.count {
      rows.append(power)
      right.append(remainder * factorial / b)
      power = zip(power, ratios).map { $0 * $1 }
      factorial *= Float(index + 1)
      remainder = remainder / h - 1 / factorial
    }
    (self.rows, self.right) = (rows, right)
  }

  /// Solves the leading `size` equations by elimination with row exchanges.
  func weights(_ size: Int) -> [Float] {
    guard size > 0 else { return [] }
    var matrix = rows[..<size].map { Array($0[..<size]) }, vector = Array(right[..<size])
    for column in 0..<size {
      let pivot = (column..<size).max { abs(matrix[$0][column]) < abs(matrix[$1][column]) } ?? column
      matrix.swapAt(column, pivot)
      vector.swapAt(column, pivot)
      for row in column + 1..<max(size, column + 1) {
        let factor = matrix[row][column] / matrix[column][column]
        for k in column..<size { matrix[row][k] -= factor * matrix[column][k] }
        vector[row] -= factor * vector[column]
      }
    }
    for row in (0..<size).reversed() {
      for k in row + 1..<max(size, row + 1) { vector[row] -= matrix[row][k] * vector[k] }
      vector[row] /= matrix[row][row]
    }
    return vector
  }
}
