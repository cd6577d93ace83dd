import Tensors

/// The right-hand side of a product `x W^T`, packed once for the micro-kernels: `W` is `[outputs, inputs]` as checkpoints
/// store it.
public struct PreparedMatrix: Sendable {
  enum Storage: Sendable {
    case float32(PackedBuffer<Float>)
    case bfloat16(PackedBuffer<UInt32>)
    case int8(PackedIntegers)
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
    let packed = stored.withBytes { bytes in
      let bits = bytes.baseAddress!.assumingMemoryBound(to: UInt16.self)
      return pack(outputs, (inputs + 1) / 2) { Door.packBF16($0, outputs, inputs, bits: bits, inputs, into: $1) }
    }
    self.init(outputs: outputs, inputs: inputs, precision: precision, storage: .bfloat16(packed))
  }

  private init(outputs: Int, inputs: Int, precision: Precision, storage: Storage) {
    (self.outputs, self.inputs, self.precision, self.storage) = (outputs, inputs, precision, storage)
  }

  /// Prepares a matrix `[outputs, inputs]` held in memory.
  public init(_ matrix: Tensor, precision: Precision) {
    precondition(matrix.shape.count == 2, "a matrix has two axes, found \(matrix.shape)")
    let outputs = matrix.shape[0], inputs = matrix.shape[1]
    let storage = matrix.withFloats { values -> Storage in
      switch precision {
      case .float32:
        .float32(pack(outputs, inputs) { Door.pack($0, outputs, inputs, values.baseAddress!, inputs, into: $1) })
      case .bfloat16:
        .bfloat16(
          pack(outputs, (inputs + 1) / 2) { Door.packBF16($0, outputs, inputs, values.baseAddress!, inputs, into: $1) })
      case .int8: .int8(PackedIntegers(outputs, inputs, values.baseAddress!))
      }
    }
    self.init(outputs: outputs, inputs: inputs, precision: precision, storage: storage)
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
