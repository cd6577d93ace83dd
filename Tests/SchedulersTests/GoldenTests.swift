import Schedulers
import Tensors
import Testing

/// Trajectories against diffusers 0.42.1, within 1e-5 relative L2 at every stored step.
///
/// All agree to better than 1e-6 but Euler at zero terminal SNR (6.5e-6), where the reference's Float32 square root
/// rounds the first noise level, sqrt(16777215), up to 4096 and the step from there cancels all but its last bits.
@Suite struct GoldenTests {
  static let shared = Result { try SharedFixture.load() }
  static func cases(_ file: String) -> [GoldenCase] { (try? GoldenCase.load(file)) ?? [] }

  @Test(arguments: cases("ddpm")) func ddpm(_ golden: GoldenCase) throws { try check(golden) }
  @Test(arguments: cases("ddim")) func ddim(_ golden: GoldenCase) throws { try check(golden) }
  @Test(arguments: cases("lcm")) func lcm(_ golden: GoldenCase) throws { try check(golden) }
  @Test(arguments: cases("euler")) func euler(_ golden: GoldenCase) throws { try check(golden) }
  @Test(arguments: cases("dpm")) func dpm(_ golden: GoldenCase) throws { try check(golden) }
  @Test(arguments: cases("unipc")) func unipc(_ golden: GoldenCase) throws { try check(golden) }
  @Test(arguments: cases("flow")) func flow(_ golden: GoldenCase) throws { try check(golden) }

  /// The fixtures are there, and every scheduler has one.
  @Test func everySchedulerIsCovered() throws {
    let files = ["ddpm", "ddim", "lcm", "euler", "dpm", "unipc", "flow"]
    let names = try files.flatMap { try GoldenCase.load($0) }.compactMap(\.configuration._className)
    #expect(Set(names) == Set(allSchedulers.map { $0.className }))
  }

  private func check(_ golden: GoldenCase) throws {
    let shared = try Self.shared.get()
    var scheduler = try makeScheduler(configuration: golden.configuration)
    try scheduler.setTimesteps(golden.request, options: golden.options)
    #expect(scheduler.timesteps.count == golden.timesteps.count)
    guard scheduler.timesteps.count == golden.timesteps.count else { return }
    let isWhole = golden.timesteps.allSatisfy { $0 == $0.rounded() }
    if isWhole {
      #expect(scheduler.timesteps == golden.timesteps)
    } else {
      #expect(relativeError(scheduler.timesteps, golden.timesteps) <= 1e-6)
    }
    #expect(relativeError([scheduler.initialNoiseScale], [golden.initialNoiseScale]) <= 1e-6)
    if let noised = golden.noised {
      let result = scheduler.addNoise(
        shared.tensor(shared.noise[0]), to: shared.tensor(shared.clean), at: noised.index)
      #expect(relativeError(result.elements, noised.values) <= 1e-6)
    }
    var random = ReplayedNoise(shared.noise.map(shared.tensor))
    try run(&scheduler, golden, shared, random: &random) { index, sample in
      guard let snapshot = golden.samples.first(where: { $0.after == index + 1 }) else { return }
      let error = relativeError(sample.elements, snapshot.values)
      #expect(error <= 1e-5, "after step \(index + 1)")
    }
  }

  /// The reference's toy model, over all steps.
  private func run(
    _ scheduler: inout any Scheduler, _ golden: GoldenCase, _ shared: SharedFixture, random: inout ReplayedNoise,
    afterStep: (Int, Tensor) -> Void
  ) throws {
    var sample = shared.tensor(shared.initial.map { $0 * golden.initialNoiseScale })
    for (index, timestep) in golden.timesteps.enumerated() {
      let factor: Float = 0.3 + 0.0004 * timestep
      let scaled = scheduler.scaledInput(sample, at: index).elements
      var output = shared.tensor(zip(scaled, shared.bias).map { $0 * factor + $1 })
      if golden.learnsVariance {
        output = Tensor.concatenated([output, shared.tensor(shared.variance)], axis: 1)
      }
      sample = try scheduler.step(output, at: index, sample: sample, random: &random)
      afterStep(index, sample)
    }
  }
}
