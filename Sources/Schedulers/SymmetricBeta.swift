import Foundation

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

  /// The share below `x`, 0…0.5: the regularised incomplete beta function as a continued fraction, evaluated by
  /// Lentz's method.
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
