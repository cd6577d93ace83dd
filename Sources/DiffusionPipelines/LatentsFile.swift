import Checkpoints
import Foundation
import Tensors

/// A safetensors file with one Float32 tensor under `latents`.
package func latentsFile(_ latents: Tensor) -> [UInt8] {
  let shape = latents.shape.map(String.init).joined(separator: ",")
  let byteCount = 4 * latents.count
  var header = #"{"latents":{"dtype":"F32","shape":[\#(shape)],"data_offsets":[0,\#(byteCount)]}}"#
  header += String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
  var bytes: [UInt8] = []
  bytes.reserveCapacity(8 + header.utf8.count + byteCount)
  for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: header.utf8.count >> shift)) }
  bytes += Array(header.utf8)
  for value in latents.elements {
    let bits = value.bitPattern
    bytes.append(UInt8(truncatingIfNeeded: bits))
    bytes.append(UInt8(truncatingIfNeeded: bits >> 8))
    bytes.append(UInt8(truncatingIfNeeded: bits >> 16))
    bytes.append(UInt8(truncatingIfNeeded: bits >> 24))
  }
  return bytes
}

/// The latents in such a file.
package func readLatents(_ url: URL) throws -> Tensor {
  let file = try SafetensorsFile(url)
  guard let stored = file.tensors["latents"] else {
    throw PipelineError.badData(path: url.path, reason: "expected a tensor 'latents', found none")
  }
  return stored.floats()
}
