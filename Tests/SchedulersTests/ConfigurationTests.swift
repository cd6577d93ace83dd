import Foundation
import Schedulers
import Tensors
import Testing
import TolerantJSON

@Suite struct ConfigurationTests {
  private func configuration(_ json: String) throws -> SchedulerConfiguration {
    try TolerantJSON.decode(SchedulerConfiguration.self, from: Data(json.utf8), path: "scheduler_config.json")
  }

  @Test func unknownNamesListTheKnown() throws {
    #expect {
      try makeScheduler(named: "heun", configuration: SchedulerConfiguration())
    } throws: { error in
      "\(error)".contains("heun") && allSchedulers.allSatisfy { "\(error)".contains($0.className) }
    }
    #expect(throws: SchedulerError.missingClassName) { try makeScheduler(configuration: SchedulerConfiguration()) }
  }

  @Test(arguments: [
    ("ddpm", "DDPMScheduler"), ("ddim", "DDIMScheduler"), ("DDIMScheduler", "DDIMScheduler"),
    ("euler", "EulerDiscreteScheduler"), ("dpm++", "DPMSolverMultistepScheduler"),
    ("dpmsolver++", "DPMSolverMultistepScheduler"), ("UniPC", "UniPCMultistepScheduler"), ("lcm", "LCMScheduler"),
    ("flow-euler", "FlowMatchEulerDiscreteScheduler"),
  ])
  func namesFindTheirClass(_ name: String, _ className: String) throws {
    let scheduler = try makeScheduler(named: name, configuration: SchedulerConfiguration())
    #expect(type(of: scheduler).className == className)
  }

  @Test(arguments: [
    (#"{"_class_name": "DDPMScheduler", "variance_type": "fixed_large_log"}"#, "variance_type", "fixed_large_log"),
    (#"{"_class_name": "DDPMScheduler", "prediction_type": "flow_prediction"}"#, "prediction_type", "flow_prediction"),
    (#"{"_class_name": "DDIMScheduler", "beta_schedule": "sigmoid"}"#, "beta_schedule", "sigmoid"),
    (#"{"_class_name": "DDIMScheduler", "timestep_spacing": "log"}"#, "timestep_spacing", "log"),
    (#"{"_class_name": "LCMScheduler", "beta_schedule": "laplace"}"#, "beta_schedule", "laplace"),
    (#"{"_class_name": "EulerDiscreteScheduler", "interpolation_type": "cubic"}"#, "interpolation_type", "cubic"),
    (#"{"_class_name": "EulerDiscreteScheduler", "timestep_type": "mixed"}"#, "timestep_type", "mixed"),
    (#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "deis"}"#, "algorithm_type", "deis"),
    (#"{"_class_name": "DPMSolverMultistepScheduler", "solver_type": "bh2"}"#, "solver_type", "bh2"),
    (#"{"_class_name": "DPMSolverMultistepScheduler", "solver_order": 4}"#, "solver_order", "4"),
    (#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"}"#, "final_sigmas_type", "zero"),
    (#"{"_class_name": "DPMSolverMultistepScheduler", "variance_type": "fixed"}"#, "variance_type", "fixed"),
    (#"{"_class_name": "UniPCMultistepScheduler", "solver_p": {"a": 1}}"#, "solver_p", "not null"),
    (#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 5}"#, "solver_order", "5"),
    (#"{"_class_name": "UniPCMultistepScheduler", "shift_terminal": 0.1}"#, "shift_terminal", "0.1"),
    (#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "time_shift_type": "cubic"}"#, "time_shift_type", "cubic"),
  ])
  func unsupportedValuesAreNamed(_ json: String, _ key: String, _ value: String) throws {
    let configuration = try configuration(json)
    #expect {
      try makeScheduler(configuration: configuration)
    } throws: { error in
      guard case SchedulerError.unsupported(_, let foundKey, let foundValue) = error else { return false }
      return foundKey == key && foundValue.contains(value)
    }
  }

  @Test func onlyOneSigmaSpacing() throws {
    let both = try configuration(
      #"{"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": true, "use_beta_sigmas": true}"#)
    #expect(throws: SchedulerError.self) { try makeScheduler(configuration: both) }
  }

  @Test func bareMinusInfinityIsRead() throws {
    let pixart = try configuration(
      #"{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "solver_p": null}"#)
    #expect(pixart.lambdaMinClipped == -.infinity)
    var scheduler = try makeScheduler(configuration: pixart)
    try scheduler.setTimesteps(20)
    #expect(scheduler.timesteps.first == 999)
  }

  @Test(arguments: [
    #"{"_class_name": "DDIMScheduler", "beta_start": 0.1, "beta_end": 2}"#,
    #"{"_class_name": "DDIMScheduler", "num_train_timesteps": 1000000000000}"#,
    #"{"_class_name": "DDIMScheduler", "trained_betas": [0.1, 0.2]}"#,
    #"{"_class_name": "LCMScheduler", "original_inference_steps": 0}"#,
    #"{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": 50}"#,
    #"{"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 0}"#,
  ])
  func senselessValuesAreRejected(_ json: String) throws {
    let configuration = try configuration(json)
    #expect(throws: SchedulerError.self) { try makeScheduler(configuration: configuration) }
  }

  @Test func keysOfOtherClassesAreReported() throws {
    let stable = try configuration(
      #"{"_class_name": "EulerDiscreteScheduler", "clip_sample": false, "skip_prk_steps": true, "beta_start": 0.001}"#)
    _ = try makeScheduler(configuration: stable)
    #expect(stable.unusedKeys(by: EulerDiscreteScheduler.self) == ["clipSample", "skipPrkSteps"])
  }

  @Test func overridingKeepsWhatTheClassesShare() throws {
    let folder = try configuration(
      """
      {"_class_name": "DPMSolverMultistepScheduler", "solver_type": "midpoint", "algorithm_type": "dpmsolver++",
       "beta_end": 0.012, "solver_order": 3}
      """)
    let native = try configuration(
      #"{"_class_name": "UniPCMultistepScheduler", "beta_end": 0.012, "solver_order": 3}"#)
    let overridden = try finalSample(makeScheduler(named: "unipc", configuration: folder))
    #expect(try finalSample(makeScheduler(configuration: native)) == overridden)
    #expect(try finalSample(makeScheduler(configuration: folder)) != overridden)
  }

  /// Where ten steps of a fixed toy model end.
  private func finalSample(_ scheduler: any Scheduler) throws -> Tensor {
    var scheduler = scheduler, random = TorchRandom(seed: 0)
    try scheduler.setTimesteps(10)
    var sample = Tensor([1, 1, 4, 4], (0..<16).map { Float($0) / 16 })
    for index in scheduler.timesteps.indices {
      let prediction = sample.map { $0 * 0.7 + 0.1 }
      sample = try scheduler.step(prediction, at: index, sample: sample, random: &random)
    }
    return sample
  }

  @Test func flowShiftIsCarriedOver() throws {
    let flow = try configuration(#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}"#)
    let wan = try configuration(
      """
      {"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction", "use_flow_sigmas": true,
       "flow_shift": 3.0}
      """)
    var carried = try makeScheduler(named: "unipc", configuration: flow)
    var native = try makeScheduler(configuration: wan)
    try carried.setTimesteps(12)
    try native.setTimesteps(12)
    #expect(carried.timesteps == native.timesteps)

    var euler = try makeScheduler(named: "flow-euler", configuration: wan)
    var plain = try makeScheduler(configuration: flow)
    try euler.setTimesteps(12)
    try plain.setTimesteps(12)
    #expect(euler.timesteps == plain.timesteps)
  }

  @Test func flowAndDiffusionDoNotMix() throws {
    let flow = try configuration(#"{"_class_name": "FlowMatchEulerDiscreteScheduler"}"#)
    let diffusion = try configuration(#"{"_class_name": "DDIMScheduler"}"#)
    #expect(throws: SchedulerError.self) { try makeScheduler(named: "ddim", configuration: flow) }
    #expect(throws: SchedulerError.self) { try makeScheduler(named: "flow-euler", configuration: diffusion) }
  }

  @Test func requestsAreChecked() throws {
    var ddim = try DDIMScheduler(SchedulerConfiguration())
    #expect(throws: SchedulerError.self) { try ddim.setTimesteps(0) }
    #expect(throws: SchedulerError.self) { try ddim.setTimesteps(1001) }
    #expect(throws: SchedulerError.self) { try ddim.setTimesteps(.sigmas([1, 0]), options: SamplingOptions()) }
    var options = SamplingOptions()
    options.mu = 1
    #expect(throws: SchedulerError.self) { try ddim.setTimesteps(10, options: options) }

    var ddpm = try DDPMScheduler(SchedulerConfiguration())
    for wrong in [[100.0, 87, 50, 51, 0], [1000], [10.5], [-1], []] {
      #expect(throws: SchedulerError.self) { try ddpm.setTimesteps(.timesteps(wrong), options: SamplingOptions()) }
    }
    var lcm = try LCMScheduler(SchedulerConfiguration())
    #expect(throws: SchedulerError.self) { try lcm.setTimesteps(51) }

    var dynamic = try FlowMatchEulerDiscreteScheduler(
      try configuration(#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": true}"#))
    #expect(throws: SchedulerError.self) { try dynamic.setTimesteps(10) }
  }

  @Test func anOffsetPastTheScheduleIsAnError() throws {
    var ddim = try DDIMScheduler(try configuration(#"{"steps_offset": 1}"#))
    try ddim.setTimesteps(5)
    #expect(ddim.timesteps == [801, 601, 401, 201, 1])
    #expect(throws: SchedulerError.self) { try ddim.setTimesteps(1000) }
  }

  /// The reference lays out one step too many here, at timestep -1.
  @Test(arguments: [61, 103, 457]) func trailingKeepsTheAskedNumber(_ steps: Int) throws {
    var ddim = try DDIMScheduler(try configuration(#"{"timestep_spacing": "trailing"}"#))
    try ddim.setTimesteps(steps)
    #expect(ddim.timesteps.count == steps)
    #expect(ddim.timesteps.allSatisfy { $0 >= 0 })
  }

  @Test func learnedVarianceNeedsItsChannels() throws {
    var ddpm = try DDPMScheduler(try configuration(#"{"variance_type": "learned_range"}"#))
    try ddpm.setTimesteps(4)
    let sample = Tensor(zeros: [1, 2, 2, 4])
    var random = TorchRandom(seed: 0)
    #expect(throws: SchedulerError.self) { try ddpm.step(sample, at: 0, sample: sample, random: &random) }
  }

  /// Same seed, same picture, and a copy goes its own way: a scheduler is a value.
  @Test func schedulersAreValues() throws {
    var first: any Scheduler = try DPMSolverMultistepScheduler(SchedulerConfiguration())
    try first.setTimesteps(8)
    let noise = Tensor([1, 1, 4, 4], (0..<16).map { Float($0) / 16 })
    var random = TorchRandom(seed: 0)
    let once = try first.step(noise, at: 0, sample: noise, random: &random)
    var second = first
    let a = try first.step(noise, at: 1, sample: once, random: &random)
    let b = try second.step(noise, at: 1, sample: once, random: &random)
    #expect(a == b)
  }
}
