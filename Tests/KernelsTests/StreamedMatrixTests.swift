import Foundation
import Kernels
import Synchronization
import Tensors
import Testing

/// A matrix read while it is used gives the bytes of one that is prepared as a whole.
@Suite struct StreamedMatrixTests {
  private static func stored(_ matrix: Tensor, _ type: ScalarType) throws -> StoredTensor {
    let url = FileManager.default.temporaryDirectory.appending(path: "streamed-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: url) }
    // Three bytes first: nothing is aligned.
    var bytes = Data([1, 2, 3])
    for value in matrix.elements {
      switch type {
      case .bfloat16: withUnsafeBytes(of: UInt16(value.bitPattern >> 16)) { bytes.append(contentsOf: $0) }
      case .float64: withUnsafeBytes(of: Double(value).bitPattern) { bytes.append(contentsOf: $0) }
      default: withUnsafeBytes(of: value.bitPattern) { bytes.append(contentsOf: $0) }
      }
    }
    try bytes.write(to: url)
    return StoredTensor(
      type: type, shape: matrix.shape, file: try MappedFile(path: url.path), range: 3..<bytes.count)
  }

  @Test(arguments: [Precision.float32, .bfloat16], [ScalarType.float32, .bfloat16, .float64])
  func sameBytes(_ precision: Precision, _ type: ScalarType) throws {
    // 102 outputs of 37 inputs, odd; 102 of 5,120, read 64 or fewer at a time. 1,100 rows: two blocks.
    for inputs in [37, 5120] {
      let matrix = try Self.stored(caseTensor([102, inputs], seed: 1), type), bias = caseTensor([102], seed: 2)
      let whole = PreparedMatrix(matrix, precision: precision)
      let streamed = PreparedMatrix(streaming: matrix, precision: precision) { Issue.record("\($0)") }
      for rows in inputs == 37 ? [1, 75, 1100] : [75] {
        let x = PreparedRows(caseTensor([1, rows, inputs], seed: 3), precision: precision)
        #expect(linear(x, streamed, activation: .silu) == linear(x, whole, activation: .silu))
        #expect(linear(x, streamed, heads: 3) == linear(x, whole, heads: 3))
        // A bias is added at the end of one sum and at the beginning of the other.
        let sums = (linear(x, streamed, bias: bias), linear(x, whole, bias: bias))
        #expect(zip(sums.0.elements, sums.1.elements).allSatisfy { abs($0 - $1) <= 1e-3 })
      }
    }
  }

  @Test(arguments: [ScalarType.float32, .bfloat16, .float64]) func saysWhatIsNoNumber(_ type: ScalarType) throws {
    for value in [Float.nan, .infinity, -.infinity] {
      var elements = caseTensor([102, 37], seed: 1).elements
      elements[101 * 37 + 36] = value
      let faults = Mutex<[StreamedMatrix.Fault]>([])
      let matrix = PreparedMatrix(streaming: try Self.stored(Tensor([102, 37], elements), type), precision: .float32) {
        fault in faults.withLock { $0.append(fault) }
      }
      _ = linear(caseTensor([1, 2, 37], seed: 3), matrix)
      #expect(faults.withLock { $0 } == [.notFinite])
    }
  }

  @Test func saysWhatCannotBeRead() throws {
    let url = FileManager.default.temporaryDirectory.appending(path: "streamed-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: url) }
    try Data(count: 48 * 37 * 4).write(to: url)
    let stored = StoredTensor(
      type: .float32, shape: [48, 37], file: try MappedFile(path: url.path), range: 0..<48 * 37 * 4)
    let faults = Mutex<[StreamedMatrix.Fault]>([])
    let matrix = PreparedMatrix(streaming: stored, precision: .float32) { fault in faults.withLock { $0.append(fault) }
    }
    let shorter = try FileHandle(forWritingTo: url)
    try shorter.truncate(atOffset: 100)
    #expect(linear(caseTensor([1, 2, 37], seed: 3), matrix) == Tensor(zeros: [1, 2, 48]))
    #expect(faults.withLock { $0 } == [.unreadable])
  }
}
