import Evaluation

/// Numbers as people read them. What is infinite is `inf`, what is missing or no number is `-`.
enum NumberText {
  static let missing = "-"

  /// With a fixed number of decimals.
  static func fixed(_ value: Double?, _ decimals: Int) -> String {
    guard let value, !value.isNaN else { return missing }
    guard value.isFinite else { return value < 0 ? "-inf" : "inf" }
    guard abs(value) < 1e12 else { return exact(value) }
    let scale = (0..<decimals).reduce(1.0) { product, _ in product * 10 }
    let scaled = Int64((abs(value) * scale).rounded()), unit = Int64(scale)
    let sign = value < 0 && scaled > 0 ? "-" : "", whole = sign + String(scaled / unit)
    guard decimals > 0 else { return whole }
    let digits = String(scaled % unit)
    return whole + "." + String(repeating: "0", count: decimals - digits.count) + digits
  }

  /// With its sign, as differences are read.
  static func signed(_ value: Double?, _ decimals: Int) -> String {
    let text = fixed(value, decimals)
    return value.map { $0 > 0 } == true && !text.allSatisfy({ "0.".contains($0) }) ? "+" + text : text
  }

  /// The shortest text that is read back as the same number.
  static func exact(_ value: Double?) -> String {
    guard let value, !value.isNaN else { return missing }
    guard value.isFinite else { return value < 0 ? "-inf" : "inf" }
    let text = "\(value)"
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }

  /// A share as a percentage.
  static func percent(_ share: Double?, _ decimals: Int = 0) -> String {
    let text = fixed(share.map { $0 * 100 }, decimals)
    return text == missing || text.hasSuffix("inf") ? text : text + "%"
  }

  static func bytes(_ count: Int?) -> String {
    guard let count else { return missing }
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(count), unit = 0
    while value >= 1024, unit < units.count - 1 { (value, unit) = (value / 1024, unit + 1) }
    return fixed(value, unit == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2) + " " + units[unit]
  }

  /// A speed-up, or what it stands for where nothing was paired.
  static func speedup(_ spread: Spread?) -> String { spread.map { fixed($0.median, 2) + "x" } ?? "not paired" }

  /// Quartiles in brackets; nothing for a single cell.
  static func quartiles(_ spread: Spread?, _ decimals: Int = 2) -> String? {
    guard let spread, spread.count > 1 else { return nil }
    return "[\(fixed(spread.lowerQuartile, decimals)), \(fixed(spread.upperQuartile, decimals))]"
  }

  static func interval(_ interval: ConfidenceInterval, _ decimals: Int, isSigned: Bool = false) -> String {
    let text = isSigned ? signed : fixed
    return "[\(text(interval.lower, decimals)), \(text(interval.upper, decimals))]"
  }

  /// `1 cell`, `3 cells`.
  static func count(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

  /// `a`, `a and b`, `a, b and c`.
  static func list(_ words: [String]) -> String {
    guard let last = words.last, words.count > 1 else { return words.first ?? "" }
    return words.dropLast().joined(separator: ", ") + " and " + last
  }
}
