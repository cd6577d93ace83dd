import Checkpoints
import Foundation
import Tensors

/// A safetensors file with one Float32 tensor under `latents`.
package func latentsFile(_ latents: Tensor) throws -> [UInt8] { try SafetensorsFile.bytes([("latents", latents)]) }

/// The latents in such a file.
package func readLatents(_ url: URL) throws -> Tensor {
  let file = try SafetensorsFile(url)
  guard let stored = file.tensors["latents"] else {
    throw PipelineError.badData(path: url.path, reason: "expected a tensor 'latents', found none")
  }
  return stored.floats()
}
