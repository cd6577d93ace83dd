import Tensors

/// A matrix that stays in its file. Its outputs are read and checked a few at a time by the thread that multiplies by them,
/// while they are in its caches: memory sees each weight once. They lie in the file as the left-hand side of a product
/// wants them, so they are one, and the rows they multiply are what is packed.
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

  /// Outputs that a thread takes at a time, of weights of `rowBytes` bytes an output: a multiple of 16 that fits a core's
  /// second-level cache beside other operands.
  public static func outputsAtATime(rowBytes: Int) -> Int { max(16, (640 << 10) / max(rowBytes, 1) / 16 * 16) }

  var outputsAtATime: Int { Self.outputsAtATime(rowBytes: stored.range.count / max(stored.shape[0], 1)) }

  /// Some outputs of some rows, computed by this thread.
  /// - Parameters:
  ///   - x: all rows `[m, inputs]`, packed; `rows` begin at a whole panel.
  ///   - bias: `[all outputs]`.
  ///   - c: where the first row's first result goes; rows of results lie `ldc` apart.
  func multiply(
    _ outputs: Range<Int>, _ x: PreparedMatrix, _ rows: Range<Int>, bias: Input?, _ c: Output, ldc: Int
  ) {
    let transposed = PackedBuffer<Float>(count: outputs.count * rows.count)
    read(outputs, x.precision).withRows {
      $0.multiply(0..<outputs.count, x, rows, bias: nil, transposed.pointer, ldc: rows.count)
    }
    Door.transpose(
      outputs.count, rows.count, transposed.pointer, bias: bias.map { $0 + outputs.lowerBound }, c, ldy: ldc)
  }

  /// Some outputs' weights, `[outputs, inputs]`.
  private func read(_ outputs: Range<Int>, _ precision: Precision) -> PreparedRows {
    let part = stored.slice(outputs), shape = [outputs.count, part.count / outputs.count]
    // Whole pairs of bf16 are rows as they lie.
    let bits = PackedBuffer<UInt16>(count: (part.range.count + 1) / 2)
    let bytes = UnsafeMutableRawBufferPointer(start: bits.pointer, count: part.range.count)
    if !part.file.read(part.range, into: bytes.baseAddress!.assumingMemoryBound(to: UInt8.self)) {
      onFault(.unreadable)
      bytes.initializeMemory(as: UInt8.self, repeating: 0)
    } else if !part.type.isEachFinite(UnsafeRawBufferPointer(bytes)) {
      onFault(.notFinite)
    }
    if part.type == .bfloat16, precision == .bfloat16, shape[1] % 2 == 0 { return PreparedRows(shape, bits: bits) }
    var values = Tensor(uninitialized: shape)
    values.withMutableFloats {
      widen(UnsafeRawBufferPointer(bytes), part.type, from: 0, count: part.count, into: $0.baseAddress!)
    }
    withExtendedLifetime(bits) {}
    return PreparedRows(values, precision: precision)
  }
}
