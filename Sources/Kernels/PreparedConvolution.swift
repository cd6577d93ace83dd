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
