import Synchronization

/// Whether no element of `bytes` is infinite or NaN, or will be as Float32. Integers always are finite.
func isEachFinite(_ bytes: UnsafeRawBufferPointer, _ type: ScalarType) -> Bool {
  let count = bytes.count / type.size, block = 1 << 18
  let isFinite = Atomic(true)
  ThreadPool.shared.forEach((count + block - 1) / block) { index in
    guard isFinite.load(ordering: .relaxed) else { return }
    let range = index * block * type.size..<min((index + 1) * block, count) * type.size
    let part = UnsafeRawBufferPointer(rebasing: bytes[range])
    let isPartFinite =
      switch type {
      case .float64: largest(part, UInt64.self, mask: 0x7fff_ffff_ffff_ffff) <= 0x47ef_ffff_e000_0000
      case .float32: largest(part, UInt32.self, mask: 0x7fff_ffff) < 0x7f80_0000
      case .float16: largest(part, UInt16.self, mask: 0x7fff) < 0x7c00
      case .bfloat16: largest(part, UInt16.self, mask: 0x7fff) < 0x7f80
      case .int64, .int32, .int16, .int8, .uint8, .bool: true
      }
    if !isPartFinite { isFinite.store(false, ordering: .relaxed) }
  }
  return isFinite.load(ordering: .relaxed)
}

/// The largest magnitude as bits: of IEEE numbers, in the order of their values, NaN last.
@inline(__always)
private func largest<Word: FixedWidthInteger>(_ bytes: UnsafeRawBufferPointer, _: Word.Type, mask: Word) -> Word {
  var result: Word = 0
  for start in stride(from: 0, to: bytes.count, by: MemoryLayout<Word>.size) {
    result = max(result, bytes.loadUnaligned(fromByteOffset: start, as: Word.self) & mask)
  }
  return result
}
