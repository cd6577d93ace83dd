import Tensors

/// A matrix that stays in its file. Its outputs are read, checked and packed a few at a time by the thread that multiplies
/// by them, while they are in its caches: memory sees each weight once.
public final class StreamedMatrix: Sendable {
  /// What can be wrong with a part of a matrix.
  public enum Fault: Sendable {
    case unreadable
    /// Infinities or NaN.
    case notFinite
  }
  public typealias FaultHandler = @Sendable (Fault) -> Void

  private let stored: StoredTensor
  private let onFault: FaultHandler

  init(_ stored: StoredTensor, _ onFault: @escaping FaultHandler) { (self.stored, self.onFault) = (stored, onFault) }

  /// Some outputs, packed by this thread.
  func packed(_ outputs: Range<Int>, _ precision: Precision) -> PreparedMatrix {
    let part = stored.slice(outputs), inputs = part.count / outputs.count
    let buffer = PackedBuffer<UInt8>(count: part.range.count)
    let bytes = UnsafeRawBufferPointer(start: buffer.pointer, count: part.range.count)
    if !part.file.read(part.range, into: buffer.pointer) {
      onFault(.unreadable)
      buffer.pointer.update(repeating: 0, count: bytes.count)
    } else if !part.type.isEachFinite(bytes) {
      onFault(.notFinite)
    }
    return withExtendedLifetime(buffer) {
      if part.type == .bfloat16, precision == .bfloat16 {
        let bits = bytes.baseAddress!.assumingMemoryBound(to: UInt16.self)
        return PreparedMatrix(bits: bits, outputs.count, inputs, parallel: false)
      }
      let values = PackedBuffer<Float>(count: part.count)
      widen(bytes, part.type, from: 0, count: part.count, into: values.pointer)
      return PreparedMatrix(values.pointer, outputs.count, inputs, precision, parallel: false)
    }
  }
}
