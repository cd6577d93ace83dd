import Foundation
import Tensors

extension SafetensorsFile {
  /// The bytes of a file of Float32 tensors, in the order given.
  /// - Parameter metadata: free-form strings.
  public static func bytes(
    _ tensors: [(name: String, tensor: Tensor)], metadata: [String: String] = [:]
  ) throws -> [UInt8] {
    func quoted(_ text: String) throws -> String { String(decoding: try JSONEncoder().encode(text), as: UTF8.self) }
    var entries: [String] = [], end = 0
    if !metadata.isEmpty {
      let pairs = try metadata.sorted { $0.key < $1.key }.map { "\(try quoted($0.key)):\(try quoted($0.value))" }
      entries.append(#""__metadata__":{\#(pairs.joined(separator: ","))}"#)
    }
    for (name, tensor) in tensors {
      let shape = tensor.shape.map(String.init).joined(separator: ","), start = end
      end += 4 * tensor.count
      entries.append(#"\#(try quoted(name)):{"dtype":"F32","shape":[\#(shape)],"data_offsets":[\#(start),\#(end)]}"#)
    }
    var header = "{\(entries.joined(separator: ","))}"
    header += String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(8 + header.utf8.count + end)
    for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: header.utf8.count >> shift)) }
    bytes += Array(header.utf8)
    for (_, tensor) in tensors {
      for value in tensor.elements {
        let bits = value.bitPattern
        bytes.append(UInt8(truncatingIfNeeded: bits))
        bytes.append(UInt8(truncatingIfNeeded: bits >> 8))
        bytes.append(UInt8(truncatingIfNeeded: bits >> 16))
        bytes.append(UInt8(truncatingIfNeeded: bits >> 24))
      }
    }
    return bytes
  }
}
