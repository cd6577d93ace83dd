// Luo et al. 2023, "Latent Consistency Models"; ported from diffusers 0.42.1, scheduling_lcm.py.
import Tensors

/// Consistency sampling in a few steps: predict the clean sample, then noise it again for the next step.
public struct LCMScheduler: Scheduler {
  public static let className = "LCMScheduler"
  public static let shortNames = ["lcm"]
  /// The class has `timestep_spacing` and `steps_offset` too, and like the reference makes no use of them.
  public static let keys: Set<String> = [
    "numTrainTimesteps", "betaStart", "betaEnd", "betaSchedule", "trainedBetas", "originalInferenceSteps",
    "clipSample", "clipSampleRange", "setAlphaToOne", "stepsOffset", "predictionType", "thresholding",
    "dynamicThresholdingRatio", "sampleMaxValue", "timestepSpacing", "timestepScaling", "rescaleBetasZeroSnr",
  ]

  private let schedule: NoiseSchedule
  private let predictionType: PredictionType
  private let limit: SampleLimit
  /// Steps of the schedule the model was distilled on.
  private let originalSteps: Int
  private let timestepScaling: Float
  private var steps: [Int] = []

  public let initialNoiseScale: Float = 1
  public var timesteps: [Float] { steps.map { Float($0) } }

  public init(_ configuration: SchedulerConfiguration) throws {
    schedule = try NoiseSchedule(configuration, for: Self.self, default: .scaledLinear, range: (0.00085, 0.012))
    predictionType = try Self.predictionType(configuration, allowed: [.epsilon, .sample, .velocity])
    limit = SampleLimit(configuration, clips: configuration.clipSample ?? false)
    originalSteps = configuration.originalInferenceSteps ?? 50
    guard (1...schedule.count).contains(originalSteps) else {
      throw Self.invalid("original_inference_steps = \(originalSteps) outside 1...\(schedule.count)")
    }
    timestepScaling = configuration.timestepScaling ?? 10
  }

  public mutating func setTimesteps(_ request: StepRequest, options: SamplingOptions) throws {
    try Self.check(options)
    switch request {
    case .count(let count):
      let count = try Self.count(count, limit: schedule.count)
      guard count <= originalSteps else {
        throw Self.invalid("\(count) steps, but original_inference_steps = \(originalSteps)")
      }
      let stride = schedule.count / originalSteps
      let spacing = Double(originalSteps) / Double(count)
      steps = (0..<count).map { (originalSteps - Int(Double($0) * spacing)) * stride - 1 }
    case .timesteps(let given):
      steps = try Self.descending(given, in: schedule)
    case .sigmas:
      throw Self.unsupported("sigmas", "given by the caller")
    }
  }

  public mutating func step(
    _ prediction: Tensor, at index: Int, sample: Tensor, random: inout some RandomSource
  ) throws -> Tensor {
    precondition(index: index, prediction: prediction, sample: sample)
    let alpha = schedule.alphasCumprod[steps[index]]
    let clean = limit(
      schedule.cleanSample(from: prediction, predictionType, sample: sample, alphaCumprod: alpha))
    // Boundary scalings of the consistency function, with a data deviation of 0.5.
    let time = Float(steps[index]) * timestepScaling
    let total = time * time + 0.25
    let denoised = weightedSum([(time / total.squareRoot(), clean), (0.25 / total, sample)])
    guard index + 1 < steps.count else { return denoised }
    return schedule.addNoise(random.normal(sample.shape), to: denoised, at: steps[index + 1])
  }

  public func addNoise(_ noise: Tensor, to original: Tensor, at index: Int) -> Tensor {
    schedule.addNoise(noise, to: original, at: steps[index])
  }
}
