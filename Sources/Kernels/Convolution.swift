import Tensors

/// 2-D convolution of channels-last images.
/// - Parameters:
///   - x: `[B, H, W, inputs]`.
///   - bias: `[outputs]`.
///   - transform: done to each pixel first.
///   - residual: `[B, H', W', outputs]`, added to the result.
/// - Returns: `[B, H', W', outputs]`.
///
/// Neighbouring pixels of a row lie side by side, so a kernel row is one product over overlapping stretches of memory:
/// no column matrix is ever built.
public func conv2d(
  _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor? = nil, stride: Int = 1, padding: Padding = .all(0),
  after transform: PixelTransform? = nil, onto residual: Tensor? = nil
) -> Tensor {
  precondition(weight.kernelFrames == 1, "conv2d: a kernel of \(weight.kernelFrames) frames")
  return convolve([x], before: 0, weight, bias, frameStride: 1, stride, padding, transform, residual)
}

/// 3-D convolution of one clip of channels-last frames.
/// - Parameters:
///   - clips: pieces `[F, H, W, inputs]` that follow one another; they are not copied together.
///   - before: frames of zeros before the first.
///   - bias: `[outputs]`.
///   - frameStride: frames between two results.
///   - padding: of rows and columns.
///   - transform: done to each pixel first; the frames and borders of zeros stay zero.
///   - residual: of the result's shape, added to it.
/// - Returns: `[F', H', W', outputs]` with `F' = (before + frames - kernel) / stride + 1`.
public func conv3d(
  _ clips: [Tensor], before: Int = 0, _ weight: PreparedConvolution, bias: Tensor? = nil, frameStride: Int = 1,
  padding: Padding = .all(0), after transform: PixelTransform? = nil, onto residual: Tensor? = nil
) -> Tensor {
  convolve(clips, before: before, weight, bias, frameStride: frameStride, 1, padding, transform, residual)
}

/// Both convolutions; the frames of a 2-D one are its batch.
private func convolve(
  _ clips: [Tensor], before: Int, _ weight: PreparedConvolution, _ bias: Tensor?, frameStride: Int, _ stride: Int,
  _ padding: Padding, _ transform: PixelTransform?, _ residual: Tensor?
) -> Tensor {
  let x = clips[0], frames = clips.reduce(0) { $0 + $1.shape[0] }
  for clip in clips {
    precondition(
      clip.shape.count == 4 && clip.shape[3] == weight.inputs && clip.shape.dropFirst() == x.shape.dropFirst(),
      "convolution: input \(clip.shape) beside \(x.shape), \(weight.inputs) channels")
  }
  transform?.check(frames: frames, channels: weight.inputs)
  let paddedHeight = x.shape[1] + padding.top + padding.bottom
  let paddedWidth = x.shape[2] + padding.left + padding.right
  precondition(
    paddedHeight >= weight.kernelHeight && paddedWidth >= weight.kernelWidth
      && before < weight.kernelFrames && before + frames >= weight.kernelFrames,
    "convolution: \(frames) frames of \(x.shape) are too small")
  let outFrames = (before + frames - weight.kernelFrames) / frameStride + 1
  let outHeight = (paddedHeight - weight.kernelHeight) / stride + 1
  let outWidth = (paddedWidth - weight.kernelWidth) / stride + 1
  let n = weight.outputs, shape = [outFrames, outHeight, outWidth, n]
  precondition(residual == nil || residual!.shape == shape, "convolution: \(shape) onto \(residual!.shape)")
  let rows = PaddedRows(clips, padding, weight.precision, transform)
  return x.writing(shape) { _, output in
    withOptional(bias) { bias in
      withOptional(residual) { residual in
        ThreadPool.shared.forEach(outFrames * outHeight) { item in
          let t = item / outHeight, y = item % outHeight, c = output + item * outWidth * n
          var isFirst = true
          // Frames of zeros add nothing.
          for tap in 0..<weight.kernelFrames where t * frameStride + tap >= before {
            for row in 0..<weight.kernelHeight {
              let frame = t * frameStride + tap - before
              weight.multiply(
                rows, row: frame * paddedHeight + y * stride + row, column: 0, outWidth, stride: stride,
                kernelRow: tap * weight.kernelHeight + row, bias: bias, accumulate: !isFirst, c, ldc: n)
              isFirst = false
            }
          }
          if let residual { Door.add(outWidth * n, residual + item * outWidth * n, c, c) }
        }
      }
    }
  }
}

