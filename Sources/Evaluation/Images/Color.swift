import Foundation
import Media

/// Linear sRGB and CIE XYZ under D65, with the primaries' exact fractions; the fourth lane is not used.
private enum TristimulusColor {
  static let (red, green, blue): (Planes.Pixel, Planes.Pixel, Planes.Pixel) = (
    [10_135_552 / 24_577_794, 2_613_072 / 12_288_897, 1_425_312 / 73_733_382, 0],
    [8_788_810 / 24_577_794, 8_788_810 / 12_288_897, 8_788_810 / 73_733_382, 0],
    [4_435_075 / 24_577_794, 887_015 / 12_288_897, 70_074_185 / 73_733_382, 0]
  )
  /// The white that colours are seen against. Its fourth lane is 1, to divide by.
  static let white = red + green + blue + [0, 0, 0, 1]

  /// The columns of the inverse, by Cramer's rule.
  static let (inverseX, inverseY, inverseZ): (Planes.Pixel, Planes.Pixel, Planes.Pixel) = {
    let rows = [cross(green, blue), cross(blue, red), cross(red, green)]
    let determinant = (red * rows[0]).sum()
    func column(_ lane: Int) -> Planes.Pixel { [rows[0][lane], rows[1][lane], rows[2][lane], 0] / determinant }
    return (column(0), column(1), column(2))
  }()

  private static func cross(_ a: Planes.Pixel, _ b: Planes.Pixel) -> Planes.Pixel {
    [a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x, 0]
  }

  /// XYZ as shares of the white's.
  static func shares(linear color: Planes.Pixel) -> Planes.Pixel {
    (red * color.x + green * color.y + blue * color.z) / white
  }
  static func linear(shares: Planes.Pixel) -> Planes.Pixel {
    let color = shares * white
    return inverseX * color.x + inverseY * color.y + inverseZ * color.z
  }
}

/// YCxCz, linear in light: lightness, red against green, yellow against blue.
enum OpponentColor {
  /// 8-bit sRGB to linear light in 0...1 (IEC 61966-2-1).
  private static let linearLight: [Double] = (0..<256).map { level in
    let value = Double(level) / 255
    return value <= 0.04045 ? value / 12.92 : pow((value + 0.055) / 1.055, 2.4)
  }

  static func planes(_ frame: Frame) -> Planes {
    Planes(width: frame.width, height: frame.height) { y, result in
      for index in stride(from: y * frame.width * 3, to: (y + 1) * frame.width * 3, by: 3) {
        let (red, green, blue) = (frame.pixels[index], frame.pixels[index + 1], frame.pixels[index + 2])
        let color = TristimulusColor.shares(
          linear: [linearLight[Int(red)], linearLight[Int(green)], linearLight[Int(blue)], 0])
        result.append([116 * color.y - 16, 500 * (color.x - color.y), 200 * (color.y - color.z), 0])
      }
    }
  }

  static func linear(_ color: Planes.Pixel) -> Planes.Pixel {
    let lightness = (color.x + 16) / 116
    return TristimulusColor.linear(shares: [lightness + color.y / 500, lightness, lightness - color.z / 200, 0])
  }
}

/// CIE L*a*b* with a* and b* weaker where it is dark (the Hunt effect, as FLIP has it).
enum PerceivedColor {
  /// - Parameter linear: sRGB in linear light, 0...1.
  static func of(_ linear: Planes.Pixel) -> Planes.Pixel {
    let color = TristimulusColor.shares(linear: linear)
    let (x, y, z) = (root(color.x), root(color.y), root(color.z))
    let lightness = 116 * y - 16
    return [lightness, 0.01 * lightness * 500 * (x - y), 0.01 * lightness * 200 * (y - z), 0]
  }

  private static func root(_ share: Double) -> Double {
    let bend = 6.0 / 29
    return share > bend * bend * bend ? cbrt(share) : share / (3 * bend * bend) + 4.0 / 29
  }

  /// HyAB: the distance of lightness plus that of hue and chroma (Abasi et al. 2020).
  static func distance(_ a: Planes.Pixel, _ b: Planes.Pixel) -> Double {
    let difference = a - b
    return abs(difference.x) + (difference.y * difference.y + difference.z * difference.z).squareRoot()
  }
}
