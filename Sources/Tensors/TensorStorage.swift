#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Memory behind one or more tensors: its own allocation, or a view of a mapped file.
final class TensorStorage: @unchecked Sendable {
  let pointer: UnsafeMutablePointer<Float>
  let isWritable: Bool
  private let owner: AnyObject?

  /// Memory for `count` values, aligned to a cache line.
  init(count: Int) {
    let (bytes, overflow) = Swift.max(count, 1).multipliedReportingOverflow(by: MemoryLayout<Float>.stride)
    precondition(!overflow, "tensor of \(count) elements")
    var raw: UnsafeMutableRawPointer?
    let status = posix_memalign(&raw, 64, bytes)
    precondition(status == 0 && raw != nil, "out of memory allocating \(bytes) bytes")
    pointer = raw!.assumingMemoryBound(to: Float.self)
    isWritable = true
    owner = nil
  }

  /// A read-only view of memory that `owner` keeps alive.
  init(viewing pointer: UnsafePointer<Float>, owner: AnyObject) {
    self.pointer = UnsafeMutablePointer(mutating: pointer)
    isWritable = false
    self.owner = owner
  }

  deinit { if owner == nil { free(pointer) } }
}
