import Foundation

/// A straight scale with round numbers along it.
struct Axis: Sendable, Hashable {
  var range: ClosedRange<Double>
  var ticks: [Double]
  /// Of the numbers at the ticks.
  var decimals: Int

  /// - Parameters:
  ///   - values: what must lie on the axis; those that are not finite are left out.
  ///   - count: of ticks, about.
  ///   - includes: values to reach in any case.
  ///   - isSnug: whether the axis ends where values do, with some room, and not at ticks.
  init(_ values: some Sequence<Double>, count: Int = 5, includes: [Double] = [], isSnug: Bool = false) {
    let finite = values.filter(\.isFinite) + includes
    var low = finite.min() ?? 0, high = finite.max() ?? 1
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9) {
      let room = max(abs(low) * 0.05, 1e-3)
      (low, high) = (low - room, high + room)
    }
    let step = Self.roundStep((high - low) / Double(count))
    if isSnug {
      let room = (high - low) * 0.06
      (low, high) = (includes.contains(low) ? low : low - room, includes.contains(high) ? high : high + room)
    } else {
      (low, high) = ((low / step + 1e-9).rounded(.down) * step, (high / step - 1e-9).rounded(.up) * step)
    }
    range = low...high
    let first = (low / step - 1e-9).rounded(.up), last = (high / step + 1e-9).rounded(.down)
    ticks = stride(from: first, through: last, by: 1).map { $0 * step }
    decimals = (0..<9).first { (step * pow(10, Double($0))).isNearlyWhole } ?? 9
  }

  /// 0...1 along the axis.
  func place(_ value: Double) -> Double { (value - range.lowerBound) / (range.upperBound - range.lowerBound) }
  func label(_ tick: Double) -> String { NumberText.fixed(tick, decimals) }

  /// 1, 2 or 5 times a power of ten, the first that is not below.
  private static func roundStep(_ rough: Double) -> Double {
    let power = pow(10, floor(log10(rough)))
    return ([1, 2, 5].first { $0 * power >= rough * (1 - 1e-9) } ?? 10) * power
  }
}

extension Double {
  fileprivate var isNearlyWhole: Bool { abs(self - rounded()) < 1e-6 * Swift.max(1, abs(self)) }
}
