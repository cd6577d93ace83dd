import Tensors

/// The weights of a 2-D convolution, `[outputs, inputs, kernel, kernel]` as checkpoints store them, or of a 3-D one with
/// frames before rows, packed for channels-last pixels: one product per kernel row, of length `kernel * inputs`.
public struct PreparedConvolution: Sendable {
  public let outputs: Int, inputs: Int, kernelFrames: Int, kernelHeight: Int, kernelWidth: Int
  public let precision: Precision
  /// Frame by frame, row by row.
  enum Storage: Sendable {
    case float32([PackedBuffer<Float>])
    case bfloat16([PackedBuffer<UInt32>])
  }
  let storage: Storage

  public init(_ weight: Tensor, precision: Precision) {
    precondition((4...5).contains(weight.shape.count), "a convolution has four or five axes, found \(weight.shape)")
    let extents = weight.shape.suffix(weight.shape.count - 2)
    (outputs, inputs) = (weight.shape[0], weight.shape[1])
    kernelFrames = extents.count == 3 ? extents.first! : 1
    (kernelHeight, kernelWidth) = (weight.shape[weight.shape.count - 2], weight.shape[weight.shape.count - 1])
    // Kernels of integers are for linear layers.
    let precision = precision.besideIntegers
    self.precision = precision
    let (n, k, kernelRows) = (outputs, kernelWidth * inputs, kernelFrames * kernelHeight)
    // [kernelFrames * kernelHeight, outputs, kernelWidth, inputs]
    let rows = weight.reshaped(outputs, inputs, kernelRows, kernelWidth).permuted(2, 0, 3, 1)
    switch precision {
    case .float32:
      storage = .float32(
        (0..<kernelRows).map { row in
          rows[at: row].withFloats { w in
            pack(n, k) { Door.pack($0, n, k, w.baseAddress!, k, into: $1) }
          }
        })
    case .bfloat16, .int8:
      storage = .bfloat16(
        (0..<kernelRows).map { row in
          rows[at: row].withFloats { w in
            pack(n, (k + 1) / 2) { Door.packBF16($0, n, k, w.baseAddress!, k, into: $1) }
          }
        })
    }
  }
}

/// Zeros added around an image, in pixels.
public struct Padding: Sendable, Equatable {
  public var top: Int, left: Int, bottom: Int, right: Int
  public init(top: Int, left: Int, bottom: Int, right: Int) {
    (self.top, self.left, self.bottom, self.right) = (top, left, bottom, right)
  }
  /// The same on every side.
  public static func all(_ pixels: Int) -> Padding { Padding(top: pixels, left: pixels, bottom: pixels, right: pixels) }
}

/// 2-D convolution of channels-last images.
/// - Parameters:
///   - x: `[B, H, W, inputs]`.
///   - bias: `[outputs]`.
/// - Returns: `[B, H', W', outputs]`.
///
/// Neighbouring pixels of a row lie side by side, so a kernel row is one product over overlapping stretches of memory:
/// no column matrix is ever built.
public func conv2d(
  _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor? = nil, stride: Int = 1, padding: Padding = .all(0)
) -> Tensor {
  precondition(weight.kernelFrames == 1, "conv2d: a kernel of \(weight.kernelFrames) frames")
  return convolve([x], before: 0, weight, bias, frameStride: 1, stride, padding)
}

/// 3-D convolution of one clip of channels-last frames.
/// - Parameters:
///   - clips: pieces `[F, H, W, inputs]` that follow one another; they are not copied together.
///   - before: frames of zeros before the first.
///   - bias: `[outputs]`.
///   - frameStride: frames between two results.
///   - padding: of rows and columns.
/// - Returns: `[F', H', W', outputs]` with `F' = (before + frames - kernel) / stride + 1`.
public func conv3d(
  _ clips: [Tensor], before: Int = 0, _ weight: PreparedConvolution, bias: Tensor? = nil, frameStride: Int = 1,
  padding: Padding = .all(0)
) -> Tensor {
  convolve(clips, before: before, weight, bias, frameStride: frameStride, 1, padding)
}

