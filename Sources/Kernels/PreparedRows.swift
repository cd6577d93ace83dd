import Tensors

/// The left-hand side of products: rows in the type of their operands, converted once and multiplied with as many
/// matrices as need them. What comes just before (a norm, the merging of heads) is computed on the way, a row at a time,
/// and never stored by itself.
public struct PreparedRows: Sendable {
  enum Storage: Sendable {
    case float32(Tensor)
    case bfloat16(PackedBuffer<UInt16>)
    case int8(PackedBuffer<UInt8>, scales: PackedBuffer<Float>)
  }
  /// `[..., inputs]`.
  public let shape: [Int]
  public let precision: Precision
  let storage: Storage

  /// Rows of a product.
  var count: Int { shape.dropLast().reduce(1, *) }
  /// Inputs of a product.
  var width: Int { shape[shape.count - 1] }

  /// The rows as they are in Float32.
  var floats: Tensor {
    guard case .float32(let x) = storage else { preconditionFailure("rows of \(precision) read as float32") }
    return x
  }

  /// `x` `[..., inputs]` as it is.
  public init(_ x: Tensor, precision: Precision) {
    if precision == .float32 {
      (shape, self.precision, storage) = (x.shape, precision, .float32(x))
      return
    }
    self = x.withFloats { values in
      let width = x.shape[x.shape.count - 1]
      return PreparedRows(x.shape, precision) { row, out in
        out.update(from: values.baseAddress! + row * width, count: width)
      }
    }
  }

  /// Layer norm over the last axis: `(x - mean) / sqrt(variance + epsilon)`, then `* scale + shift` where given.
  /// - Parameters:
  ///   - x: `[B, N, D]`.
  ///   - scale, shift: `[B, D]`, or `[1, D]` or `[D]` for all of the batch; both, neither, or a scale alone.
  ///   - onePlus: `* (1 + scale)` instead, as adaptive layer norm has it.
  public init(
    layerNorm x: Tensor, epsilon: Float, scale: Tensor? = nil, shift: Tensor? = nil, onePlus: Bool = false,
    precision: Precision
  ) {
    precondition(shift == nil || shift!.count == scale?.count, "layer norm: a shift needs a scale of its size")
    let modulation = RowModulation(x, scale), width = modulation.width
    self = x.withFloats { values in
      withOptional(scale) { scale in
        withOptional(shift) { shift in
          PreparedRows(x.shape, precision) { row, out in
            let vector = modulation.vector(of: row)
            Door.layerNorm(
              width, values.baseAddress! + row * width, epsilon, scale: scale.map { $0 + vector }, onePlus: onePlus,
              shift: shift.map { $0 + vector }, out)
          }
        }
      }
    }
  }

  /// Heads `[B, h, N, d]` side by side again, `[B, N, h * d]`.
  public init(mergingHeads x: Tensor, precision: Precision) {
    let (batch, heads, tokens, size) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    self = x.withFloats { values in
      PreparedRows([batch, tokens, heads * size], precision) { row, out in
        for head in 0..<heads {
          let from = ((row / tokens * heads + head) * tokens + row % tokens) * size
          (out + head * size).update(from: values.baseAddress! + from, count: size)
        }
      }
    }
  }

  /// Rows of bf16, each as long as ``OperandRows/stride(_:_:)`` has it.
  init(_ shape: [Int], bits: PackedBuffer<UInt16>) {
    (self.shape, precision, storage) = (shape, .bfloat16, .bfloat16(bits))
  }

