import Tensors

/// What the schedulers that work on `ᾱ` directly (DDPM, DDIM, LCM) do with samples.
extension NoiseSchedule {
  /// The clean sample that a prediction implies.
  /// - Parameters:
  ///   - output, sample: `[B, C, ...]`
  ///   - alphaCumprod: `ᾱ` at the current timestep.
  func cleanSample(
    from output: Tensor, _ type: PredictionType, sample: Tensor, alphaCumprod: Float
  ) -> Tensor {
    let signal = alphaCumprod.squareRoot(), noise = (1 - alphaCumprod).squareRoot()
    switch type {
    case .epsilon: return zipped(sample, output) { ($0 - noise * $1) / signal }
    case .velocity: return zipped(sample, output) { signal * $0 - noise * $1 }
    case .sample, .originalSample: return output
    case .flow: preconditionFailure("flow predictions are not defined on ᾱ")
    }
  }

  /// A clean sample noised to training timestep `timestep`. Tensors `[B, C, ...]`.
  func addNoise(_ noise: Tensor, to original: Tensor, at timestep: Int) -> Tensor {
    let alpha = alphasCumprod[timestep]
    return weightedSum([(alpha.squareRoot(), original), ((1 - alpha).squareRoot(), noise)])
  }
}

extension Scheduler {
  /// Whole timesteps given by the caller: descending and inside the schedule.
  static func descending(_ given: [Double], in schedule: NoiseSchedule) throws -> [Int] {
    guard !given.isEmpty else { throw invalid("no timesteps given") }
    guard given.allSatisfy({ $0.isFinite && $0 == $0.rounded() }) else { throw invalid("timesteps must be whole") }
    guard zip(given, given.dropFirst()).allSatisfy({ $0 > $1 }) else { throw invalid("timesteps must be descending") }
    guard given[0] < Double(schedule.count), given[given.count - 1] >= 0 else {
      throw invalid("timesteps must lie in 0..<\(schedule.count)")
    }
    return given.map { Int($0) }
  }

  /// Throws when an offset has pushed timesteps past the schedule.
  static func check(_ steps: [Int], against schedule: NoiseSchedule) throws {
    guard let step = steps.first(where: { !schedule.alphasCumprod.indices.contains($0) }) else { return }
    throw invalid("timestep \(step) lies outside 0..<\(schedule.count); use fewer steps or a smaller steps_offset")
  }
}
