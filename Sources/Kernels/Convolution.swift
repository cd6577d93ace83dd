import Tensors

/// 2-D convolution of channels-last images.
/// - Parameters:
///   - x: `[B, H, W, inputs]`.
///   - bias: `[outputs]`.
///   - transform: done to each pixel first.
///   - residual: `[B, H', W', outputs]`, added to the result; its memory becomes the result's if nobody else holds it.
/// - Returns: `[B, H', W', outputs]`.
///
/// Neighbouring pixels of a row lie side by side, so a kernel row is one product over overlapping stretches of memory:
/// no column matrix is ever built. Borders and operands exist for a few rows at a time.
public func conv2d(
  _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor? = nil, stride: Int = 1, padding: Padding = .all(0),
  after transform: PixelTransform? = nil, onto residual: consuming Tensor? = nil
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
///   - residual: of the result's shape, added to it; its memory becomes the result's if nobody else holds it.
/// - Returns: `[F', H', W', outputs]` with `F' = (before + frames - kernel) / stride + 1`.
public func conv3d(
  _ clips: [Tensor], before: Int = 0, _ weight: PreparedConvolution, bias: Tensor? = nil, frameStride: Int = 1,
  padding: Padding = .all(0), after transform: PixelTransform? = nil, onto residual: consuming Tensor? = nil
) -> Tensor {
  convolve(clips, before: before, weight, bias, frameStride: frameStride, 1, padding, transform, residual)
}

/// Both convolutions; the frames of a 2-D one are its batch.
private func convolve(
  _ clips: [Tensor], before: Int, _ weight: PreparedConvolution, _ bias: Tensor?, frameStride: Int, _ stride: Int,
  _ padding: Padding, _ transform: PixelTransform?, _ residual: consuming Tensor?
) -> Tensor {
  let x = clips[0], frames = clips.reduce(0) { $0 + $1.shape[0] }
  for clip in clips {
    precondition(
      clip.shape.count == 4 && clip.shape[3] == weight.inputs && clip.shape.dropFirst() == x.shape.dropFirst(),
      "convolution: input \(clip.shape) beside \(x.shape), \(weight.inputs) channels")
  }
  transform?.check(frames: frames, channels: weight.inputs)
  let source = PaddedFrames(clips, padding, weight.precision, transform)
  precondition(
    source.height >= weight.kernelHeight && source.width >= weight.kernelWidth
      && before < weight.kernelFrames && before + frames >= weight.kernelFrames,
    "convolution: \(frames) frames of \(x.shape) are too small")
  let outFrames = (before + frames - weight.kernelFrames) / frameStride + 1
  let outHeight = (source.height - weight.kernelHeight) / stride + 1
  let outWidth = (source.width - weight.kernelWidth) / stride + 1
  let n = weight.outputs, shape = [outFrames, outHeight, outWidth, n]
  precondition(residual == nil || residual!.shape == shape, "convolution: \(shape) onto \(residual!.shape)")
  let isInPlace = residual?.isSoleOwner() ?? false
  var result = isInPlace ? residual.take()! : Tensor(uninitialized: shape)
  if result.count == 0 { return result }
  // A kernel of several frames has all of them in an item, so that each is transformed once.
  let group = weight.kernelFrames == 1 ? 1 : outFrames, groups = outFrames / group
  let band = source.band(
    of: outHeight, stride: stride, kernel: weight.kernelHeight, frames: group == 1 ? 1 : frames, groups: groups)
  let bands = (outHeight + band - 1) / band
  result.withMutableFloats { output in
    withOptional(bias) { bias in
      withOptional(residual) { residual in
        ThreadPool.shared.forEach(groups * bands) { item in
          let times = item / bands * group..<(item / bands + 1) * group
          let lines = item % bands * band..<min((item % bands + 1) * band, outHeight)
          let firstFrame = max(0, times.lowerBound * frameStride - before)
          let rows = source.rows(
            frames: firstFrame..<(times.upperBound - 1) * frameStride + weight.kernelFrames - before,
            lines.lowerBound * stride..<(lines.upperBound - 1) * stride + weight.kernelHeight)
          let scratch = isInPlace ? PackedBuffer<Float>(count: outWidth * n) : nil
          for t in times {
            for y in lines {
              let line = (t * outHeight + y) * outWidth * n, target = output.baseAddress! + line
              let c = scratch?.pointer ?? target
              var isFirst = true
              // Frames of zeros add nothing.
              for tap in 0..<weight.kernelFrames where t * frameStride + tap >= before {
                for row in 0..<weight.kernelHeight {
                  weight.multiply(
                    rows, frame: t * frameStride + tap - before, row: y * stride + row, column: 0, outWidth,
                    stride: stride, kernelRow: tap * weight.kernelHeight + row, bias: bias, accumulate: !isFirst, c,
                    ldc: n)
                  isFirst = false
                }
              }
              if isInPlace { Door.add(outWidth * n, target, c, target) }
              if let residual { Door.add(outWidth * n, residual + line, c, c) }
            }
          }
        }
      }
    }
  }
  return result
}

extension PreparedConvolution {
  /// One kernel row over the pixels of a row of results.
  /// - Parameters:
  ///   - frame, row: of the padded frames, among those prepared.
  ///   - column: padded pixel where the first result's kernel begins.
  ///   - pixels: results.
  ///   - stride: pixels between their kernels.
  ///   - kernelRow: frame by frame, row by row.
  func multiply(
    _ rows: PaddedRows, frame: Int, row: Int, column: Int, _ pixels: Int, stride: Int, kernelRow: Int, bias: Input?,
    accumulate: Bool, _ c: Output, ldc: Int
  ) {
    let start = rows.start(frame: frame, row: row) + column * inputs, k = kernelWidth * inputs
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
struct PaddedFrames {
  private let clips: [Tensor], padding: Padding, precision: Precision, transform: PixelTransform?
  private let channels: Int, size: (height: Int, width: Int)
  /// Bytes of operands an item of work holds, roughly at most.
  private static let limit = 4 << 20

  init(_ clips: [Tensor], _ padding: Padding, _ precision: Precision, _ transform: PixelTransform?) {
    (self.clips, self.padding, self.precision, self.transform) = (clips, padding, precision, transform)
    (size, channels) = ((clips[0].shape[1], clips[0].shape[2]), clips[0].shape[3])
  }

  /// Rows of a padded frame, and pixels of a row.
  var height: Int { size.height + padding.top + padding.bottom }
  var width: Int { size.width + padding.left + padding.right }

  /// Rows of results to compute at a time: neighbours share operands, but every thread is to have several bands.
  /// - Parameters:
  ///   - frames: whose rows a band needs.
  ///   - groups: of frames, each with bands of its own.
  func band(of rows: Int, stride: Int, kernel: Int, frames: Int, groups: Int) -> Int {
    let fitting = Self.limit / (frames * width * channels * (precision == .float32 ? 4 : 2))
    return max(1, min((fitting - kernel) / stride + 1, rows * groups / (8 * ThreadPool.shared.threads), 16))
  }

  /// Some rows of some frames, by this thread.
  func rows(frames: Range<Int>, _ rows: Range<Int>) -> PaddedRows {
    let storage: PaddedRows.Storage =
      switch precision {
      case .float32: .float32(fill(frames, rows, Float(0)) { $1.update(from: $0, count: $2) })
      case .bfloat16, .int8:
        .bfloat16(fill(frames, rows, UInt16(0)) { Door.rowsToBF16(1, $2, $0, $2, $1, $2) })
      }
    return PaddedRows(frames: frames, rows: rows, rowLength: width * channels, storage: storage)
  }

  /// One element more is allocated, for reads in pairs.
  private func fill<T: BitwiseCopyable>(
    _ frames: Range<Int>, _ rows: Range<Int>, _ zero: T, _ copy: (Input, UnsafeMutablePointer<T>, Int) -> Void
  ) -> PackedBuffer<T> {
    let rowLength = width * channels, count = frames.count * rows.count * rowLength
    let buffer = PackedBuffer<T>(count: count + 1)
    buffer.pointer[count] = zero
    // Pixels transformed at a time: they stay in the first-level cache.
    let part = max(1, 4096 / max(channels, 1)), scratch = PackedBuffer<Float>(count: part * channels)
    var first = 0
    for clip in clips {
      clip.withFloats { x in
        for frame in frames.clamped(to: first..<first + clip.shape[0]) {
          for row in rows {
            let target = buffer.pointer + ((frame - frames.lowerBound) * rows.count + row - rows.lowerBound) * rowLength
            let y = row - padding.top
            guard y >= 0, y < size.height else {
              target.update(repeating: zero, count: rowLength)
              continue
            }
            target.update(repeating: zero, count: padding.left * channels)
            let source = x.baseAddress! + ((frame - first) * size.height + y) * size.width * channels
            let inner = target + padding.left * channels
            if let transform {
              for pixel in stride(from: 0, to: size.width, by: part) {
                let count = min(part, size.width - pixel)
                transform.apply(count, sample: frame, source + pixel * channels, scratch.pointer)
                copy(scratch.pointer, inner + pixel * channels, count * channels)
              }
            } else {
              copy(source, inner, size.width * channels)
            }
            (inner + size.width * channels).update(repeating: zero, count: padding.right * channels)
          }
        }
      }
      first += clip.shape[0]
    }
    return buffer
  }
}

/// Some rows of some padded frames.
struct PaddedRows {
  enum Storage {
    case float32(PackedBuffer<Float>)
    case bfloat16(PackedBuffer<UInt16>)
  }
  fileprivate let frames: Range<Int>, rows: Range<Int>, rowLength: Int
  let storage: Storage

  /// The element where a row begins.
  func start(frame: Int, row: Int) -> Int {
    ((frame - frames.lowerBound) * rows.count + row - rows.lowerBound) * rowLength
  }
}
