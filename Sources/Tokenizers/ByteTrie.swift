/// Byte strings with a number each, for finding every one that starts at a given place.
///
/// Keys are compared as bytes: Swift's `String` would call "é" and "e" with an accent the same piece.
struct ByteTrie: Sendable {
  /// Node `n` has children `firstChild[n]..<firstChild[n + 1]`, sorted by label. Node 0 is the root.
  private var firstChild: [Int32] = []
  private var label: [UInt8] = []
  /// The key's number, or -1.
  private var number: [Int32] = []

  /// Of equal keys, the last one counts. Empty keys are never found.
  init(_ keys: [[UInt8]]) {
    let order = keys.indices.sorted { left, right in
      keys[left] == keys[right] ? left < right : keys[left].lexicographicallyPrecedes(keys[right])
    }
    // Breadth first, so that the children of a node are neighbours. A node is a range of `order` sharing `depth` bytes.
    var level: [(range: Range<Int>, depth: Int)] = [(order.indices, 0)]
    label.append(0)
    while !level.isEmpty {
      var next: [(range: Range<Int>, depth: Int)] = []
      for (range, depth) in level {
        var start = range.lowerBound
        while start < range.upperBound, keys[order[start]].count == depth { start += 1 }
        number.append(start > range.lowerBound && depth > 0 ? Int32(order[start - 1]) : -1)
        firstChild.append(Int32(label.count))
        while start < range.upperBound {
          let byte = keys[order[start]][depth]
          var end = start + 1
          while end < range.upperBound, keys[order[end]][depth] == byte { end += 1 }
          label.append(byte)
          next.append((start..<end, depth + 1))
          start = end
        }
      }
      level = next
    }
    firstChild.append(Int32(label.count))
  }

  /// Calls `body` with the end and number of each key that starts at `start`, shortest first.
  func forEachPrefix(of bytes: [UInt8], from start: Int, _ body: (_ end: Int, _ number: Int) -> Void) {
    var node = 0, position = start
    while position < bytes.count, let child = child(of: node, bytes[position]) {
      node = child
      position += 1
      if number[node] >= 0 { body(position, Int(number[node])) }
    }
  }

  /// The number of a whole key.
  func number(of key: some Sequence<UInt8>) -> Int? {
    var node = 0
    for byte in key {
      guard let child = child(of: node, byte) else { return nil }
      node = child
    }
    return number[node] < 0 ? nil : Int(number[node])
  }

  private func child(of node: Int, _ byte: UInt8) -> Int? {
    var low = Int(firstChild[node]), high = Int(firstChild[node + 1])
    while low < high {
      let middle = (low + high) / 2
      if label[middle] == byte { return middle }
      if label[middle] < byte { low = middle + 1 } else { high = middle }
    }
    return nil
  }
}
