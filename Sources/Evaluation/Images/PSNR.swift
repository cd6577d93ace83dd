import Foundation
import Media

/// Peak signal-to-noise ratio in dB over all 8-bit values of a frame, peak 255. Equal frames have no noise:
/// `Double.infinity`, which ``MetricCurve`` keeps out of its mean.
///
/// The same as `skimage.metrics.peak_signal_noise_ratio(reference, frame, data_range=255)`.
public struct PSNR: FrameMetric {
  public let name = "psnr"
  public let direction = MetricDirection.higher

  public init() {}

  public func callAsFunction(_ frame: Frame, reference: Frame) throws -> Double {
    try requireEqualSizes(frame, reference)
    let error = frame.squaredDifference(reference)
    guard error > 0 else { return .infinity }
    return 10 * log10(255 * 255 * Double(frame.pixels.count) / Double(error))
  }
}

extension Frame {
  /// The sum of squared differences over all values: exact.
  func squaredDifference(_ other: Frame) -> Int {
    var sum = 0
    for index in pixels.indices {
      let difference = Int(pixels[index]) - Int(other.pixels[index])
      sum += difference * difference
    }
    return sum
  }
}
