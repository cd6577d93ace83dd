import Foundation

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
