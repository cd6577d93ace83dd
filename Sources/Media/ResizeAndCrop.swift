/// Resizes planes to cover `newHeight` by `newWidth`, keeping proportions, and crops the middle.
///
/// After `PixArtImageProcessor.resize_and_crop_tensor` of diffusers 0.42, which undoes resolution binning: bilinear as
/// torch's `interpolate(mode="bilinear", align_corners=False)`, without low-pass filter when shrinking. Upstream
/// truncates the resized extent and can land one pixel short of the new one, where its crop fails; here it is never
/// short.
/// - Parameter planes: `[channels, height, width]`.
/// - Returns: `[channels, newHeight, newWidth]`.
public func resizeAndCrop(
  planes: [Float], channels: Int, height: Int, width: Int, newHeight: Int, newWidth: Int
) -> [Float] {
  precondition(channels >= 0 && height > 0 && width > 0, "planes of [\(channels), \(height), \(width)]")
  precondition(
    planes.count == channels * height * width, "\(planes.count) values for [\(channels), \(height), \(width)]")
  precondition(newHeight > 0 && newWidth > 0, "resize to \(newWidth)x\(newHeight)")
  if height == newHeight && width == newWidth { return planes }
  let ratio = max(Double(newHeight) / Double(height), Double(newWidth) / Double(width))
  let rows = resizedSamples(from: height, to: max(Int(Double(height) * ratio), newHeight), kept: newHeight)
  let columns = resizedSamples(from: width, to: max(Int(Double(width) * ratio), newWidth), kept: newWidth)
  var result: [Float] = []
  result.reserveCapacity(channels * newHeight * newWidth)
  for channel in 0..<channels {
    let plane = channel * height * width
    for row in rows {
      let first = plane + row.first * width, second = plane + row.second * width
      for column in columns {
        let a = planes[first + column.first] * (1 - column.weight) + planes[first + column.second] * column.weight
        let b = planes[second + column.first] * (1 - column.weight) + planes[second + column.second] * column.weight
        result.append(a * (1 - row.weight) + b * row.weight)
      }
    }
  }
  return result
}

/// Two neighbouring inputs and the weight of the second.
private struct Sample {
  let first: Int, second: Int, weight: Float
}

/// Where the middle `kept` of `resized` outputs along an axis lie among `extent` inputs.
///
/// In Float32 and unfused, as torch: at a thousand pixels a position is known to 6e-5 only, and the same rounding gives
/// the same weights.
private func resizedSamples(from extent: Int, to resized: Int, kept: Int) -> [Sample] {
  let step = Float(extent) / Float(resized)
  let start = (resized - kept) / 2
  return (start..<start + kept).map { output in
    let position = max(step * (Float(output) + 0.5) - 0.5, 0)
    let first = min(Int(position), extent - 1)
    return Sample(first: first, second: min(first + 1, extent - 1), weight: min(position - Float(first), 1))
  }
}
