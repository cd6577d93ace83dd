/// Frames a second as containers store them: a fraction.
public struct FrameRate: Sendable, Hashable, CustomStringConvertible {
  public let numerator: Int
  public let denominator: Int

  /// What is accepted, in frames a second.
  public static let range = 0.1...1000.0

  /// The fraction meant by a decimal: 16 is 16/1, 23.976 is 24000/1001, 12.5 is 25/2.
  ///
  /// Television's rates are a whole number times 1000/1001 and usually given with two or three digits.
  public init(_ framesPerSecond: Double) throws {
    guard Self.range.contains(framesPerSecond) else {
      throw MediaError.badFormat(reason: "frame rate: expected \(Self.range), found \(framesPerSecond)")
    }
    let whole = (framesPerSecond * 1.001).rounded()
    if framesPerSecond != framesPerSecond.rounded(), abs(whole / 1.001 - framesPerSecond) < 0.005,
      [24, 30, 48, 60, 120, 240].contains(whole)
    {
      self.init(numerator: Int(whole) * 1000, denominator: 1001)
    } else {
      // Of all fractions with a small denominator, the first of those that are nearest is in lowest terms.
      let denominator = (1...1001).min { a, b in
        Self.distance(framesPerSecond, denominator: a) < Self.distance(framesPerSecond, denominator: b)
      }
      let chosen = denominator ?? 1
      self.init(numerator: Int((framesPerSecond * Double(chosen)).rounded()), denominator: chosen)
    }
  }

  init(numerator: Int, denominator: Int) {
    self.numerator = numerator
    self.denominator = denominator
  }

  private static func distance(_ value: Double, denominator: Int) -> Double {
    let scaled = value * Double(denominator)
    // What is nearer than this is equal: 0.1 * 30 is not quite 3.
    return max(abs(scaled.rounded() - scaled) / Double(denominator), 1e-9)
  }

  public var framesPerSecond: Double { Double(numerator) / Double(denominator) }

  public var description: String { denominator == 1 ? "\(numerator)" : "\(numerator)/\(denominator)" }
}
