// Respacing of noise levels, after diffusers 0.42.1.
import Foundation

/// How noise levels are spaced between the highest and the lowest, when not by the timesteps.
enum SigmaSpacing: Sendable {
  /// Even in `σ^(1/7)` (Karras et al. 2022, equation 5).
  case karras
  /// Even in `log σ`.
  case exponential
  /// At quantiles of the Beta(0.6, 0.6) distribution (Lee et al. 2024).
  case beta

  /// The spacing a configuration asks for, if any; at most one may be asked for.
  init?<S: Scheduler>(_ configuration: SchedulerConfiguration, for scheduler: S.Type) throws {
    let asked: [(SigmaSpacing, Bool?)] = [
      (.karras, configuration.useKarrasSigmas), (.exponential, configuration.useExponentialSigmas),
      (.beta, configuration.useBetaSigmas),
    ]
    let chosen = asked.filter { $0.1 ?? false }.map(\.0)
    guard chosen.count <= 1 else {
      throw S.invalid("only one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas can be used")
    }
    guard let only = chosen.first else { return nil }
    self = only
  }

  /// `count` noise levels from `highest` down to `lowest`.
  func sigmas(from highest: Double, to lowest: Double, count: Int) -> [Double] {
    switch self {
    case .karras:
      let rho = 7.0
      let high = pow(highest, 1 / rho), low = pow(lowest, 1 / rho)
      return linspace(0, 1, count).map { pow(high + $0 * (low - high), rho) }
    case .exponential:
      return linspace(log(highest), log(lowest), count).map { exp($0) }
    case .beta:
      return linspace(0, 1, count).map { lowest + SymmetricBeta(0.6).quantile(1 - $0) * (highest - lowest) }
    }
  }
}

/// The training noise levels as a table from noise level to timestep.
struct SigmaTable: Sendable {
  /// Ascending, one a training timestep.
  let sigmas: [Float]
  private let logarithms: [Double]

  /// - Parameter sigmas: ascending, one a training timestep.
  init(_ sigmas: [Float]) {
    self.sigmas = sigmas
    logarithms = sigmas.map { Double(log($0)) }
  }

  /// The fractional training timestep of a noise level, interpolated in `log σ` and held inside the table.
  func timestep(of sigma: Double) -> Double {
    guard sigmas.count > 1 else { return 0 }
    let value = log(max(sigma, 1e-10))
    var low = 0, high = logarithms.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if logarithms[middle] <= value { low = middle } else { high = middle }
    }
    low = min(low, logarithms.count - 2)
    let weight = (logarithms[low] - value) / (logarithms[low] - logarithms[low + 1])
    let held = min(max(weight, 0), 1)
    return (1 - held) * Double(low) + held * Double(low + 1)
  }

  /// The noise level at a fractional training timestep, interpolated in `σ` and held inside the table.
  func sigma(at timestep: Double) -> Double {
    let held = min(max(timestep, 0), Double(sigmas.count - 1))
    let low = min(Int(held), max(sigmas.count - 2, 0)), high = min(low + 1, sigmas.count - 1)
    let slope = Double(sigmas[high]) - Double(sigmas[low])
    return slope * (held - Double(low)) + Double(sigmas[low])
  }
}

/// The noise level after the last step.
enum FinalSigma: String, Sendable {
  case zero
  case lowest = "sigma_min"
}
