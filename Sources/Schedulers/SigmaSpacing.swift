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

/// Displacement of flow-matching noise levels towards the noisy end.
enum TimeShift: String, Sendable {
  case exponential
  case linear

  /// Shifted levels; `mu` is the logarithm of the shift, or under `linear` the shift itself.
  func callAsFunction(_ sigmas: [Double], mu: Double) -> [Double] {
    let shift = self == .exponential ? exp(mu) : mu
    return sigmas.map { shift / (shift + (1 / $0 - 1)) }
  }

  /// Levels under a fixed shift.
  static func shifted(_ sigmas: [Double], by shift: Double) -> [Double] {
    sigmas.map { shift * $0 / (1 + (shift - 1) * $0) }
  }

  /// Levels stretched about 1 so that the last becomes `terminal`.
  static func stretched(_ sigmas: [Double], to terminal: Double) -> [Double] {
    guard let last = sigmas.last else { return [] }
    let scale = (1 - last) / (1 - terminal)
    return sigmas.map { 1 - (1 - $0) / scale }
  }
}

/// The Beta(a, a) distribution.
struct SymmetricBeta: Sendable {
  let a: Double
  private let logNorm: Double

  init(_ a: Double) {
    self.a = a
    logNorm = lgamma(2 * a) - 2 * lgamma(a)
  }

  /// The value below which a share `p`, 0…1, of the distribution lies; by bisection to the last bit.
  func quantile(_ p: Double) -> Double {
    if p <= 0 { return 0 }
    if p >= 1 { return 1 }
    if p > 0.5 { return 1 - quantile(1 - p) }
    var low = 0.0, high = 0.5
    while true {
      let middle = (low + high) / 2
      if middle <= low || middle >= high { return middle }
      if cumulative(middle) < p { low = middle } else { high = middle }
    }
  }

  /// The share below `x`, 0…0.5: the regularised incomplete beta function as a continued fraction, evaluated by Lentz's
  /// method.
  func cumulative(_ x: Double) -> Double {
    if x <= 0 { return 0 }
    let tiny = 1e-300
    var c = 1.0
    var d = 1 - 2 * a * x / (a + 1)
    d = 1 / (abs(d) < tiny ? tiny : d)
    var fraction = d
    for m in 1...200 {
      let m = Double(m)
      let even = m * (a - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
      let odd = -(a + m) * (2 * a + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
      for term in [even, odd] {
        d = 1 + term * d
        d = 1 / (abs(d) < tiny ? tiny : d)
        c = 1 + term / c
        if abs(c) < tiny { c = tiny }
        fraction *= d * c
      }
      if abs(d * c - 1) < 1e-16 { break }
    }
    return exp(logNorm + a * log(x) + a * log(1 - x)) * fraction / a
  }
}
