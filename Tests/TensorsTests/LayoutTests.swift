import Tensors
import Testing

/// Shapes of every rank to 5, with extents of 1 in all places, primes, and an empty one.
private let shapes: [[Int]] = [
  [], [1], [7], [0], [1, 1], [1, 5], [5, 1], [3, 4], [2, 0, 3], [1, 3, 1], [2, 3, 4], [4, 1, 5], [1, 1, 6], [6, 1, 1],
  [2, 1, 3, 1], [1, 2, 1, 3], [2, 3, 4, 5], [3, 1, 1, 4], [1, 1, 1, 1], [2, 3, 1, 2, 3], [1, 4, 1, 1, 3],
  [2, 2, 3, 1, 5],
]

/// Values that name their own place.
private func counted(_ shape: [Int]) -> Tensor {
  Tensor(shape, (0..<shape.reduce(1, *)).map(Float.init))
}

/// Every index of a shape, in row-major order.
private func indices(_ shape: [Int]) -> [[Int]] {
  shape.reduce([[]]) { partial, extent in partial.flatMap { index in (0..<extent).map { index + [$0] } } }
}

/// One element by arithmetic of its own.
private func element(_ tensor: Tensor, _ index: [Int]) -> Float {
  var position = 0
  for (place, extent) in zip(index, tensor.shape) { position = position * extent + place }
  return tensor.elements[position]
}

private func permutations(_ n: Int) -> [[Int]] {
  guard n > 0 else { return [[]] }
  return permutations(n - 1).flatMap { p in (0...p.count).map { Array(p[..<$0]) + [n - 1] + Array(p[$0...]) } }
}

struct LayoutTests {
  @Test(arguments: shapes) func permutedMovesEveryElement(shape: [Int]) {
    let tensor = counted(shape)
    for axes in permutations(shape.count) {
      let result = tensor.permuted(axes)
      #expect(result.shape == axes.map { shape[$0] })
      let values = result.elements
      for (position, index) in indices(result.shape).enumerated() {
        var source = index
        for (i, axis) in axes.enumerated() { source[axis] = index[i] }
        #expect(values[position] == element(tensor, source), "\(shape) by \(axes) at \(index)")
      }
    }
  }

  @Test func permutedOfSlicesAndLargeShapes() {
    let tensor = counted([6, 40, 50, 7])
    let part = tensor.slice(2..<5)
    for axes in permutations(4) {
      let result = part.permuted(axes)
      var back = [Int](repeating: 0, count: 4)
      for (i, axis) in axes.enumerated() { back[axis] = i }
      #expect(result.permuted(back) == part)
      #expect(element(result, axes.map { [1, 17, 33, 4][$0] }) == element(part, [1, 17, 33, 4]))
    }
  }

  @Test(arguments: shapes) func reshapedKeepsOrder(shape: [Int]) {
    let tensor = counted(shape)
    #expect(tensor.reshaped([tensor.count]).elements == tensor.elements)
    #expect(tensor.reshaped([tensor.count]).reshaped(shape) == tensor)
    #expect(tensor.reshaped([1, tensor.count, 1]).shape == [1, tensor.count, 1])
    if tensor.count > 0 { #expect(tensor.reshaped([1, -1]).shape == [1, tensor.count]) }
    #expect(tensor.reshaped(-1).shape == [tensor.count])
  }

  @Test(arguments: shapes.filter { !$0.isEmpty }) func narrowedAndConcatenated(shape: [Int]) {
    let tensor = counted(shape)
    for axis in shape.indices {
      for start in 0...shape[axis] {
        for end in start...shape[axis] {
          let part = tensor.narrowed(axis: axis, start..<end)
          var expected = shape
          expected[axis] = end - start
          #expect(part.shape == expected)
          let values = part.elements
          for (position, index) in indices(expected).enumerated() {
            var source = index
            source[axis] += start
            #expect(values[position] == element(tensor, source), "\(shape) axis \(axis) \(start)..<\(end) at \(index)")
          }
          let parts = [0..<start, start..<end, end..<shape[axis]].map { tensor.narrowed(axis: axis, $0) }
          #expect(Tensor.concatenated(parts, axis: axis) == tensor)
        }
      }
      if shape[axis] > 0 {
        #expect(Tensor.concatenated(tensor.chunked(shape[axis], axis: axis), axis: axis) == tensor)
      }
    }
    for index in 0..<shape[0] {
      #expect(tensor[at: index] == tensor.slice(index..<index + 1).reshaped(Array(shape.dropFirst())))
    }
  }

  @Test(arguments: shapes.filter { !$0.isEmpty && !$0.contains(0) }) func takingPicksEntriesInOrder(shape: [Int]) {
    let tensor = counted(shape)
    for axis in shape.indices {
      let picked = [shape[axis] - 1, 0, shape[axis] / 2, 0]
      let parts = picked.map { tensor.narrowed(axis: axis, $0..<$0 + 1) }
      #expect(tensor.taking(picked, axis: axis) == Tensor.concatenated(parts, axis: axis))
    }
    #expect(tensor.slice(0..<1).taking([], axis: 0).count == 0)
  }

  @Test func repeatedStacks() {
    let tensor = counted([2, 3])
    #expect(tensor.repeated(1) == tensor)
    #expect(tensor.repeated(3).shape == [6, 3])
    #expect(tensor.repeated(3).slice(4..<6) == tensor)
  }

  @Test func elementsByIndex() {
    var tensor = counted([2, 3, 4])
    for index in indices([2, 3, 4]) {
      #expect(tensor[index[0], index[1], index[2]] == element(tensor, index))
    }
    tensor[1, 2, 3] = -5
    #expect(tensor.elements.last == -5)
    #expect(Tensor([], [3])[] == 3)
  }

  @Test func writesDoNotReachCopies() {
    let original = counted([4, 3])
    var copy = original
    var view = original.slice(1..<3)
    var flat = original.reshaped(12)
    copy[0, 0] = 100
    view[0, 0] = 200
    flat[11] = 300
    #expect(original == counted([4, 3]))
    #expect(view.elements == [200, 4, 5, 6, 7, 8])
    #expect(flat.elements == (0..<11).map(Float.init) + [300])
    #expect(copy.elements == [100] + (1..<12).map(Float.init))
    // And the other way about: a view outlives a write to what it was cut from.
    var source = counted([4, 3])
    let part = source.slice(2..<4)
    source[2, 0] = -1
    #expect(part.elements == [6, 7, 8, 9, 10, 11])
    var permuted = source.permuted(0, 1)
    permuted[0, 0] = 9
    #expect(source[0, 0] == 0)
    var narrowed = source.narrowed(axis: 1, 0..<3)
    narrowed[0, 0] = 9
    #expect(source[0, 0] == 0)
  }

  @Test func equalityIsOfBytes() {
    #expect(Tensor([1], [.nan]) == Tensor([1], [.nan]))
    #expect(Tensor([1], [0]) != Tensor([1], [-0.0]))
    #expect(Tensor([2, 1], [1, 2]) != Tensor([1, 2], [1, 2]))
    #expect(Tensor([0], []) == Tensor(zeros: [0]))
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity]) func finiteness(value: Float) {
    var tensor = counted([100])
    #expect(tensor.isFinite)
    tensor[57] = value
    #expect(!tensor.isFinite)
    #expect(Tensor([2], [.greatestFiniteMagnitude, .greatestFiniteMagnitude]).isFinite)
    #expect(Tensor(zeros: [0]).isFinite)
  }
}
