/// A tensor as it lies in a mapped file: type, shape and place. Converted when asked, never before.
public struct StoredTensor: Sendable {
  public let type: ScalarType
  public let shape: [Int]
  public let file: MappedFile
  /// Place in the file, in bytes.
  public let range: Range<Int>

  public init(type: ScalarType, shape: [Int], file: MappedFile, range: Range<Int>) {
    precondition(range.count == shape.reduce(1, *) * type.size && range.upperBound <= file.count)
    self.type = type
    self.shape = shape
    self.file = file
    self.range = range
  }

  public var count: Int { shape.reduce(1, *) }

  /// Calls `body` with the raw bytes. The pointer must not outlive the call.
  public func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    defer { withExtendedLifetime(file) {} }
    return try body(UnsafeRawBufferPointer(rebasing: file.buffer[range]))
  }

  /// The values as Float32: a view of the file where it holds aligned Float32, a converted copy elsewhere.
  public func floats() -> Tensor {
    if type == .float32, range.lowerBound % 4 == 0 {
      let start = (file.buffer.baseAddress! + range.lowerBound).assumingMemoryBound(to: Float.self)
      return Tensor(shape: shape, storage: TensorStorage(viewing: start, owner: file), offset: 0)
    }
    let result = Tensor(uninitialized: shape)
    let out = result.storage.pointer
    let block = 1 << 16
    withBytes { bytes in
      ThreadPool.shared.forEach((count + block - 1) / block) { index in
        let start = index * block, length = min(block, count - start)
        widen(bytes, type, from: start, count: length, into: out + start)
      }
    }
    return result
  }

  /// Some entries of the first axis, where they lie.
  public func slice(_ entries: Range<Int>) -> StoredTensor {
    precondition(entries.lowerBound >= 0 && entries.upperBound <= shape[0], "entries \(entries) of \(shape)")
    let size = range.count / max(shape[0], 1), start = range.lowerBound
    return StoredTensor(
      type: type, shape: [entries.count] + shape.dropFirst(), file: file,
      range: start + entries.lowerBound * size..<start + entries.upperBound * size)
  }

  /// `true` when no value is infinite or NaN, in the file or as Float32.
  public var isFinite: Bool { withBytes { isEachFinite($0, type) } }

  /// Chosen entries of the first axis as Float32, without touching the rest: `[indices.count, ...]`.
  public func rows(_ indices: [Int]) -> Tensor {
    Tensor.concatenated(indices.map { slice($0..<$0 + 1).floats() }, axis: 0)
  }

  /// Whether two stored tensors hold the same type, shape and bytes.
  public func hasSameBytes(as other: StoredTensor) -> Bool {
    type == other.type && shape == other.shape
      && withBytes { a in other.withBytes { b in a.elementsEqual(b) } }
  }

  /// The values as integers, for integer and boolean types. `nil` for floating-point ones.
  public func integers() -> [Int]? {
    func read<T: FixedWidthInteger>(_: T.Type) -> [Int] {
      withBytes { bytes in
        (0..<count).map { Int(truncatingIfNeeded: bytes.loadUnaligned(fromByteOffset: $0 * type.size, as: T.self)) }
      }
    }
    switch type {
    case .int64: return read(Int64.self)
    case .int32: return read(Int32.self)
    case .int16: return read(Int16.self)
    case .int8: return read(Int8.self)
    case .uint8, .bool: return read(UInt8.self)
    default: return nil
    }
  }

  /// Lets the system drop this tensor's pages; they are read again when touched.
  public func discardPages() { file.discard(range) }
}

/// Writes values as Float32, on this thread.
public func widen(
  _ bytes: UnsafeRawBufferPointer, _ type: ScalarType, from start: Int, count: Int,
  into out: UnsafeMutablePointer<Float>
) {
  let source = bytes.baseAddress! + start * type.size
  func each<T>(_: T.Type, _ convert: (T) -> Float) {
    for i in 0..<count { out[i] = convert(source.loadUnaligned(fromByteOffset: i * MemoryLayout<T>.size, as: T.self)) }
  }
  switch type {
  case .float64: each(Double.self) { Float($0) }
  case .float32: each(UInt32.self) { Float(bitPattern: $0) }
  case .float16: each(UInt16.self, widenHalf)
  case .bfloat16: each(UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
  case .int64: each(Int64.self) { Float($0) }
  case .int32: each(Int32.self) { Float($0) }
  case .int16: each(Int16.self) { Float($0) }
  case .int8: each(Int8.self) { Float($0) }
  case .uint8, .bool: each(UInt8.self) { Float($0) }
  }
}

/// IEEE binary16 to binary32, exactly, in integer operations that vectorise on any machine.
@inline(__always) func widenHalf(_ half: UInt16) -> Float {
  let magnitude = UInt32(half & 0x7fff) << 13
  // 2^112 re-biases the exponent, and scales denormals right as well.
  var bits = (Float(bitPattern: magnitude) * Float(bitPattern: 0x7780_0000)).bitPattern
  if magnitude >= 0x0f80_0000 { bits |= 0x7f80_0000 }
  return Float(bitPattern: bits | UInt32(half & 0x8000) << 16)
}
