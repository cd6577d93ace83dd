import Kernels
import Schedulers
import Tensors

/// The denoising loop as an iterator that its caller pumps: progress, previews and stopping cost the loop nothing.
struct DenoisingLoop {
  /// What one step left behind.
  struct Step {
    /// Index of the step, from 0.
    let index: Int
    /// `[B, C, H, W]` after the step.
    let latents: Tensor
  }

  private var scheduler: any Scheduler
  /// Where later noise comes from, as it stands.
  private(set) var random: any RandomSource
  private let predict: (_ input: Tensor, _ timestep: Float, _ step: Int) throws -> Tensor
  private var next = 0
  /// Latents `[B, C, H, W]`, at the noise level of the next step.
  private(set) var latents: Tensor

  /// - Parameters:
  ///   - scheduler: with its steps chosen.
  ///   - noise: `[B, C, H, W]` standard normal.
  ///   - random: where later noise comes from: the generator that drew `noise`.
  ///   - predict: the model, guidance applied, as many channels as `noise`.
  init(
    _ scheduler: any Scheduler, noise: Tensor, random: any RandomSource,
    predict: @escaping (_ input: Tensor, _ timestep: Float, _ step: Int) throws -> Tensor
  ) {
    self.scheduler = scheduler
    self.random = random
    self.predict = predict
    latents = scheduler.initialNoiseScale == 1 ? noise : scaled(noise, by: scheduler.initialNoiseScale)
  }

  /// What the solver carries to the next step.
  var solver: SolverState { scheduler.savedState }

  /// Goes on after the steps of an interrupted run of the same request.
  mutating func resume(_ state: RunState) throws {
    guard state.latents.shape == latents.shape, (0...count).contains(state.steps) else {
      throw PipelineError.badRequest(
        "the saved state is of another run: expected latents \(latents.shape) in \(count) steps, found "
          + "\(state.latents.shape) after \(state.steps)")
    }
    try scheduler.restore(state.solver)
    try random.restore(encoded: state.random)
    (latents, next) = (state.latents, state.steps)
  }

  /// Steps in all.
  var count: Int { scheduler.timesteps.count }

  /// Takes the next step; `nil` after the last.
  mutating func step() throws -> Step? {
    guard next < count else { return nil }
    let index = next
    let prediction = try predict(scheduler.scaledInput(latents, at: index), scheduler.timesteps[index], index)
    latents = try scheduler.step(prediction, at: index, sample: latents, random: &random)
    guard latents.isFinite else { throw PipelineError.notFinite(component: "scheduler", step: index + 1) }
    next += 1
    return Step(index: index, latents: latents)
  }
}