/// Both convolutions; the frames of a 2-D one are its batch.
private func convolve(
  _ clips: [Tensor], before: Int, _ weight: PreparedConvolution, _ bias: Tensor?, frameStride: Int, _ stride: Int,
  _ padding: Padding
) -> Tensor {
  let x = clips[0], frames = clips.reduce(0) { $0 + $1.shape[0] }
  for clip in clips {
    precondition(
      clip.shape.count == 4 && clip.shape[3] == weight.inputs && clip.shape.dropFirst() == x.shape.dropFirst(),
      "convolution: input \(clip.shape) beside \(x.shape), \(weight.inputs) channels")
  }
  let (height, width, channels) = (x.shape[1], x.shape[2], x.shape[3])
  let paddedHeight = height + padding.top + padding.bottom, paddedWidth = width + padding.left + padding.right
  precondition(
    paddedHeight >= weight.kernelHeight && paddedWidth >= weight.kernelWidth
      && before < weight.kernelFrames && before + frames >= weight.kernelFrames,
    "convolution: \(frames) frames of \(x.shape) are too small")
  let outFrames = (before + frames - weight.kernelFrames) / frameStride + 1
  let outHeight = (paddedHeight - weight.kernelHeight) / stride + 1
  let outWidth = (paddedWidth - weight.kernelWidth) / stride + 1
  let n = weight.outputs, k = weight.kernelWidth * channels
  let rowLength = paddedWidth * channels

  func products<T: BitwiseCopyable>(
    _ padded: PackedBuffer<T>, _ output: Output,
    _ product: (_ kernelRow: Int, _ a: UnsafePointer<T>, _ c: Output, _ isFirst: Bool) -> Void
  ) {
    ThreadPool.shared.forEach(outFrames * outHeight) { item in
      let t = item / outHeight, y = item % outHeight
      var isFirst = true
      // Frames of zeros add nothing.
      for tap in 0..<weight.kernelFrames where t * frameStride + tap >= before {
        for row in 0..<weight.kernelHeight {
          let frame = t * frameStride + tap - before
          let a = padded.pointer + (frame * paddedHeight + y * stride + row) * rowLength
          product(tap * weight.kernelHeight + row, a, output + item * outWidth * n, isFirst)
          isFirst = false
        }
      }
    }
  }

  return x.writing([outFrames, outHeight, outWidth, n]) { _, output in
    withOptional(bias) { bias in
      switch weight.storage {
      case .float32(let packed):
        let padded = pad(clips, padding, Float(0)) { $1.update(from: $0, count: $2) }
        products(padded, output) { row, a, c, isFirst in
          Door.gemm(
            outWidth, n, k, a, lda: stride * channels, packed[row].pointer, bias: bias, accumulate: !isFirst, c,
            ldc: n)
        }
      case .bfloat16(let packed):
        let padded = pad(clips, padding, UInt16(0)) { Door.rowsToBF16(1, $2, $0, $2, $1, $2) }
        products(padded, output) { row, a, c, isFirst in
          Door.gemmBF16(
            outWidth, n, k, a, lda: stride * channels, packed[row].pointer, bias: bias, accumulate: !isFirst, c,
            ldc: n)
        }
      }
    }
  }
}

/// Copies clips `[F, H, W, C]` one after another into frames of zeros, row by row. One element more is allocated, for
/// reads in pairs.
private func pad<T: BitwiseCopyable>(
  _ clips: [Tensor], _ padding: Padding, _ zero: T, _ copy: (Input, UnsafeMutablePointer<T>, Int) -> Void
) -> PackedBuffer<T> {
  let (height, width, channels) = (clips[0].shape[1], clips[0].shape[2], clips[0].shape[3])
  let frames = clips.reduce(0) { $0 + $1.shape[0] }
  let paddedHeight = height + padding.top + padding.bottom
  let rowLength = (width + padding.left + padding.right) * channels
  let buffer = PackedBuffer<T>(count: frames * paddedHeight * rowLength + 1)
  buffer.pointer[frames * paddedHeight * rowLength] = zero
  var first = 0
  for clip in clips {
    clip.withFloats { x in
      ThreadPool.shared.forEach(clip.shape[0] * paddedHeight) { item in
        let row = buffer.pointer + (first * paddedHeight + item) * rowLength
        let y = item % paddedHeight - padding.top
        guard y >= 0, y < height else { return row.update(repeating: zero, count: rowLength) }
        row.update(repeating: zero, count: padding.left * channels)
        let source = x.baseAddress! + (item / paddedHeight * height + y) * width * channels
        copy(source, row + padding.left * channels, width * channels)
        (row + (padding.left + width) * channels).update(repeating: zero, count: padding.right * channels)
      }
    }
    first += clip.shape[0]
  }
  return buffer
}

/// Doubles height and width by repeating pixels: `[B, H, W, C]` to `[B, 2H, 2W, C]`.
public func upsampledNearest2x(_ x: Tensor) -> Tensor {
  let (batch, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
  return x.writing([batch, 2 * height, 2 * width, channels]) { input, output in
    ThreadPool.shared.forEach(batch * height) { row in
      let out = output + row * 4 * width * channels
      for pixel in 0..<width {
        let source = input + (row * width + pixel) * channels
        (out + 2 * pixel * channels).update(from: source, count: channels)
        (out + (2 * pixel + 1) * channels).update(from: source, count: channels)
      }
      (out + 2 * width * channels).update(from: out, count: 2 * width * channels)
    }
  }
}
