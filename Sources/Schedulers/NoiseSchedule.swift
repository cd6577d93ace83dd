// The discrete noise schedule shared by the diffusion schedulers, after diffusers 0.42.1.
// Arithmetic is Float32 where the reference keeps Float32 tensors and Double where it uses Python or NumPy doubles, so
// that both agree to the last few bits.
import Foundation

/// How betas grow over the training timesteps.
enum BetaSchedule: String, Sendable {
  case linear
  /// Linear in the square root, used by latent diffusion.
  case scaledLinear = "scaled_linear"
  /// The cosine schedule of Nichol and Dhariwal 2021, capped at 0.999.
  case squaredCosine = "squaredcos_cap_v2"
  case sigmoid
  case laplace

  /// What most classes implement; `DDPMScheduler` has all.
  static let common: Set<BetaSchedule> = [.linear, .scaledLinear, .squaredCosine]
}

/// Signal left at each training timestep.
struct NoiseSchedule: Sendable {
  /// `ᾱ_t`, the product of `1 - β` up to and including training timestep `t`.
  private(set) var alphasCumprod: [Float]

  /// Bound on `num_train_timesteps`, against files that ask for absurd tables.
  static let largestCount = 1_000_000

  /// Number of training timesteps.
  var count: Int { alphasCumprod.count }

  /// Noise levels of the variance-exploding form, `sqrt((1 - ᾱ) / ᾱ)`, ascending with `t`.
  var sigmas: [Float] { alphasCumprod.map { ((1 - $0) / $0).squareRoot() } }

  /// - Parameters:
  ///   - range: default of `beta_start` and `beta_end`.
  ///   - floorsTerminal: keep the last `ᾱ` at `2^-24` under `rescale_betas_zero_snr`, where sigmas must stay finite.
  init<S: Scheduler>(
    _ configuration: SchedulerConfiguration, for scheduler: S.Type, default standard: BetaSchedule = .linear,
    range: (start: Double, end: Double) = (0.0001, 0.02), allowed: Set<BetaSchedule> = BetaSchedule.common,
    floorsTerminal: Bool = false
  ) throws {
    let count = configuration.numTrainTimesteps ?? 1000
    guard (1...Self.largestCount).contains(count) else { throw S.invalid("num_train_timesteps = \(count)") }
    var betas: [Float]
    if let trained = configuration.trainedBetas {
      guard trained.count == count else {
        throw S.invalid("\(trained.count) trained_betas for num_train_timesteps = \(count)")
      }
      betas = trained
    } else {
      let schedule = try S.choice("beta_schedule", configuration.betaSchedule, default: standard)
      guard allowed.contains(schedule) else { throw S.unsupported("beta_schedule", schedule.rawValue) }
      betas = Self.betas(
        schedule, from: configuration.betaStart ?? range.start, to: configuration.betaEnd ?? range.end, count: count)
    }
    if let beta = betas.first(where: { !(0...1).contains($0) }) { throw S.invalid("beta \(beta) outside 0...1") }
    let rescales = configuration.rescaleBetasZeroSnr ?? false
    if rescales { betas = Self.rescaledToZeroTerminal(betas) }
    alphasCumprod = Self.cumulativeProduct(betas.map { 1 - $0 })
    if rescales && floorsTerminal { alphasCumprod[count - 1] = 0x1p-24 }
  }

  private static func betas(_ schedule: BetaSchedule, from start: Double, to end: Double, count: Int) -> [Float] {
    switch schedule {
    case .linear:
      return floatLinspace(start, end, count)
    case .scaledLinear:
      return floatLinspace(start.squareRoot(), end.squareRoot(), count).map { $0 * $0 }
    case .squaredCosine:
      return betas(count) { pow(cos(($0 + 0.008) / 1.008 * .pi / 2), 2) }
    case .laplace:
      return betas(count) { t in
        let side = 0.5 - t
        let halfLogSNR = -0.5 * (side.sign == .minus ? -1 : 1) * log(1 - 2 * abs(side) + 1e-6)
        let snr = exp(halfLogSNR)
        return (snr / (1 + snr)).squareRoot()
      }
    case .sigmoid:
      return floatLinspace(-6, 6, count).map { 1 / (1 + exp(-$0)) * Float(end - start) + Float(start) }
    }
  }

  /// Betas whose running product of `1 - β` follows `alphaBar` over `0…1`.
  private static func betas(_ count: Int, alphaBar: (Double) -> Double) -> [Float] {
    (0..<count).map { index in
      let ratio = alphaBar(Double(index + 1) / Double(count)) / alphaBar(Double(index) / Double(count))
      return Float(min(1 - ratio, 0.999))
    }
  }

  /// Zero terminal signal-to-noise ratio (Lin et al. 2023, algorithm 1).
  private static func rescaledToZeroTerminal(_ betas: [Float]) -> [Float] {
    let roots = cumulativeProduct(betas.map { 1 - $0 }).map { $0.squareRoot() }
    let first = roots[0], last = roots[roots.count - 1]
    let scale = first / (first - last)
    let alphaBars = roots.map { root in
      let shifted = (root - last) * scale
      return shifted * shifted
    }
    return alphaBars.indices.map { 1 - ($0 == 0 ? alphaBars[0] : alphaBars[$0] / alphaBars[$0 - 1]) }
  }

  /// Running product, carried in Double and rounded at each element.
  private static func cumulativeProduct(_ values: [Float]) -> [Float] {
    var product = 1.0
    return values.map {
      product *= Double($0)
      return Float(product)
    }
  }
}

/// Evenly spaced Float32 values that grow from both ends towards the middle, as the reference builds them.
func floatLinspace(_ start: Double, _ end: Double, _ count: Int) -> [Float] {
  let start = Float(start), end = Float(end)
  guard count > 1 else { return [start] }
  let step = (end - start) / Float(count - 1)
  return (0..<count).map {
    // Fused, as the reference's compiled loop is.
    $0 < count / 2 ? start.addingProduct(step, Float($0)) : end.addingProduct(-step, Float(count - 1 - $0))
  }
}

/// Evenly spaced Double values whose last element is exactly `end`.
func linspace(_ start: Double, _ end: Double, _ count: Int) -> [Double] {
  guard count > 1 else { return [start] }
  let step = (end - start) / Double(count - 1)
  return (0..<count).map { $0 == count - 1 ? end : Double($0) * step + start }
}
