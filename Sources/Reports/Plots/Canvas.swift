import Media

/// What plots are drawn on. Coordinates are points: x to the right, y down, from the top left corner.
public protocol Canvas {
  mutating func rectangle(_ box: Box, fill: Ink, opacity: Double)
  mutating func polyline(_ points: [SIMD2<Double>], _ stroke: Stroke)
  /// - Parameters:
  ///   - center, radius: of the circle that the shape is drawn in.
  ///   - title: what a pointer that rests on it is told; pictures without pointers leave it out.
  mutating func marker(
    _ shape: MarkerShape, center: SIMD2<Double>, radius: Double, fill: Ink, outline: Stroke, title: String?)
  /// - Parameter baseline: where the text begins, ends or has its middle.
  mutating func text(_ text: String, baseline: SIMD2<Double>, anchor: TextAnchor, style: TextStyle, ink: Ink)
  /// A small picture, each of its pixels as a rectangle of one colour.
  mutating func picture(_ frame: Frame, in box: Box) throws
}

/// A rectangle in points.
public struct Box: Sendable, Hashable {
  public var x: Double, y: Double, width: Double, height: Double

  public init(x: Double, y: Double, width: Double, height: Double) {
    (self.x, self.y, self.width, self.height) = (x, y, width, height)
  }

  var right: Double { x + width }
  var bottom: Double { y + height }
  var middle: SIMD2<Double> { SIMD2(x + width / 2, y + height / 2) }
}

/// What is drawn with: meanings rather than colours, so that a page can be light or dark.
public enum Ink: Sendable, Hashable {
  case paper, text, faint, grid, baseline
  /// By the family's place; there are ``familyCount`` different ones.
  case family(Int)

  /// Ten colours that people with any colour vision tell apart together with their markers, after Okabe and Ito 2008
  /// ("Color universal design") and Paul Tol's schemes; on white, and on dark grey.
  private static let families: [(light: UInt32, dark: UInt32)] = [
    (0x0072b2, 0x4fb0ea), (0xd55e00, 0xff8b45), (0x009e73, 0x34c99b), (0xb8558f, 0xe79ac8), (0xa87900, 0xe8b93c),
    (0x2f9fd8, 0x9adcff), (0x882255, 0xd97aa5), (0x6b7a1f, 0xbcc95c), (0x5b4fc4, 0xa79cff), (0x8a5a33, 0xcf9d70),
  ]
  public static let familyCount = families.count

  /// As 0xRRGGBB on white, and on dark grey.
  var colors: (light: UInt32, dark: UInt32) {
    switch self {
    case .paper: (0xffffff, 0x14181d)
    case .text: (0x1d2329, 0xe6eaef)
    case .faint: (0x5c6670, 0x9da8b4)
    case .grid: (0xdde2e7, 0x2d353e)
    case .baseline: (0x868e96, 0x8d97a1)
    case .family(let place): Self.families[place % Self.familyCount]
    }
  }

  /// The name of a style sheet's class or variable.
  var className: String {
    switch self {
    case .paper: "paper"
    case .text: "text"
    case .faint: "faint"
    case .grid: "grid"
    case .baseline: "baseline"
    case .family(let place): "family\(place % Self.familyCount)"
    }
  }

  static let all: [Ink] = [.paper, .text, .faint, .grid, .baseline] + (0..<familyCount).map(Ink.family)
}

/// How a line is drawn.
public struct Stroke: Sendable, Hashable {
  public var ink: Ink, width: Double, opacity: Double
  /// Lengths of dashes and gaps in turn; none is a whole line.
  public var dashes: [Double]

  public init(_ ink: Ink, width: Double = 1, opacity: Double = 1, dashes: [Double] = []) {
    (self.ink, self.width, self.opacity, self.dashes) = (ink, width, opacity, dashes)
  }
}

public enum TextAnchor: Sendable, Hashable {
  case start, middle, end
}

public enum TextStyle: Sendable, Hashable {
  case label, title

  /// In points.
  var size: Double { self == .title ? 14 : 12 }
}

/// Shapes that are told apart without colour. All are polygons.
public enum MarkerShape: Int, Sendable, Hashable, CaseIterable {
  case circle, square, triangle, diamond, triangleDown, star, plus, pentagon, cross, hexagon

  /// Corners in a circle of radius 1, evened out so that all look as large.
  var corners: [SIMD2<Double>] {
    switch self {
    case .circle: Self.regular(24, radius: 0.92)
    case .square: Self.regular(4, radius: 1.17, turn: 0.5)
    case .triangle: Self.regular(3, radius: 1.22)
    case .triangleDown: Self.regular(3, radius: 1.22).map { -$0 }
    case .diamond: Self.regular(4, radius: 1.2)
    case .pentagon: Self.regular(5, radius: 1.06)
    case .hexagon: Self.regular(6, radius: 1.02, turn: 0.5)
    case .star: zip(Self.regular(5, radius: 1.3), Self.regular(5, radius: 0.6, turn: 0.5)).flatMap { [$0, $1] }
    case .plus: Self.plusCorners
    // A plus that is turned by an eighth.
    case .cross: Self.plusCorners.map { SIMD2($0.x - $0.y, $0.x + $0.y) * 0.5.squareRoot() }
    }
  }

  private static let plusCorners: [SIMD2<Double>] = {
    let long = 1.1, short = 0.38
    return [
      [-short, -long], [short, -long], [short, -short], [long, -short], [long, short], [short, short], [short, long],
      [-short, long], [-short, short], [-long, short], [-long, -short], [-short, -short],
    ]
  }()

  /// - Parameter turn: in corners.
  private static func regular(_ count: Int, radius: Double, turn: Double = 0) -> [SIMD2<Double>] {
    (0..<count).map { corner in
      let angle = 2 * Double.pi * (Double(corner) + turn) / Double(count)
      return SIMD2(sine(angle), -sine(angle + .pi / 2)) * radius
    }
  }

  /// By its series, so that plots are the same bytes whatever the system's library.
  private static func sine(_ angle: Double) -> Double {
    let x = angle - (angle / (2 * .pi)).rounded() * 2 * .pi
    var term = x, sum = x
    for index in 1..<14 {
      term *= -x * x / Double(2 * index * (2 * index + 1))
      sum += term
    }
    return sum
  }
}
