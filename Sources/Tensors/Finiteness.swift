import Synchronization

/// Whether no element of `bytes` is infinite or NaN, or will be as Float32. Integers always are finite.
func isEachFinite(_ bytes: UnsafeRawBufferPointer, _ type: ScalarType) -> Bool {
  let count = bytes.count / type.size, block = 1 << 18
  let isFinite = Atomic(true)
  ThreadPool.shared.forEach((count + block - 1) / block) { index in
    guard isFinite.load(ordering: .relaxed) else { return }
    let range = index * block * type.size..<min((index + 1) * block, count) * type.size
    let part = UnsafeRawBufferPointer(rebasing: bytes[range])
    if !type.isEachFinite(part) { isFinite.store(false, ordering: .relaxed) }
  }
  return isFinite.load(ordering: .relaxed)
}

extension ScalarType {
  /// The same, on this thread.
  public func isEachFinite(_ bytes: UnsafeRawBufferPointer) -> Bool {
    switch self {
    case .float64: isEachBelow(0x47ef_ffff_e000_0001 as UInt64, bytes)
    case .float32: isEachBelow(0x7f80_0000 as UInt32, bytes)
    case .float16: isEachBelow(0x7c00 as UInt16, bytes)
    case .bfloat16: isEachBelow(0x7f80 as UInt16, bytes)
    case .int64, .int32, .int16, .int8, .uint8, .bool: true
    }
  }
}

/// Whether all magnitudes are below a limit: as bits, which IEEE numbers' are in the order of their values, NaN last.
/// What is missing to the sign's bit is added to each, and those that reach it are caught; several at a time, in one
/// 64-bit word, since none carries further.
@inline(__always)
private func isEachBelow<Word: FixedWidthInteger & UnsignedInteger>(_ limit: Word, _ bytes: UnsafeRawBufferPointer)
  -> Bool
{
  let size = MemoryLayout<Word>.size, sign = Word(1) << (Word.bitWidth - 1), missing = sign - limit
  func repeated(_ word: Word) -> UInt64 {
    (0..<8 / size).reduce(0) { sum, place in sum | UInt64(word) << (UInt64(place) * UInt64(Word.bitWidth)) }
  }
  let magnitudes = repeated(sign - 1), addends = repeated(missing), signs = repeated(sign)
  let words = bytes.count / 8
  var reached: UInt64 = 0
  guard let base = bytes.baseAddress else { return true }
  for index in 0..<words {
    reached |= (base.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self) & magnitudes) &+ addends
  }
  var last: Word = 0
  for start in stride(from: 8 * words, to: bytes.count, by: size) {
    last |= (base.loadUnaligned(fromByteOffset: start, as: Word.self) & (sign - 1)) &+ missing
  }
  return reached & signs == 0 && last & sign == 0
}
