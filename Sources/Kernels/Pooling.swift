import Tensors

/// The largest value of each window of an image, each channel by itself, no padding.
/// - Parameter x: `[B, H, W, C]`.
/// - Returns: `[B, H', W', C]` with `H' = (H - kernel) / stride + 1`.
public func maxPool2d(_ x: Tensor, kernel: Int, stride: Int) -> Tensor {
  let (batch, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
  precondition(kernel > 0 && stride > 0 && min(height, width) >= kernel, "max pool: \(kernel) over \(x.shape)")
  let newHeight = (height - kernel) / stride + 1, newWidth = (width - kernel) / stride + 1
  return x.writing([batch, newHeight, newWidth, channels]) { input, output in
    ThreadPool.shared.forEach(batch * newHeight) { item in
      let top = item / newHeight * height + item % newHeight * stride
      for column in 0..<newWidth {
        let out = output + (item * newWidth + column) * channels
        for tap in 0..<kernel * kernel {
          let pixel = input + ((top + tap / kernel) * width + column * stride + tap % kernel) * channels
          if tap == 0 {
            out.update(from: pixel, count: channels)
          } else {
            for channel in 0..<channels where pixel[channel] > out[channel] { out[channel] = pixel[channel] }
          }
        }
      }
    }
  }
}
