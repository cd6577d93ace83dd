import Tensors

/// `body` of every pair of elements. Both tensors have one shape.
func zipped(_ a: Tensor, _ b: Tensor, _ body: (Float, Float) -> Float) -> Tensor {
  precondition(a.shape == b.shape, "shapes \(a.shape) and \(b.shape)")
  var x = a.elements
  let y = b.elements
  for index in x.indices { x[index] = body(x[index], y[index]) }
  return Tensor(a.shape, x)
}

/// `Σ weight · tensor`, accumulated in Float in the order given. All tensors have one shape; at least one term.
func weightedSum(_ terms: [(Float, Tensor)]) -> Tensor {
  let shape = terms[0].1.shape
  var sum = terms[0].1.elements
  let first = terms[0].0
  for index in sum.indices { sum[index] *= first }
  for (weight, tensor) in terms.dropFirst() {
    precondition(tensor.shape == shape, "shapes \(shape) and \(tensor.shape)")
    let values = tensor.elements
    for index in sum.indices { sum[index] += weight * values[index] }
  }
  return Tensor(shape, sum)
}

/// What is done to a predicted clean sample before it is used.
enum SampleLimit: Sendable {
  case none
  /// Clamped to ±range.
  case clip(Float)
  /// Dynamic thresholding (Saharia et al. 2022, section 2.3): each item of the batch is clamped to the `ratio` quantile
  /// of its absolute values, held between 1 and `maximum`, and divided by it.
  case threshold(ratio: Float, maximum: Float)

  /// `thresholding`, else `clip_sample`, as configured.
  init(_ configuration: SchedulerConfiguration, clips: Bool) {
    if configuration.thresholding ?? false {
      self = .threshold(
        ratio: configuration.dynamicThresholdingRatio ?? 0.995, maximum: configuration.sampleMaxValue ?? 1)
    } else if clips {
      self = .clip(configuration.clipSampleRange ?? 1)
    } else {
      self = .none
    }
  }

  /// - Parameter sample: `[B, ...]`
  func callAsFunction(_ sample: Tensor) -> Tensor {
    switch self {
    case .none: return sample
    case .clip(let range): return sample.map { min(max($0, -range), range) }
    case .threshold(let ratio, let maximum):
      var values = sample.elements
      let rows = max(sample.shape.first ?? 1, 1)
      let size = values.count / rows
      for row in 0..<rows where size > 0 {
        let range = row * size..<(row + 1) * size
        let bound = min(max(quantile(values[range].map(abs), ratio), 1), maximum)
        for index in range { values[index] = min(max(values[index], -bound), bound) / bound }
      }
      return Tensor(sample.shape, values)
    }
  }

  /// The `ratio` quantile, 0…1, linearly interpolated between neighbours.
  private func quantile(_ values: [Float], _ ratio: Float) -> Float {
    let sorted = values.sorted()
    let rank = ratio * Float(sorted.count - 1)
    let below = min(max(Int(rank), 0), sorted.count - 1), above = min(below + 1, sorted.count - 1)
    let weight = rank - Float(below), span = sorted[above] - sorted[below]
    return weight < 0.5 ? sorted[below] + weight * span : sorted[above] - span * (1 - weight)
  }
}
