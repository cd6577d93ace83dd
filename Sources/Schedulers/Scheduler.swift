import Tensors

/// Where the steps of a run fall.
public enum StepRequest: Sendable, Hashable {
  /// So many steps, placed by the scheduler's own rule.
  case count(Int)
  /// Timesteps given by the caller, noisiest first.
  case timesteps([Double])
  /// Noise levels given by the caller, noisiest first. `EulerDiscreteScheduler` expects the last level too, so one more
  /// than there are steps.
  case sigmas([Double])
}

/// What a run may choose beyond the model folder's configuration.
public struct SamplingOptions: Sendable, Hashable, Codable {
  /// Logarithm of the flow shift (its value, under a linear time shift), for configurations with
  /// `use_dynamic_shifting`.
  public var mu: Double?
  /// Share of fresh noise in a DDIM step, 0…1; 0 is deterministic.
  public var eta: Float = 0
  /// Stochasticity of Euler steps (`s_churn` of Karras et al. 2022, algorithm 2).
  public var churn: Float = 0
  /// Noise levels between which churn applies (`s_tmin`, `s_tmax`).
  public var churnMinimum: Float = 0
  public var churnMaximum: Float = .infinity
  /// Scale of churn noise (`s_noise`).
  public var churnNoise: Float = 1

  public init() {}
}

/// A solver of the reverse diffusion process over a fixed list of steps.
///
/// A run is: ``setTimesteps(_:options:)``, noise scaled by ``initialNoiseScale``, then for every index, ascending, the
/// model sees ``scaledInput(_:at:)`` and ``timesteps``, and ``step(_:at:sample:random:)`` takes its prediction. Steps
/// are addressed by index, never by timestep value; a run may begin at any index but must not skip one.
public protocol Scheduler: Sendable {
  /// The class name in diffusers' `_class_name`.
  static var className: String { get }
  /// Spellings for the command line, preferred first.
  static var shortNames: [String] { get }
  /// Configuration keys this class has, in camel case.
  static var keys: Set<String> { get }

  /// Resolves and checks a configuration; throws ``SchedulerError/unsupported(scheduler:key:value:)`` for any value
  /// that is not implemented.
  init(_ configuration: SchedulerConfiguration) throws

  /// Chooses the steps of a run and forgets any run in progress.
  mutating func setTimesteps(_ request: StepRequest, options: SamplingOptions) throws

  /// What the model is told at each step, noisiest first; empty before ``setTimesteps(_:options:)``.
  var timesteps: [Float] { get }

  /// Standard deviation of the noise a run starts from.
  var initialNoiseScale: Float { get }

  /// The sample as the model wants to see it.
  /// - Parameter sample: `[B, C, ...]`
  func scaledInput(_ sample: Tensor, at index: Int) -> Tensor

  /// One step.
  /// - Parameters:
  ///   - prediction: the model's output, `[B, C, ...]`, or `[B, 2C, ...]` where the configuration's `variance_type`
  ///     says that a variance is learned.
  ///   - index: position in ``timesteps``.
  ///   - sample: the unscaled sample, `[B, C, ...]`.
  ///   - random: drawn from only by stochastic schedulers, one tensor of the sample's shape a step.
  /// - Returns: the next sample, `[B, C, ...]`.
  mutating func step(
    _ prediction: Tensor, at index: Int, sample: Tensor, random: inout some RandomSource
  ) throws -> Tensor

  /// What the solver carries to the next step, and the way back; a run goes on at the index after the one last stepped.
  var savedState: SolverState { get }
  mutating func restore(_ state: SolverState) throws

  /// A clean sample brought to the noise level at which step `index` begins. All tensors `[B, C, ...]`.
  func addNoise(_ noise: Tensor, to original: Tensor, at index: Int) -> Tensor
}

extension Scheduler {
  /// Chooses `steps` steps placed by the scheduler's own rule.
  public mutating func setTimesteps(_ steps: Int, options: SamplingOptions = SamplingOptions()) throws {
    try setTimesteps(.count(steps), options: options)
  }

  public func scaledInput(_ sample: Tensor, at index: Int) -> Tensor { sample }

  static func unsupported(_ key: String, _ value: some Any) -> SchedulerError {
    .unsupported(scheduler: className, key: key, value: "\(value)")
  }

  static func invalid(_ reason: String) -> SchedulerError { .invalid(scheduler: className, reason: reason) }

  /// The member of a closed set that a configuration names.
  static func choice<T: RawRepresentable<String>>(_ key: String, _ value: String?, default standard: T) throws -> T {
    guard let value else { return standard }
    guard let choice = T(rawValue: value) else { throw unsupported(key, value) }
    return choice
  }

  /// What the model predicts, when it is among `allowed`.
  static func predictionType(
    _ configuration: SchedulerConfiguration, allowed: Set<PredictionType>
  ) throws -> PredictionType {
    let type = try choice("prediction_type", configuration.predictionType, default: PredictionType.epsilon)
    guard allowed.contains(type) else { throw unsupported("prediction_type", type.rawValue) }
    return type
  }

  /// Throws for options that only other schedulers have.
  static func check(_ options: SamplingOptions, mu: Bool = false, eta: Bool = false, churn: Bool = false) throws {
    if let value = options.mu, !mu { throw unsupported("mu", value) }
    if options.eta != 0, !eta { throw unsupported("eta", options.eta) }
    if options.churn != 0, !churn { throw unsupported("s_churn", options.churn) }
  }

  /// The number of steps of a request for a count, between one and `limit`.
  static func count(_ steps: Int, limit: Int = .max) throws -> Int {
    guard steps >= 1 else { throw invalid("\(steps) steps; at least one is needed") }
    guard steps <= limit else { throw invalid("\(steps) steps, but the model was trained on \(limit) timesteps") }
    return steps
  }

  func precondition(index: Int, prediction: Tensor, sample: Tensor) {
    Swift.precondition(timesteps.indices.contains(index), "step \(index) of \(timesteps.count)")
    Swift.precondition(
      prediction.shape == sample.shape, "prediction \(prediction.shape) for a sample of \(sample.shape)")
  }
}

/// What a model is trained to predict.
enum PredictionType: String, Sendable {
  case epsilon
  case sample
  case velocity = "v_prediction"
  case flow = "flow_prediction"
  /// An older spelling of `sample`, known to `EulerDiscreteScheduler` alone.
  case originalSample = "original_sample"
}
