import Foundation
import Schedulers
import Tensors
import Testing
import TolerantJSON

/// What every golden case shares; see `Fixtures/make_fixtures.py`.
struct SharedFixture: Decodable {
  let shape: [Int]
  let initial, bias, variance, clean: [Float]
  let noise: [[Float]]

  static func load() throws -> SharedFixture { try TolerantJSON.decode(Self.self, from: fixture("shared")) }

  func tensor(_ values: [Float]) -> Tensor { Tensor(shape, values) }
}

/// One scheduler's trajectory as the reference ran it.
struct GoldenCase: Decodable, CustomTestStringConvertible {
  struct Snapshot: Decodable {
    let after: Int
    let values: [Float]
  }
  struct Noised: Decodable {
    let index: Int
    let values: [Float]
  }

  let name: String
  let configuration: SchedulerConfiguration
  let steps: Int?
  let givenTimesteps, givenSigmas: [Double]?
  let mu: Double?
  let eta, churn, churnMinimum, churnMaximum, churnNoise: Float?
  let learnsVariance: Bool
  let initialNoiseScale: Float
  let timesteps: [Float]
  let samples: [Snapshot]
  let noised: Noised?

  static func load(_ file: String) throws -> [GoldenCase] {
    try TolerantJSON.decode([GoldenCase].self, from: fixture(file))
  }

  var testDescription: String { name }

  var request: StepRequest {
    if let givenTimesteps { return .timesteps(givenTimesteps) }
    if let givenSigmas { return .sigmas(givenSigmas) }
    return .count(steps ?? 0)
  }

  var options: SamplingOptions {
    var options = SamplingOptions()
    options.mu = mu
    options.eta = eta ?? 0
    options.churn = churn ?? 0
    options.churnMinimum = churnMinimum ?? 0
    options.churnMaximum = churnMaximum ?? .infinity
    options.churnNoise = churnNoise ?? 1
    return options
  }
}

private func fixture(_ name: String) -> URL {
  URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/\(name).json")
}

/// `‖a - b‖ / ‖b‖`.
func relativeError(_ values: [Float], _ expected: [Float]) -> Double {
  precondition(values.count == expected.count)
  var difference = 0.0, norm = 0.0
  for (value, expected) in zip(values, expected) {
    difference += (Double(value) - Double(expected)) * (Double(value) - Double(expected))
    norm += Double(expected) * Double(expected)
  }
  return (difference / max(norm, 1e-30)).squareRoot()
}

/// Hands out stored tensors in order.
struct ReplayedNoise: RandomSource {
  private var tensors: [Tensor] = []

  /// The noise is what it is: nothing to save.
  struct State: Codable, Hashable {}
  var state: State {
    get { State() }
    set {}
  }

  init(seed: UInt64) {}
  init(_ tensors: [Tensor]) { self.tensors = tensors }

  mutating func normal(_ shape: [Int]) -> Tensor {
    let next = tensors.removeFirst()
    precondition(next.shape == shape, "noise \(next.shape) asked for as \(shape)")
    return next
  }
}
