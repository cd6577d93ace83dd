import Tensors

/// Sums over square areas of an image, each channel by itself: a depthwise convolution whose stride is its kernel's
/// side. Rows and columns that fill no whole area are left out.
/// - Parameters:
///   - x: `[B, H, W, C]`.
///   - weight: `[R, R, C]`.
///   - bias: `[C]`.
/// - Returns: `[B, H / R, W / R, C]`.
public func areaSums(_ x: Tensor, weight: Tensor, bias: Tensor) -> Tensor {
  let channels = x.shape[3], size = weight.shape[0]
  precondition(
    weight.shape == [size, size, channels] && bias.shape == [channels],
    "area sums: \(x.shape), weight \(weight.shape), bias \(bias.shape)")
  return weight.withFloats { weight in
    bias.withFloats { bias in
      forEachArea(x, size, height: x.shape[1] / size, width: x.shape[2] / size) { rows, columns, pixel, output in
        output.update(from: bias.baseAddress!, count: channels)
        for row in rows {
          for column in columns {
            let scales = weight.baseAddress! + (row % size * size + column % size) * channels
            Door.gateAdd(channels, output, scales, pixel(row, column), output)
          }
        }
      }
    }
  }
}

/// Means over square areas of an image. Areas at the far borders are as small as the image leaves them.
/// - Parameter x: `[B, H, W, C]`.
/// - Returns: `[B, H / size, W / size, C]`, extents rounded up.
public func areaMeans(_ x: Tensor, size: Int) -> Tensor {
  let channels = x.shape[3], height = (x.shape[1] + size - 1) / size, width = (x.shape[2] + size - 1) / size
  return forEachArea(x, size, height: height, width: width) { rows, columns, pixel, output in
    output.update(repeating: 0, count: channels)
    let share = 1 / Float(rows.count * columns.count)
    for row in rows {
      for column in columns { Door.scaleAdd(channels, share, pixel(row, column), 1, output) }
    }
  }
}

/// Calls `body` with the rows and columns of each area of `size` by `size` pixels, where a pixel lies, and where the
/// area's result goes.
private func forEachArea(
  _ x: Tensor, _ size: Int, height: Int, width: Int,
  _ body: (_ rows: Range<Int>, _ columns: Range<Int>, _ pixel: (Int, Int) -> Input, _ output: Output) -> Void
) -> Tensor {
  let (batch, rows, columns, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
  return x.writing([batch, height, width, channels]) { input, output in
    ThreadPool.shared.forEach(batch * height * width, grain: max(1, 16384 / (size * size * channels))) { item in
      let y = item / width % height * size, x = item % width * size
      let image = input + item / (height * width) * rows * columns * channels
      body(
        y..<min(y + size, rows), x..<min(x + size, columns), { image + ($0 * columns + $1) * channels },
        output + item * channels)
    }
  }
}
