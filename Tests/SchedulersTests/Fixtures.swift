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

  init(seed: UInt64) {}
  init(_ tensors: [Tensor]) { self.tensors = tensors }

  mutating func normal(_ shape: [Int]) -> Tensor {
    let next = tensors.removeFirst()
    precondition(next.shape == shape, "noise \(next.shape) asked for as \(shape)")
    return next
  }
}

/// `torch.randn` on the CPU for tensors of a multiple of 16 elements: MT19937, 24-bit uniforms, Box-Muller over halves
/// of sixteen.
struct TorchNoise: RandomSource {
  private var state: [UInt32] = []
  private var position = 624

  init(seed: UInt64) {
    state = [UInt32(truncatingIfNeeded: seed)]
    for index in 1..<624 {
      state.append(1_812_433_253 &* (state[index - 1] ^ (state[index - 1] >> 30)) &+ UInt32(index))
    }
  }

  private mutating func next() -> UInt32 {
    if position == 624 {
      for index in 0..<624 {
        let mixed = (state[index] & 0x8000_0000) | (state[(index + 1) % 624] & 0x7fff_ffff)
        state[index] = state[(index + 397) % 624] ^ (mixed >> 1) ^ (mixed & 1 == 0 ? 0 : 0x9908_b0df)
      }
      position = 0
    }
    var value = state[position]
    position += 1
    value ^= value >> 11
    value ^= (value << 7) & 0x9d2c_5680
    value ^= (value << 15) & 0xefc6_0000
    return value ^ (value >> 18)
  }

  mutating func normal(_ shape: [Int]) -> Tensor {
    let count = shape.reduce(1, *)
    precondition(count.isMultiple(of: 16) && count > 0)
    var values = (0..<count).map { _ in Float(next() & 0xff_ffff) / 16_777_216 }
    for start in stride(from: 0, to: count, by: 16) {
      for index in start..<start + 8 {
        let radius = (-2 * log(1 - values[index])).squareRoot(), angle = 2 * Float.pi * values[index + 8]
        (values[index], values[index + 8]) = (radius * cos(angle), radius * sin(angle))
      }
    }
    return Tensor(shape, values)
  }
}