  /// Converts rows that `fill` writes one at a time, each from any thread.
  init(_ shape: [Int], _ precision: Precision, fill: (_ row: Int, _ out: Output) -> Void) {
    let width = shape[shape.count - 1], count = shape.dropLast().reduce(1, *)
    let block = max(1, 16384 / max(width, 1))
    func forEachBlock(_ body: (_ rows: Range<Int>) -> Void) {
      ThreadPool.shared.forEach((count + block - 1) / block) { body($0 * block..<min(($0 + 1) * block, count)) }
    }
    func converted(_ convert: (_ row: Int, _ values: Input) -> Void) {
      forEachBlock { rows in
        let values = PackedBuffer<Float>(count: width)
        for row in rows {
          fill(row, values.pointer)
          convert(row, values.pointer)
        }
      }
    }
    (self.shape, self.precision) = (shape, precision)
    switch precision {
    case .float32:
      var result = Tensor(uninitialized: shape)
      result.withMutableFloats { out in
        forEachBlock { rows in for row in rows { fill(row, out.baseAddress! + row * width) } }
      }
      storage = .float32(result)
    case .bfloat16:
      let stride = OperandRows.stride(width, precision), narrow = PackedBuffer<UInt16>(count: count * stride)
      converted { row, values in
        Door.rowsToBF16(1, width, values, width, narrow.pointer + row * stride, stride)
      }
      storage = .bfloat16(narrow)
    case .int8:
      let stride = OperandRows.stride(width, precision)
      let narrow = PackedBuffer<UInt8>(count: count * stride), scales = PackedBuffer<Float>(count: count)
      converted { row, values in
        Door.rowsToInt8(
          1, width, values, width, narrow.pointer + row * stride, stride, scales: scales.pointer + row)
      }
      storage = .int8(narrow, scales: scales)
    }
  }

  /// The rows as a right-hand side.
  var packed: PreparedMatrix {
    switch storage {
    case .float32(let x): PreparedMatrix(x.reshaped(count, width), precision: .float32)
    case .bfloat16(let buffer):
      PreparedMatrix(bits: buffer.pointer, count, OperandRows.stride(width, .bfloat16))
    case .int8: preconditionFailure("rows of 8-bit integers as a right-hand side")
    }
  }

  /// Calls `body` with pointers to the rows.
  func withRows(_ body: (OperandRows) -> Void) {
    switch storage {
    case .float32(let x): x.withFloats { if let base = $0.baseAddress { body(.float32(base, stride: width)) } }
    case .bfloat16(let buffer):
      withExtendedLifetime(buffer) {
        body(.bfloat16(buffer.pointer, stride: OperandRows.stride(width, .bfloat16)))
      }
    case .int8(let buffer, let scales):
      withExtendedLifetime((buffer, scales)) {
        body(.int8(buffer.pointer, stride: OperandRows.stride(width, .int8), scales: scales.pointer))
      }
    }
  }
}

/// Pointers to the rows of a product's left-hand side.
enum OperandRows {
  case float32(Input, stride: Int)
  case bfloat16(UnsafePointer<UInt16>, stride: Int)
  case int8(UnsafePointer<UInt8>, stride: Int, scales: Input)

  /// Elements from row to row: whole pairs of bf16, whole fours of bytes.
  static func stride(_ width: Int, _ precision: Precision) -> Int {
    switch precision {
    case .float32: width
    case .bfloat16: (width + 1) / 2 * 2
    case .int8: (width + 3) / 4 * 4
    }
  }

  /// Some rows times some of a matrix's outputs, plus the bias; `columns` of a packed matrix begin at a whole panel.
  /// - Parameter c: where the first row's first result goes; rows of results lie `ldc` apart.
  func multiply(
    _ rows: Range<Int>, _ weight: PreparedMatrix, _ columns: Range<Int>, bias: Input?, _ c: Output, ldc: Int
  ) {
    let column = columns.lowerBound, bias = bias.map { $0 + column }
    switch (self, weight.storage) {
    case (.float32(let x, let stride), .float32(let packed)):
      Door.gemm(
        rows.count, columns.count, weight.inputs, x + rows.lowerBound * stride, lda: stride,
        packed.pointer + column * weight.inputs, bias: bias, accumulate: false, c, ldc: ldc)
    case (.bfloat16(let x, let stride), .bfloat16(let packed)):
      Door.gemmBF16(
        rows.count, columns.count, weight.inputs, x + rows.lowerBound * stride, lda: stride,
        packed.pointer + column * (stride / 2), bias: bias, accumulate: false, c, ldc: ldc)
    case (.int8(let x, let stride, let scales), .int8(let packed)):
      Door.gemmInt8(
        rows.count, columns.count, stride / 4, x + rows.lowerBound * stride, lda: stride,
        rowScales: scales + rows.lowerBound, packed.words.pointer + column * (stride / 4),
        scales: packed.scales.pointer + column, offsets: packed.offsets.pointer + column, bias: bias, c, ldc: ldc)
    default: preconditionFailure("rows and weight of a product differ in type: \(weight.precision) weights")
    }
  }
}
