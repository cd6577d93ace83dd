/// Moving elements about: views where memory allows, copies elsewhere. No arithmetic.
extension Tensor {
  /// The same elements under another shape. One extent may be `-1` and is inferred.
  public func reshaped(_ newShape: [Int]) -> Tensor {
    var resolved = newShape
    if let unknown = newShape.firstIndex(of: -1) {
      let known = newShape.reduce(1, *) * -1
      precondition(known > 0 && count % known == 0, "cannot reshape \(shape) to \(newShape)")
      resolved[unknown] = count / known
    }
    precondition(resolved.reduce(1, *) == count, "cannot reshape \(shape) to \(newShape)")
    return Tensor(shape: resolved, storage: storage, offset: offset)
  }

  /// Variadic spelling of ``reshaped(_:)-([Int])``.
  public func reshaped(_ newShape: Int...) -> Tensor { reshaped(newShape) }

  /// Entries `range` along the first axis, sharing storage.
  public func slice(_ range: Range<Int>) -> Tensor {
    precondition(!shape.isEmpty && range.lowerBound >= 0 && range.upperBound <= shape[0], "slice \(range) of \(shape)")
    let row = shape.dropFirst().reduce(1, *)
    return Tensor(
      shape: [range.count] + shape.dropFirst(), storage: storage, offset: offset + range.lowerBound * row)
  }

  /// Entry `index` of the first axis, that axis dropped, sharing storage.
  public subscript(at index: Int) -> Tensor {
    slice(index..<index + 1).reshaped(Array(shape.dropFirst()))
  }

  /// Entries `range` along `axis`, copied unless `axis` is the first.
  public func narrowed(axis: Int, _ range: Range<Int>) -> Tensor {
    if axis == 0 { return slice(range) }
    precondition(axis < shape.count && range.lowerBound >= 0 && range.upperBound <= shape[axis])
    let outer = shape[..<axis].reduce(1, *), inner = shape[(axis + 1)...].reduce(1, *)
    var newShape = shape
    newShape[axis] = range.count
    let result = Tensor(uninitialized: newShape)
    let rowIn = shape[axis] * inner, rowOut = range.count * inner
    withFloats { source in
      guard rowOut > 0, let base = source.baseAddress else { return }
      for o in 0..<outer {
        (result.storage.pointer + o * rowOut).update(from: base + o * rowIn + range.lowerBound * inner, count: rowOut)
      }
    }
    return result
  }

  /// Entries `indices` along `axis`, in that order, copied.
  public func taking(_ indices: [Int], axis: Int) -> Tensor {
    let extent = shape[axis]
    precondition(indices.allSatisfy { $0 >= 0 && $0 < extent }, "indices outside axis \(axis) of \(shape)")
    let outer = shape[..<axis].reduce(1, *), inner = shape[(axis + 1)...].reduce(1, *)
    var newShape = shape
    newShape[axis] = indices.count
    let result = Tensor(uninitialized: newShape)
    withFloats { source in
      guard result.count > 0, let base = source.baseAddress else { return }
      for o in 0..<outer {
        for (position, index) in indices.enumerated() {
          (result.storage.pointer + (o * indices.count + position) * inner)
            .update(from: base + (o * extent + index) * inner, count: inner)
        }
      }
    }
    return result
  }

  /// Equal parts along `axis`.
  public func chunked(_ parts: Int, axis: Int) -> [Tensor] {
    precondition(shape[axis] % parts == 0, "\(shape) does not divide into \(parts) along axis \(axis)")
    let size = shape[axis] / parts
    return (0..<parts).map { narrowed(axis: axis, $0 * size..<($0 + 1) * size) }
  }

  /// Joins tensors of equal shape but for `axis`.
  public static func concatenated(_ tensors: [Tensor], axis: Int = 0) -> Tensor {
    precondition(!tensors.isEmpty, "nothing to join")
    var shape = tensors[0].shape
    for tensor in tensors.dropFirst() {
      var other = tensor.shape
      precondition(other.count == shape.count, "cannot join \(tensors[0].shape) and \(tensor.shape)")
      other[axis] = tensors[0].shape[axis]
      precondition(other == tensors[0].shape, "cannot join \(tensors[0].shape) and \(tensor.shape) along \(axis)")
      shape[axis] += tensor.shape[axis]
    }
    let outer = shape[..<axis].reduce(1, *), inner = shape[(axis + 1)...].reduce(1, *)
    let result = Tensor(uninitialized: shape)
    var column = 0
    for tensor in tensors {
      let row = tensor.shape[axis] * inner
      tensor.withFloats { source in
        guard row > 0, let base = source.baseAddress else { return }
        for o in 0..<outer {
          (result.storage.pointer + o * shape[axis] * inner + column).update(from: base + o * row, count: row)
        }
      }
      column += row
    }
    return result
  }

  /// Stacks copies of this tensor along its first axis.
  public func repeated(_ times: Int) -> Tensor {
    times == 1 ? self : Tensor.concatenated(Array(repeating: self, count: times), axis: 0)
  }

  /// Axes in a new order: axis `i` of the result is axis `axes[i]` of this tensor.
  public func permuted(_ axes: [Int]) -> Tensor {
    precondition(axes.sorted() == Array(0..<shape.count), "\(axes) does not permute \(shape)")
    // Merge axes that stay neighbours, so that the innermost copy is as long as can be.
    var groups: [[Int]] = []
    for axis in axes where shape[axis] != 1 {
      if let last = groups.last?.last, shape[(last + 1)..<max(axis, last + 1)].allSatisfy({ $0 == 1 }), axis > last {
        groups[groups.count - 1].append(axis)
      } else {
        groups.append([axis])
      }
    }
    let newShape = axes.map { shape[$0] }
    if groups.count <= 1 { return reshaped(newShape) }
    var strides = [Int](repeating: 1, count: shape.count)
    for axis in stride(from: shape.count - 2, through: 0, by: -1) {
      strides[axis] = strides[axis + 1] * shape[axis + 1]
    }
    let extents = groups.map { $0.reduce(1) { $0 * shape[$1] } }
    let steps = groups.map { strides[$0.last!] }
    let result = Tensor(uninitialized: newShape)
    guard count > 0 else { return result }
    let outerCount = extents.dropLast(2).reduce(1, *)
    let rows = extents[extents.count - 2], columns = extents[extents.count - 1]
    let rowStep = steps[steps.count - 2], columnStep = steps[steps.count - 1]
    withFloats { source in
      let base = source.baseAddress!
      let destination = result.storage.pointer
      ThreadPool.shared.forEach(outerCount * rows, grain: max(1, 65536 / columns)) { item in
        var remaining = item / rows, start = (item % rows) * rowStep
        for axis in stride(from: extents.count - 3, through: 0, by: -1) {
          start += remaining % extents[axis] * steps[axis]
          remaining /= extents[axis]
        }
        let out = destination + item * columns
        let input = base + start
        if columnStep == 1 {
          out.update(from: input, count: columns)
        } else {
          for c in 0..<columns { out[c] = input[c * columnStep] }
        }
      }
    }
    return result
  }

  /// Variadic spelling of ``permuted(_:)-([Int])``.
  public func permuted(_ axes: Int...) -> Tensor { permuted(axes) }

  /// Applies a function to every element; for small tensors and tests.
  public func map(_ transform: (Float) -> Float) -> Tensor { Tensor(shape, elements.map(transform)) }

  /// `true` when no element is infinite or NaN.
  public var isFinite: Bool {
    withFloats { isEachFinite(UnsafeRawBufferPointer($0), .float32) }
  }
}
