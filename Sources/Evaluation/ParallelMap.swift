import Synchronization
import Tensors

/// The results of `body` for every index in `0 ..< count`, in order, computed in parallel.
func parallelMap<T: Sendable>(_ count: Int, _ body: (Int) -> T) -> [T] {
  let results = Mutex<[T?]>(Array(repeating: nil, count: count))
  ThreadPool.shared.forEach(count) { index in
    let value = body(index)
    results.withLock { $0[index] = value }
  }
  return results.withLock { values in values.map { $0! } }
}
