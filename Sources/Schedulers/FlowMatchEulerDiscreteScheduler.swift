// Esser et al. 2024, "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis"; ported from diffusers
// 0.42.1, scheduling_flow_match_euler_discrete.py.
import Tensors

/// Euler steps along the straight paths of flow matching, for models that predict velocity.
public struct FlowMatchEulerDiscreteScheduler: Scheduler {
  public static let className = "FlowMatchEulerDiscreteScheduler"
  public static let shortNames = ["flow-euler"]
  /// `base_shift`, `max_shift` and the two lengths are for the pipeline, which computes ``SamplingOptions/mu`` from
  /// them.
  public static let keys: Set<String> = [
    "numTrainTimesteps", "shift", "useDynamicShifting", "baseShift", "maxShift", "baseImageSeqLen", "maxImageSeqLen",
    "invertSigmas", "shiftTerminal", "useKarrasSigmas", "useExponentialSigmas", "useBetaSigmas", "timeShiftType",
    "stochasticSampling", "sigmaMin", "sigmaMax",
  ]

  private let trainCount: Int
  private let shift: Double
  private let usesDynamicShift: Bool
  private let timeShift: TimeShift
  private let shiftTerminal: Double
  private let sigmaSpacing: SigmaSpacing?
  private let sigmaMin, sigmaMax: Double?
  private let invertsSigmas: Bool
  private let isStochastic: Bool
  /// Noise level at the beginning of each step, and after the last.
  private var sigmas: [Float] = []

  public private(set) var timesteps: [Float] = []
  public let initialNoiseScale: Float = 1

  public init(_ configuration: SchedulerConfiguration) throws {
    trainCount = configuration.numTrainTimesteps ?? 1000
    guard (1...NoiseSchedule.largestCount).contains(trainCount) else {
      throw Self.invalid("num_train_timesteps = \(trainCount)")
    }
    shift = configuration.shift ?? 1
    usesDynamicShift = configuration.useDynamicShifting ?? false
    timeShift = try Self.choice("time_shift_type", configuration.timeShiftType, default: .exponential)
    shiftTerminal = configuration.shiftTerminal ?? 0
    sigmaSpacing = try SigmaSpacing(configuration, for: Self.self)
    (sigmaMin, sigmaMax) = (configuration.sigmaMin, configuration.sigmaMax)
    invertsSigmas = configuration.invertSigmas ?? false
    isStochastic = configuration.stochasticSampling ?? false
    let prediction = configuration.predictionType ?? PredictionType.flow.rawValue
    guard prediction == PredictionType.flow.rawValue else { throw Self.unsupported("prediction_type", prediction) }
  }

  /// Chooses the steps. Under `use_dynamic_shifting` the options must hold `mu`, which is otherwise not used. Timesteps
  /// given by the caller reach the model as they are, while their noise levels are shifted, as in the reference.
  public mutating func setTimesteps(_ request: StepRequest, options: SamplingOptions) throws {
    try Self.check(options, mu: true)
    let train = Double(trainCount)
    var levels: [Double]
    var given: [Float]?
    switch request {
    case .count(let count):
      let (highest, lowest) = trainRange
      levels = linspace(highest * train, lowest * train, try Self.count(count)).map { $0 / train }
    case .sigmas(let sigmas):
      levels = sigmas.map { Double(Float($0)) }
    case .timesteps(let timesteps):
      given = timesteps.map { Float($0) }
      levels = timesteps.map { Double(Float($0) / Float(train)) }
    }
    guard !levels.isEmpty else { throw Self.invalid("no steps given") }
    if usesDynamicShift {
      guard let mu = options.mu else { throw Self.invalid("use_dynamic_shifting needs mu") }
      levels = timeShift(levels, mu: mu)
    } else {
      levels = TimeShift.shifted(levels, by: shift)
    }
    if shiftTerminal != 0 { levels = TimeShift.stretched(levels, to: shiftTerminal) }
    if let sigmaSpacing {
      levels = sigmaSpacing.sigmas(
        from: sigmaMax ?? levels[0], to: sigmaMin ?? levels[levels.count - 1], count: levels.count)
    }
    let direct = levels.map { Float($0) }
    let steps = invertsSigmas ? direct.map { 1 - $0 } : direct
    timesteps = invertsSigmas ? steps.map { $0 * Float(train) } : given ?? steps.map { $0 * Float(train) }
    sigmas = steps + [invertsSigmas ? 1 : 0]
  }

  /// The noisiest and cleanest levels of training, once shifted: a fixed shift applies to them and to the steps
  /// between.
  private var trainRange: (highest: Double, lowest: Double) {
    let ends = [1, 1 / Float(trainCount)]
    guard !usesDynamicShift else { return (Double(ends[0]), Double(ends[1])) }
    let shift = Float(self.shift), excess = Float(self.shift - 1)
    let shifted = ends.map { Double(shift * $0 / (1 + excess * $0)) }
    return (shifted[0], shifted[1])
  }

  public mutating func step(
    _ prediction: Tensor, at index: Int, sample: Tensor, random: inout some RandomSource
  ) throws -> Tensor {
    precondition(index: index, prediction: prediction, sample: sample)
    let sigma = sigmas[index], next = sigmas[index + 1]
    guard isStochastic else { return weightedSum([(1, sample), (next - sigma, prediction)]) }
    let clean = weightedSum([(1, sample), (-sigma, prediction)])
    return weightedSum([(1 - next, clean), (next, random.normal(sample.shape))])
  }

  public func addNoise(_ noise: Tensor, to original: Tensor, at index: Int) -> Tensor {
    weightedSum([(sigmas[index], noise), (1 - sigmas[index], original)])
  }
}
