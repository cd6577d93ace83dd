import Tensors

/// The right-hand side of a product `x W^T`, in the micro-kernels' order: `W` is `[outputs, inputs]` as checkpoints store
/// it. Packed once; or, where a matrix is used once or twice only, left in its file and read a few outputs at a time into
/// the caches of the thread that multiplies by them.
public struct PreparedMatrix: Sendable {
  enum Storage: Sendable {
    case float32(PackedBuffer<Float>)
    case bfloat16(PackedBuffer<UInt32>)
    case int8(PackedIntegers)
    case streamed(StreamedMatrix)
  }
  public let outputs: Int
  public let inputs: Int
  public let precision: Precision
  let storage: Storage

  /// Prepares a stored `[outputs, inputs]` matrix. Trailing extents (of a 1 x 1 or patch convolution) count as inputs.
  public init(_ stored: StoredTensor, precision: Precision) {
    let outputs = stored.shape[0], inputs = stored.shape.dropFirst().reduce(1, *)
    guard precision == .bfloat16, stored.type == .bfloat16, stored.range.lowerBound % 2 == 0 else {
      self.init(stored.floats().reshaped(outputs, inputs), precision: precision)
      return
    }
    self = stored.withBytes {
      PreparedMatrix(bits: $0.baseAddress!.assumingMemoryBound(to: UInt16.self), outputs, inputs)
    }
  }

  /// Leaves a stored `[outputs, inputs]` matrix in its file.
  /// - Parameters:
  ///   - onFault: called from any thread when a part of it turns out not to be what can be multiplied by; what was
  ///     computed with it is of no use.
  ///   - precision: not 8-bit integers, which pay only where a matrix is used often.
  public init(streaming stored: StoredTensor, precision: Precision, onFault: @escaping StreamedMatrix.FaultHandler) {
    precondition(precision != .int8, "a matrix of 8-bit integers left in its file")
    self.init(
      outputs: stored.shape[0], inputs: stored.shape.dropFirst().reduce(1, *), precision: precision,
      storage: .streamed(StreamedMatrix(stored, onFault)))
  }

  /// Prepares a matrix `[outputs, inputs]` held in memory.
  public init(_ matrix: Tensor, precision: Precision) {
    precondition(matrix.shape.count == 2, "a matrix has two axes, found \(matrix.shape)")
    self = matrix.withFloats {
      PreparedMatrix($0.baseAddress!, matrix.shape[0], matrix.shape[1], precision)
    }
  }

  private init(outputs: Int, inputs: Int, precision: Precision, storage: Storage) {
    (self.outputs, self.inputs, self.precision, self.storage) = (outputs, inputs, precision, storage)
  }

  private init(_ w: Input, _ outputs: Int, _ inputs: Int, _ precision: Precision) {
    let storage: Storage =
      switch precision {
      case .float32: .float32(pack(outputs, inputs) { Door.pack($0, outputs, inputs, w, inputs, into: $1) })
      case .bfloat16:
        .bfloat16(pack(outputs, (inputs + 1) / 2) { Door.packBF16($0, outputs, inputs, w, inputs, into: $1) })
      case .int8: .int8(PackedIntegers(outputs, inputs, w))
      }
    self.init(outputs: outputs, inputs: inputs, precision: precision, storage: storage)
  }

  init(bits: UnsafePointer<UInt16>, _ outputs: Int, _ inputs: Int) {
    let packed = pack(outputs, (inputs + 1) / 2) {
      Door.packBF16($0, outputs, inputs, bits: bits, inputs, into: $1)
    }
    self.init(outputs: outputs, inputs: inputs, precision: .bfloat16, storage: .bfloat16(packed))
  }
}

/// Packs all panels of a matrix, `depth` elements deep.
func pack<T: BitwiseCopyable>(
  _ outputs: Int, _ depth: Int, _ body: (_ panel: Int, _ packed: UnsafeMutablePointer<T>) -> Void
) -> PackedBuffer<T> {
  let buffer = PackedBuffer<T>(count: Door.packedCount(outputs: outputs, rounded: depth))
  ThreadPool.shared.forEach((outputs + Door.panel - 1) / Door.panel) { body($0, buffer.pointer) }
  return buffer
}

/// A matrix as 8-bit integers, four in a word, with the scale of each output and what its inputs' offset adds to it.
final class PackedIntegers: Sendable {
  let words: PackedBuffer<UInt32>
  let scales: PackedBuffer<Float>
  let offsets: PackedBuffer<Int32>

  init(_ outputs: Int, _ inputs: Int, _ weights: Input) {
    let scales = PackedBuffer<Float>(count: outputs), offsets = PackedBuffer<Int32>(count: outputs)
    words = pack(outputs, (inputs + 3) / 4) {
      Door.packInt8($0, outputs, inputs, weights, inputs, into: $1, scales: scales.pointer, offsets: offsets.pointer)
    }
    (self.scales, self.offsets) = (scales, offsets)
  }
}

/// Memory for packed weights or scratch, aligned to a cache line.
final class PackedBuffer<Element: BitwiseCopyable>: @unchecked Sendable {
  let pointer: UnsafeMutablePointer<Element>
  let count: Int
  private let block: MemoryBlock

  init(count: Int) {
    self.count = count
    block = MemoryBlock(count: max(count, 1), of: Element.self)
    pointer = block.pointer.bindMemory(to: Element.self, capacity: max(count, 1))
  }
}

extension Tensor {
  /// Calls `body` with pointers to read this tensor from and to write `result` to. The result is a fresh tensor.
  func writing(_ shape: [Int], _ body: (Input, Output) -> Void) -> Tensor {
    var result = Tensor(uninitialized: shape)
    if count == 0 || result.count == 0 { return result }
    withFloats { source in
      result.withMutableFloats { body(source.baseAddress!, $0.baseAddress!) }
    }
    return result
  }
}

/// Calls `body` with the tensor's elements, or with `nil`.
func withOptional<R>(_ tensor: Tensor?, _ body: (Input?) -> R) -> R {
  guard let tensor else { return body(nil) }
  return tensor.withFloats { body($0.baseAddress) }
}
