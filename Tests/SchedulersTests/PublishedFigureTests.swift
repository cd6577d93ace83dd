import Foundation
import Schedulers
import Tensors
import Testing
import TolerantJSON

/// One full loop of diffusers' own scheduler tests with its published figures.
struct PublishedLoop: Sendable, CustomTestStringConvertible {
  let name: String
  /// Scheduler configuration beyond the defaults of the published test.
  let json: String
  /// Sum and mean of absolute values at the end; a sum of `nil` was not published.
  let sum: Double?
  let mean: Double
  var steps = 10
  /// Where a loop that starts from a noised sample begins.
  var start: Int?
  /// `[4, 3, 8, 8]`, or `[4, 3, 8]` for the one-dimensional tests.
  var size = [8, 8]
  var sumTolerance = 1e-2

  var testDescription: String { name }
}

/// Figures of tests/schedulers/test_scheduler_*.py in diffusers at commit 58eb52c, within the tolerances used there.
@Suite struct PublishedFigureTests {
  static let ddpm = #""_class_name": "DDPMScheduler""#
  static let ddim = #""_class_name": "DDIMScheduler""#
  static let euler = #""_class_name": "EulerDiscreteScheduler", "num_train_timesteps": 1100"#
  static let dpm =
    #""_class_name": "DPMSolverMultistepScheduler", "lower_order_final": false, "final_sigmas_type": "sigma_min""#
  static let unipc = #""_class_name": "UniPCMultistepScheduler", "final_sigmas_type": "sigma_min""#
  static let lcm = #""_class_name": "LCMScheduler""#
  static let velocity = #", "prediction_type": "v_prediction""#
  static let karras = #", "use_karras_sigmas": true"#