extension PreparedConvolution {
  /// One kernel row over the pixels of a row of results.
  /// - Parameters:
  ///   - row: of the padded frames, all frames counted together.
  ///   - column: padded pixel where the first result's kernel begins.
  ///   - pixels: results.
  ///   - stride: pixels between their kernels.
  ///   - kernelRow: frame by frame, row by row.
  func multiply(
    _ rows: PaddedRows, row: Int, column: Int, _ pixels: Int, stride: Int, kernelRow: Int, bias: Input?,
    accumulate: Bool, _ c: Output, ldc: Int
  ) {
    let start = row * rows.rowLength + column * inputs, k = kernelWidth * inputs
    switch (storage, rows.storage) {
    case (.float32(let packed), .float32(let padded)):
      Door.gemm(
        pixels, outputs, k, padded.pointer + start, lda: stride * inputs, packed[kernelRow].pointer, bias: bias,
        accumulate: accumulate, c, ldc: ldc)
    case (.bfloat16(let packed), .bfloat16(let padded)):
      Door.gemmBF16(
        pixels, outputs, k, padded.pointer + start, lda: stride * inputs, packed[kernelRow].pointer, bias: bias,
        accumulate: accumulate, c, ldc: ldc)
    default: preconditionFailure("pixels and kernel of a convolution differ in type")
    }
  }
}

/// Frames `[F, H, W, C]` one after another, each in its border of zeros, in the type of a product's operands.
final class PaddedRows {
  enum Storage {
    case float32(PackedBuffer<Float>)
    case bfloat16(PackedBuffer<UInt16>)
  }
  /// Elements of a padded row.
  let rowLength: Int
  let storage: Storage

  init(_ clips: [Tensor], _ padding: Padding, _ precision: Precision, _ transform: PixelTransform?) {
    rowLength = (clips[0].shape[2] + padding.left + padding.right) * clips[0].shape[3]
    switch precision {
    case .float32:
      storage = .float32(pad(clips, padding, Float(0), transform) { $1.update(from: $0, count: $2) })
    case .bfloat16, .int8:
      storage = .bfloat16(pad(clips, padding, UInt16(0), transform) { Door.rowsToBF16(1, $2, $0, $2, $1, $2) })
    }
  }
}

/// Copies clips row by row. One element more is allocated, for reads in pairs.
private func pad<T: BitwiseCopyable>(
  _ clips: [Tensor], _ padding: Padding, _ zero: T, _ transform: PixelTransform?,
  _ copy: (Input, UnsafeMutablePointer<T>, Int) -> Void
) -> PackedBuffer<T> {
  let (height, width, channels) = (clips[0].shape[1], clips[0].shape[2], clips[0].shape[3])
  let frames = clips.reduce(0) { $0 + $1.shape[0] }
  let paddedHeight = height + padding.top + padding.bottom
  let rowLength = (width + padding.left + padding.right) * channels
  let buffer = PackedBuffer<T>(count: frames * paddedHeight * rowLength + 1)
  buffer.pointer[frames * paddedHeight * rowLength] = zero
  // Pixels transformed at a time: they stay in the first-level cache.
  let part = max(1, 4096 / max(channels, 1))
  var first = 0
  for clip in clips {
    clip.withFloats { x in
      ThreadPool.shared.forEach(clip.shape[0] * paddedHeight) { item in
        let row = buffer.pointer + (first * paddedHeight + item) * rowLength
        let frame = item / paddedHeight, y = item % paddedHeight - padding.top
        guard y >= 0, y < height else { return row.update(repeating: zero, count: rowLength) }
        row.update(repeating: zero, count: padding.left * channels)
        let source = x.baseAddress! + (frame * height + y) * width * channels, target = row + padding.left * channels
        if let transform {
          let scratch = PackedBuffer<Float>(count: part * channels)
          for pixel in stride(from: 0, to: width, by: part) {
            let count = min(part, width - pixel)
            transform.apply(count, sample: first + frame, source + pixel * channels, scratch.pointer)
            copy(scratch.pointer, target + pixel * channels, count * channels)
          }
        } else {
          copy(source, target, width * channels)
        }
        (row + (padding.left + width) * channels).update(repeating: zero, count: padding.right * channels)
      }
    }
    first += clip.shape[0]
  }
  return buffer
}
