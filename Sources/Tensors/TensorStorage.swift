/// Memory behind one or more tensors: a block of its own, or a view of a mapped file.
final class TensorStorage: @unchecked Sendable {
  let pointer: UnsafeMutablePointer<Float>
  let isWritable: Bool
  private let owner: AnyObject

  /// Memory for `count` values, aligned to a cache line.
  init(count: Int) {
    let block = MemoryBlock(count: max(count, 1), of: Float.self)
    pointer = block.pointer.assumingMemoryBound(to: Float.self)
    isWritable = true
    owner = block
  }

  /// A read-only view of memory that `owner` keeps alive.
  init(viewing pointer: UnsafePointer<Float>, owner: AnyObject) {
    self.pointer = UnsafeMutablePointer(mutating: pointer)
    isWritable = false
    self.owner = owner
  }
}
