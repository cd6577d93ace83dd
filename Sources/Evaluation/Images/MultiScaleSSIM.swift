import Foundation
import Media

/// Structural similarity over five scales with the weights of Wang, Simoncelli and Bovik 2003
/// (doi:10.1109/ACSSC.2003.1292216): contrast and structure at every scale, luminance at the coarsest. Each of red, green
/// and blue by itself, then their mean; a mean that is negative counts as 0.
///
/// The same as `pytorch_msssim.ms_ssim(..., data_range=255)` where no scale has an odd extent. Where one has, the last row
/// or column is repeated, as in the authors' own code, not filled up with black.
public struct MultiScaleSSIM: FrameMetric {
  public let name = "ms-ssim"
  public let direction = MetricDirection.higher
  /// From the finest scale to the coarsest.
  static let weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
  /// Pixels of the shorter side with which the window still fits into the coarsest scale.
  public static let minimumSize = (SimilarityWindow.size - 1) << (weights.count - 1) + 1

  public init() {}

  public func callAsFunction(_ frame: Frame, reference: Frame) throws -> Double {
    try requireEqualSizes(frame, reference, minimum: Self.minimumSize)
    return (0..<3).reduce(0) { $0 + Self.similarity(frame.beside(reference, channel: $1)) } / 3
  }

  private static func similarity(_ finest: Planes) -> Double {
    var pair = finest, result = 1.0
    for (scale, weight) in weights.enumerated() {
      if scale > 0 { pair = pair.halved() }
      let (whole, contrast) = SimilarityWindow.similarity(pair)
      result *= pow(max(scale == weights.count - 1 ? whole : contrast, 0), weight)
    }
    return result
  }
}
