import Foundation
import Tensors
import Testing

struct StoredTensorTests {
  /// A tensor in a file of its own, `lead` bytes from the start, so that it may lie unaligned.
  private func stored<T>(_ type: ScalarType, _ values: [T], shape: [Int]? = nil, lead: Int = 0) throws -> StoredTensor {
    let url = FileManager.default.temporaryDirectory.appending(path: "stored-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: url) }
    let bytes = [UInt8](repeating: 0xaa, count: lead) + values.withUnsafeBytes { Array($0) }
    try Data(bytes).write(to: url)
    return StoredTensor(
      type: type, shape: shape ?? [values.count], file: try MappedFile(path: url.path), range: lead..<bytes.count)
  }

  @Test func everyHalf() throws {
    let values = try stored(.float16, Array(UInt16.min...UInt16.max)).floats().elements
    #expect(values.count == 65536)
    #if arch(arm64) || os(Linux)
      for (pattern, value) in values.enumerated() {
        let expected = Float(Float16(bitPattern: UInt16(pattern)))
        let same = expected.isNaN ? value.isNaN : value.bitPattern == expected.bitPattern
        #expect(same, "pattern \(pattern): \(value), expected \(expected)")
      }
    #endif
  }

  @Test func everyBrainFloat() throws {
    let values = try stored(.bfloat16, Array(UInt16.min...UInt16.max)).floats().elements
    for (pattern, value) in values.enumerated() { #expect(value.bitPattern == UInt32(pattern) << 16) }
  }

  @Test(arguments: [0, 1, 2, 3, 4, 8]) func floatsAtAnyPlace(lead: Int) throws {
    let values: [Float] = [0, -0.0, 1.5, -.infinity, .leastNonzeroMagnitude, .nan, 3e38]
    let result = try stored(.float32, values, lead: lead).floats()
    #expect(result == Tensor([7], values))
    let doubles: [Double] = [0, 1e-300, 1 / 3, -2.5e30, .infinity]
    #expect(try stored(.float64, doubles, lead: lead).floats().elements == doubles.map { Float($0) })
  }

  @Test(arguments: [0, 1, 3]) func integersAtAnyPlace(lead: Int) throws {
    func check<T: FixedWidthInteger>(_ type: ScalarType, _ values: [T]) throws {
      let tensor = try stored(type, values, lead: lead)
      #expect(tensor.integers() == values.map { Int($0) }, "\(type)")
      #expect(tensor.floats().elements == values.map { Float($0) }, "\(type)")
    }
    try check(.int64, [0, -1, 1 << 40, .min, .max] as [Int64])
    try check(.int32, [0, -1, 77_777, .min, .max] as [Int32])
    try check(.int16, [0, -1, 300, .min, .max] as [Int16])
    try check(.int8, Array(Int8.min...Int8.max))
    try check(.uint8, Array(UInt8.min...UInt8.max))
    try check(.bool, [0, 1, 1, 0] as [UInt8])
    for type in [ScalarType.float64, .float32, .float16, .bfloat16] {
      #expect(try stored(type, [UInt64](repeating: 0, count: 2), shape: [16 / type.size]).integers() == nil)
    }
  }

  /// More than one block of the parallel conversion, not a multiple of it.
  @Test func largeAndShaped() throws {
    let values = (0..<200_003).map { UInt16(truncatingIfNeeded: $0 &* 31) }
    let tensor = try stored(.bfloat16, values, shape: [1, 200_003], lead: 1).floats()
    #expect(tensor.shape == [1, 200_003])
    #expect(tensor.elements.map(\.bitPattern) == values.map { UInt32($0) << 16 })
  }

  @Test func emptyAndScalar() throws {
    #expect(try stored(.float32, [Float](), shape: [0, 4]).floats().shape == [0, 4])
    #expect(try stored(.float16, [UInt16](), shape: [0]).floats().elements.isEmpty)
    #expect(try stored(.float32, [2.5 as Float], shape: []).floats() == Tensor([], [2.5]))
  }

  /// A view of a file is copied before it is written, and stays valid when pages are dropped.
  @Test func viewsAreCopiedOnWrite() throws {
    let source = try stored(.float32, (0..<5000).map(Float.init))
    let view = source.floats()
    var copy = view
    copy[7] = -1
    source.discardPages()
    #expect(view[7] == 7 && copy[7] == -1)
    #expect(source.floats() == view)
  }

  @Test func missingFiles() {
    #expect {
      try MappedFile(path: "no/such/file")
    } throws: { ($0 as? MappedFile.Failure)?.isMissing == true }
    #expect {
      try MappedFile(path: FileManager.default.temporaryDirectory.path)
    } throws: { ($0 as? MappedFile.Failure)?.isMissing == false }
  }
}
