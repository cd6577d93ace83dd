import Foundation
import Media

/// Structural similarity (Wang et al. 2004, doi:10.1109/TIP.2003.819861): Gaussian window of 11x11 pixels with
/// sigma 1.5, K1 = .01, K2 = .03, over the places where the whole window fits. Each of red, green and blue by itself,
/// then their mean.
///
/// The same as `skimage.metrics.structural_similarity(reference, frame, gaussian_weights=True, sigma=1.5,
/// use_sample_covariance=False, data_range=255, channel_axis=2)`.
public struct SSIM: FrameMetric {
  public let name = "ssim"
  public let direction = MetricDirection.higher

  public init() {}

  public func callAsFunction(_ frame: Frame, reference: Frame) throws -> Double {
    try requireEqualSizes(frame, reference, minimum: SimilarityWindow.size)
    return (0..<3).reduce(0) { $0 + SimilarityWindow.similarity(frame.beside(reference, channel: $1)).whole } / 3
  }
}

/// The window that SSIM and MS-SSIM look through.
enum SimilarityWindow {
  /// Pixels across.
  static let size = 11
  private static let taps: [Planes.Pixel] = {
    let weights = (0..<size).map { exp(-pow(Double($0 - size / 2), 2) / (2 * 1.5 * 1.5)) }
    let sum = weights.reduce(0, +)
    return weights.map { Planes.Pixel(repeating: $0 / sum) }
  }()

  /// Means over all places: of luminance times contrast and structure, and of contrast and structure alone.
  /// - Parameter pair: one plane in the first lane, the other in the second, of values in 0...255.
  static func similarity(_ pair: Planes) -> (whole: Double, contrast: Double) {
    // (K1 * 255)^2 and (K2 * 255)^2.
    let c1 = 2.55 * 2.55, c2 = 7.65 * 7.65
    let products = pair.map { pixel in
      let (x, y) = (pixel.x, pixel.y)
      return [x, y, x * x + y * y, x * y]
    }
    let means = products.filtered(horizontal: taps, vertical: taps, border: .none)
    var whole = 0.0, contrast = 0.0
    for mean in means.pixels {
      let squares = mean.x * mean.x + mean.y * mean.y, product = mean.x * mean.y
      let structure = (2 * (mean.w - product) + c2) / (mean.z - squares + c2)
      whole += (2 * product + c1) / (squares + c1) * structure
      contrast += structure
    }
    return (whole / Double(means.pixels.count), contrast / Double(means.pixels.count))
  }
}

extension Frame {
  /// One channel of this frame in the first lane, that of another in the second.
  func beside(_ other: Frame, channel: Int) -> Planes {
    Planes(width: width, height: height) { y, result in
      for index in stride(from: y * width * 3 + channel, to: (y + 1) * width * 3, by: 3) {
        result.append([Double(pixels[index]), Double(other.pixels[index]), 0, 0])
      }
    }
  }
}
