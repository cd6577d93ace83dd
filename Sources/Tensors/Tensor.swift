/// A dense, contiguous, row-major array of `Float` (Float32) values.
///
/// A tensor is a value: copies share storage until one of them is written (copy on write). Slices along the first
/// axis and reshapes share storage without copying; a tensor may also view a memory-mapped weight file directly.
///
/// Shapes in this project use one alphabet: `B` batch, `C` channels, `F` frames, `H W` height and width, `N` tokens,
/// `D` hidden size, `h` heads, `d` head size, `L` text tokens.
public struct Tensor: Sendable {
  /// Extents, outermost first. An empty shape is a scalar.
  public let shape: [Int]
  var storage: TensorStorage
  /// First element, in elements from the start of the storage.
  var offset: Int

  init(shape: [Int], storage: TensorStorage, offset: Int) {
    self.shape = shape
    self.storage = storage
    self.offset = offset
  }

  /// A tensor of zeros.
  public init(zeros shape: [Int]) {
    self.init(uninitialized: shape)
    storage.pointer.initialize(repeating: 0, count: count)
  }

  /// A tensor whose contents are arbitrary until written. For kernels that write every element.
  public init(uninitialized shape: [Int]) {
    precondition(shape.allSatisfy { $0 >= 0 }, "negative extent in \(shape)")
    self.init(shape: shape, storage: TensorStorage(count: shape.reduce(1, *)), offset: 0)
  }

  /// A tensor of `shape` holding `elements` in row-major order.
  public init(_ shape: [Int], _ elements: [Float]) {
    precondition(shape.reduce(1, *) == elements.count, "\(elements.count) elements do not fill \(shape)")
    self.init(uninitialized: shape)
    elements.withUnsafeBufferPointer { source in
      if let base = source.baseAddress { storage.pointer.update(from: base, count: source.count) }
    }
  }

  /// A tensor filled with one value.
  public init(_ shape: [Int], repeating value: Float) {
    self.init(uninitialized: shape)
    storage.pointer.initialize(repeating: value, count: count)
  }

  /// Number of elements.
  public var count: Int { shape.reduce(1, *) }

  /// The elements, copied out in row-major order.
  public var elements: [Float] { withFloats { Array($0) } }

  /// The elements as little-endian Float32, one after the other: what digests are taken of.
  public var bytes: [UInt8] {
    withFloats { values in
      [UInt8](unsafeUninitializedCapacity: 4 * values.count) { out, count in
        for (index, value) in values.enumerated() {
          let bits = value.bitPattern
          for byte in 0..<4 { out[4 * index + byte] = UInt8(truncatingIfNeeded: bits >> (8 * UInt32(byte))) }
        }
        count = 4 * values.count
      }
    }
  }

  /// One element, by its full index. Meant for tests and small tables, not for loops over pixels.
  public subscript(index: Int...) -> Float {
    get { withFloats { $0[flatIndex(index)] } }
    set {
      let position = flatIndex(index)
      withMutableFloats { $0[position] = newValue }
    }
  }

  private func flatIndex(_ index: [Int]) -> Int {
    precondition(index.count == shape.count, "index \(index) for shape \(shape)")
    return zip(index, shape).reduce(0) { position, pair in
      precondition(pair.0 >= 0 && pair.0 < pair.1, "index \(index) outside \(shape)")
      return position * pair.1 + pair.0
    }
  }

  /// Calls `body` with the elements. The pointer must not outlive the call.
  public func withFloats<R>(_ body: (UnsafeBufferPointer<Float>) throws -> R) rethrows -> R {
    defer { withExtendedLifetime(storage) {} }
    return try body(UnsafeBufferPointer(start: storage.pointer + offset, count: count))
  }

  /// Calls `body` with the elements for writing, after making them this value's own. The pointer must not outlive
  /// the call.
  public mutating func withMutableFloats<R>(_ body: (UnsafeMutableBufferPointer<Float>) throws -> R) rethrows -> R {
    if !isSoleOwner() { self = copied() }
    defer { withExtendedLifetime(storage) {} }
    return try body(UnsafeMutableBufferPointer(start: storage.pointer + offset, count: count))
  }

  /// Whether writing would change no other tensor: then ``withMutableFloats(_:)`` copies nothing.
  public mutating func isSoleOwner() -> Bool { storage.isWritable && isKnownUniquelyReferenced(&storage) }

  /// A copy with storage of its own.
  public func copied() -> Tensor {
    let result = Tensor(uninitialized: shape)
    withFloats { source in
      if let base = source.baseAddress { result.storage.pointer.update(from: base, count: source.count) }
    }
    return result
  }
}

extension Tensor: Equatable {
  /// Same shape and same bytes (so `NaN` equals itself and `0` differs from `-0`).
  public static func == (a: Tensor, b: Tensor) -> Bool {
    guard a.shape == b.shape else { return false }
    return a.withFloats { x in
      b.withFloats { y in
        x.isEmpty || UnsafeRawBufferPointer(x).elementsEqual(UnsafeRawBufferPointer(y))
      }
    }
  }
}