  static let loops = [
    PublishedLoop(name: "ddpm", json: ddpm, sum: 258.9606, mean: 0.3372, steps: 1000),
    PublishedLoop(name: "ddpm v", json: ddpm + velocity, sum: 202.0296, mean: 0.2631, steps: 1000),
    PublishedLoop(name: "ddpm noised", json: ddpm, sum: 387.9466, mean: 0.5051, steps: 1000, start: 998),
    PublishedLoop(name: "ddim", json: ddim, sum: 172.0067, mean: 0.223967),
    PublishedLoop(name: "ddim v", json: ddim + velocity, sum: 52.5302, mean: 0.0684),
    PublishedLoop(
      name: "ddim alpha one", json: ddim + #", "set_alpha_to_one": true, "beta_start": 0.01"#, sum: 149.8295,
      mean: 0.1951),
    PublishedLoop(
      name: "ddim alpha not one", json: ddim + #", "set_alpha_to_one": false, "beta_start": 0.01"#, sum: 149.0784,
      mean: 0.1941),
    PublishedLoop(name: "ddim noised", json: ddim, sum: 354.5418, mean: 0.4616, start: 8),
    PublishedLoop(name: "euler", json: euler, sum: 10.0807, mean: 0.0131),
    PublishedLoop(name: "euler v", json: euler + velocity, sum: 0.0002, mean: 2.2676e-06),
    PublishedLoop(name: "euler karras", json: euler + karras, sum: 124.52299499511719, mean: 0.16213932633399963),
    PublishedLoop(name: "euler noised", json: euler, sum: 57062.9297, mean: 74.3007, start: 8),
    PublishedLoop(name: "dpm", json: dpm, sum: nil, mean: 0.3301),
    PublishedLoop(name: "dpm noised", json: dpm, sum: 318.4111, mean: 0.4146, start: 5),
    PublishedLoop(
      name: "dpm thresholding",
      json: dpm + #", "thresholding": true, "dynamic_thresholding_ratio": 0.87, "sample_max_value": 0.5"#,
      sum: nil, mean: 1.1364),
    PublishedLoop(name: "dpm v", json: dpm + velocity, sum: nil, mean: 0.2251),
    PublishedLoop(name: "dpm karras v", json: dpm + velocity + karras, sum: nil, mean: 0.2096),
    PublishedLoop(name: "dpm lu v", json: dpm + velocity + #", "use_lu_lambdas": true"#, sum: nil, mean: 0.1554),
    PublishedLoop(name: "unipc", json: unipc, sum: nil, mean: 0.2464),
    PublishedLoop(name: "unipc karras", json: unipc + karras, sum: nil, mean: 0.2925),
    PublishedLoop(name: "unipc v", json: unipc + velocity, sum: nil, mean: 0.1014),
    PublishedLoop(name: "unipc karras v", json: unipc + velocity + karras, sum: nil, mean: 0.1966),
    PublishedLoop(name: "unipc noised", json: unipc, sum: 315.5757, mean: 0.4109, start: 8),
    PublishedLoop(name: "unipc 1d", json: unipc, sum: nil, mean: 0.2441, size: [8]),
    PublishedLoop(name: "unipc 1d karras", json: unipc + karras, sum: nil, mean: 0.2898, size: [8]),
    PublishedLoop(name: "unipc 1d v", json: unipc + velocity, sum: nil, mean: 0.1014, size: [8]),
    PublishedLoop(name: "unipc 1d karras v", json: unipc + velocity + karras, sum: nil, mean: 0.1944, size: [8]),
    PublishedLoop(name: "unipc 1d noised", json: unipc, sum: 39.0870, mean: 0.4072, start: 8, size: [8]),
    PublishedLoop(name: "lcm one step", json: lcm, sum: 18.7097, mean: 0.0244, steps: 1, sumTolerance: 1e-3),
    PublishedLoop(name: "lcm", json: lcm, sum: 197.7616, mean: 0.2575, sumTolerance: 1e-3),
  ]

  @Test(arguments: loops) func fullLoop(_ loop: PublishedLoop) throws {
    let configuration = try TolerantJSON.decode(
      SchedulerConfiguration.self, from: Data("{\(loop.json)}".utf8), path: loop.name)
    var scheduler = try makeScheduler(configuration: configuration)
    try scheduler.setTimesteps(loop.steps)
    var random = TorchRandom(seed: 0)
    // Elements count up along every axis, the batch fastest.
    let count = 12 * loop.size.reduce(1, *)
    let axes = [loop.size.count + 1] + Array(0...loop.size.count)
    func ramp(_ value: (Int) -> Int) -> Tensor {
      Tensor([3] + loop.size + [4], (0..<count).map { Float(value($0)) / Float(count) }).permuted(axes)
    }
    let scalesInput = scheduler is EulerDiscreteScheduler
    let scale = scalesInput ? scheduler.initialNoiseScale : 1
    var sample = ramp { $0 }.map { $0 * scale }
    if let start = loop.start { sample = scheduler.addNoise(ramp { count - 1 - $0 }, to: sample, at: start) }
    for index in (loop.start ?? 0)..<scheduler.timesteps.count {
      let timestep = scheduler.timesteps[index]
      // The published loop steps from the scaled sample.
      sample = scheduler.scaledInput(sample, at: index)
      let output = sample.map { $0 * timestep / (timestep + 1) }
      sample = try scheduler.step(output, at: index, sample: sample, random: &random)
    }
    let sum = sample.elements.reduce(0.0) { $0 + Double(abs($1)) }
    if let expected = loop.sum { #expect(abs(sum - expected) < loop.sumTolerance) }
    #expect(abs(sum / Double(count) - loop.mean) < 1e-3)
  }

  /// test_flow_and_karras_sigmas_values of the UniPC tests.
  @Test func unipcFlowOnKarrasSigmas() throws {
    var configuration = SchedulerConfiguration()
    configuration.sigmaMin = 0.01
    configuration.sigmaMax = 200
    configuration.useFlowSigmas = true
    configuration.useKarrasSigmas = true
    var scheduler = try UniPCMultistepScheduler(configuration)
    try scheduler.setTimesteps(5)
    let expected: [Float] = [
      0.9950248599052429, 0.9787454605102539, 0.8774884343147278, 0.3604971766471863, 0.009900986,
    ]
    #expect(scheduler.timesteps == expected.map { ($0 * 1000).rounded(.towardZero) })
  }
}
