import Tensors

/// The weights of a 2-D convolution, `[outputs, inputs, kernel, kernel]` as checkpoints store them, packed for
/// channels-last pixels: one product per kernel row, whose inner length is `kernel * inputs`.
public struct PreparedConvolution: Sendable {
  public let outputs: Int, inputs: Int, kernelHeight: Int, kernelWidth: Int
  public let precision: Precision
  enum Storage: Sendable {
    case float32([PackedBuffer<Float>])
    case bfloat16([PackedBuffer<UInt32>])
  }
  let storage: Storage

  public init(_ weight: Tensor, precision: Precision) {
    precondition(weight.shape.count == 4, "a 2-D convolution has four axes, found \(weight.shape)")
    (outputs, inputs) = (weight.shape[0], weight.shape[1])
    (kernelHeight, kernelWidth) = (weight.shape[2], weight.shape[3])
    self.precision = precision
    let (n, k) = (outputs, kernelWidth * inputs)
    // [kernelHeight, outputs, kernelWidth, inputs]
    let rows = weight.permuted(2, 0, 3, 1)
    switch precision {
    case .float32:
      storage = .float32(
        (0..<kernelHeight).map { row in
          rows[at: row].withFloats { w in
            pack(n, k) { Door.pack($0, n, k, w.baseAddress!, k, into: $1) }
          }
        })
    case .bfloat16:
      storage = .bfloat16(
        (0..<kernelHeight).map { row in
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
  precondition(x.shape.count == 4 && x.shape[3] == weight.inputs, "conv2d: input \(x.shape), \(weight.inputs) channels")
  let (batch, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
  let paddedHeight = height + padding.top + padding.bottom, paddedWidth = width + padding.left + padding.right
  precondition(
    paddedHeight >= weight.kernelHeight && paddedWidth >= weight.kernelWidth, "conv2d: \(x.shape) is too small")
  let outHeight = (paddedHeight - weight.kernelHeight) / stride + 1
  let outWidth = (paddedWidth - weight.kernelWidth) / stride + 1
  let n = weight.outputs, k = weight.kernelWidth * channels
  let rowLength = paddedWidth * channels

  func products<T: BitwiseCopyable>(
    _ padded: PackedBuffer<T>, _ bias: Input?, _ output: Output,
    _ product: (_ kernelRow: Int, _ a: UnsafePointer<T>, _ c: Output) -> Void
  ) {
    ThreadPool.shared.forEach(batch * outHeight) { item in
      let b = item / outHeight, y = item % outHeight
      for kernelRow in 0..<weight.kernelHeight {
        let a = padded.pointer + ((b * paddedHeight) + y * stride + kernelRow) * rowLength
        product(kernelRow, a, output + item * outWidth * n)
      }
    }
  }

  return x.writing([batch, outHeight, outWidth, n]) { input, output in
    withOptional(bias) { bias in
      switch weight.storage {
      case .float32(let packed):
        let padded = pad(input, x.shape, padding, Float(0)) { $1.update(from: $0, count: $2) }
        products(padded, bias, output) { row, a, c in
          Door.gemm(
            outWidth, n, k, a, lda: stride * channels, packed[row].pointer, bias: bias, accumulate: row > 0, c, ldc: n)
        }
      case .bfloat16(let packed):
        let padded = pad(input, x.shape, padding, UInt16(0)) { Door.rowsToBF16(1, $2, $0, $2, $1, $2) }
        products(padded, bias, output) { row, a, c in
          Door.gemmBF16(
            outWidth, n, k, a, lda: stride * channels, packed[row].pointer, bias: bias, accumulate: row > 0, c, ldc: n)
        }
      }
    }
  }
}

/// Copies `[B, H, W, C]` into a frame of zeros, row by row. One element more is allocated, for reads in pairs.
private func pad<T: BitwiseCopyable>(
  _ x: Input, _ shape: [Int], _ padding: Padding, _ zero: T, _ copy: (Input, UnsafeMutablePointer<T>, Int) -> Void
) -> PackedBuffer<T> {
  let (batch, height, width, channels) = (shape[0], shape[1], shape[2], shape[3])
  let paddedHeight = height + padding.top + padding.bottom
  let rowLength = (width + padding.left + padding.right) * channels
  let buffer = PackedBuffer<T>(count: batch * paddedHeight * rowLength + 1)
  buffer.pointer[batch * paddedHeight * rowLength] = zero
  ThreadPool.shared.forEach(batch * paddedHeight) { item in
    let row = buffer.pointer + item * rowLength
    let y = item % paddedHeight - padding.top
    guard y >= 0, y < height else { return row.update(repeating: zero, count: rowLength) }
    row.update(repeating: zero, count: padding.left * channels)
    let source = x + (item / paddedHeight * height + y) * width * channels
    copy(source, row + padding.left * channels, width * channels)
    (row + (padding.left + width) * channels).update(repeating: zero, count: padding.right * channels)
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
