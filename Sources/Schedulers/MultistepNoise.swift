// What the multistep solvers, DPM-Solver and UniPC, share: noise levels in log-SNR time and conversions of predictions.
import Foundation
import Tensors

/// One noise level: `x = alpha · clean + sigma · noise`.
struct NoiseLevel: Sendable {
  let alpha, sigma: Float
  /// Half the logarithm of the signal-to-noise ratio; infinite without noise.
  let lambda: Float

  /// - Parameters:
  ///   - level: an entry of the solver's sigmas.
  ///   - isFlow: levels are `σ` of `x = (1 - σ) · clean + σ · noise`, else of the variance-exploding form.
  init(_ level: Float, isFlow: Bool) {
    alpha = isFlow ? 1 - level : 1 / (level * level + 1).squareRoot()
    sigma = isFlow ? level : level * alpha
    lambda = log(alpha) - log(sigma)
  }
}

/// Turns a model's prediction into the quantity a multistep solver integrates.
struct PredictionConversion: Sendable {
  let type: PredictionType
  let isFlow: Bool
  let limit: SampleLimit

  /// The clean sample. Tensors `[B, C, ...]`; `level` is the solver's sigma at this step.
  func clean(_ output: Tensor, sample: Tensor, level: Float) -> Tensor {
    let noise = NoiseLevel(level, isFlow: isFlow)
    switch type {
    case .epsilon: return limit(zipped(sample, output) { ($0 - noise.sigma * $1) / noise.alpha })
    case .velocity: return limit(zipped(sample, output) { noise.alpha * $0 - noise.sigma * $1 })
    case .flow: return limit(zipped(sample, output) { $0 - level * $1 })
    case .sample, .originalSample: return limit(output)
    }
  }

  /// The noise. Tensors `[B, C, ...]`; `level` is the solver's sigma at this step.
  func epsilon(_ output: Tensor, sample: Tensor, level: Float) -> Tensor {
    let noise = NoiseLevel(level, isFlow: isFlow)
    let epsilon: Tensor
    switch type {
    case .epsilon: epsilon = output
    case .velocity: epsilon = weightedSum([(noise.alpha, output), (noise.sigma, sample)])
    case .sample, .originalSample: epsilon = zipped(sample, output) { ($0 - noise.alpha * $1) / noise.sigma }
    case .flow: preconditionFailure("flow predictions are integrated as clean samples")
    }
    if case .none = limit { return epsilon }
    let clean = limit(zipped(sample, epsilon) { ($0 - noise.sigma * $1) / noise.alpha })
    return zipped(sample, clean) { ($0 - noise.alpha * $1) / noise.sigma }
  }
}

/// Recent quantities of a multistep solver, and the rule that steps follow each other.
struct MultistepHistory: Sendable {
  /// Newest last, at most as many as the solver's order.
  var outputs: [Tensor] = []
  var nextIndex: Int?
  let capacity: Int

  init(capacity: Int) { self.capacity = capacity }

  /// Called first in every step.
  mutating func advance(to index: Int) {
    precondition(nextIndex == nil || nextIndex == index, "step \(index) where \(nextIndex ?? 0) must follow")
    nextIndex = index + 1
  }

  mutating func append(_ output: Tensor) {
    outputs.append(output)
    if outputs.count > capacity { outputs.removeFirst() }
  }
}
