import Tensors

/// The mean of each block of tokens.
/// - Parameters:
///   - x: `[h, N, d]`.
///   - order: the token at each position.
///   - starts: ascending positions: block `b` runs from `starts[b]` to `starts[b + 1]`. What lies before the first and
///     after the last belongs to no block.
/// - Returns: `[h, blocks, d]`.
///
/// One item of work is one block of one head, its tokens added one after another in Float32: the bytes do not depend on
/// the number of threads.
public func blockMeans(_ x: Tensor, order: [Int32], starts: [Int32]) -> Tensor {
  let (heads, tokens, size) = (x.shape[0], x.shape[1], x.shape[2])
  precondition(
    starts.count > 1 && starts[0] >= 0 && Int(starts[starts.count - 1]) <= order.count
      && zip(starts, starts.dropFirst()).allSatisfy { $0 < $1 }, "block means: starts over \(order.count) positions")
  precondition(order.allSatisfy { $0 >= 0 && $0 < tokens }, "block means: an order names tokens beyond \(tokens)")
  let blocks = starts.count - 1
  return x.writing([heads, blocks, size]) { input, output in
    order.withUnsafeBufferPointer { order in
      ThreadPool.shared.forEach(heads * blocks, grain: 4) { item in
        let head = input + item / blocks * tokens * size, mean = output + item * size
        let first = Int(starts[item % blocks]), end = Int(starts[item % blocks + 1])
        func token(_ position: Int) -> Input { head + Int(order[position]) * size }
        mean.update(from: token(first), count: size)
        for position in first + 1..<end { Door.add(size, mean, token(position), mean) }
        let share = 1 / Float(end - first)
        for channel in 0..<size { mean[channel] *= share }
      }
    }
  }
}
