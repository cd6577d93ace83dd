import Tensors

/// The value at `rank` (0 is the smallest) of each row, were the row sorted.
///
/// Radix selection: three counts of the digits of the values' bits, 11, 11 and 10 at a time, each over the values that
/// share the digits found so far. Linear in the row's length whatever it holds, nothing is moved, and ties cost nothing.
/// - Parameter x: `[..., n]`.
/// - Returns: `[...]`.
public func orderStatistic(_ x: Tensor, rank: Int) -> Tensor {
  let count = x.shape[x.shape.count - 1]
  precondition(rank >= 0 && rank < count, "rank \(rank) of rows of \(count)")
  return x.writing(Array(x.shape.dropLast())) { input, output in
    ThreadPool.shared.forEach(x.count / count) { output[$0] = select(input + $0 * count, count, rank) }
  }
}

private func select(_ x: Input, _ count: Int, _ rank: Int) -> Float {
  var found: UInt32 = 0, known: UInt32 = 0, rank = rank
  withUnsafeTemporaryAllocation(of: Int.self, capacity: 2048) { counts in
    for (shift, bits) in [(21, 11), (10, 11), (0, 10)] as [(UInt32, UInt32)] {
      let digits: UInt32 = 1 << bits - 1
      counts.initialize(repeating: 0)
      for index in 0..<count {
        let key = ascendingKey(x[index])
        if key & known == found { counts[Int(key >> shift & digits)] += 1 }
      }
      var digit = 0
      while rank >= counts[digit] {
        rank -= counts[digit]
        digit += 1
      }
      found |= UInt32(digit) << shift
      known |= digits << shift
    }
  }
  return Float(bitPattern: found >> 31 == 1 ? found ^ 1 << 31 : ~found)
}

/// Bits that ascend as the values do.
@inline(__always)
private func ascendingKey(_ value: Float) -> UInt32 {
  let bits = value.bitPattern
  return bits >> 31 == 1 ? ~bits : bits | 1 << 31
}
