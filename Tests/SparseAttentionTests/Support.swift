import Kernels
import Tensors

@testable import SparseAttention

/// A site of a run over one layout: two layers, four steps, unless said otherwise.
func site(
  _ layout: TokenLayout, heads: Int = 1, step: Int = 0, of stepCount: Int = 4, layer: Int = 0, of layerCount: Int = 2,
  branch: Int = 0, keyGrid: KeyGrid? = nil
) -> AttentionSite {
  AttentionSite(
    layout: layout, layer: layer, layerCount: layerCount,
    call: DenoisingCall(step: step, of: stepCount, branch: branch),
    heads: heads, keyGrid: keyGrid)
}

/// The run that such sites belong to.
func context(_ layout: TokenLayout, heads: Int = 1, stepCount: Int = 4, layerCount: Int = 2) -> MethodContext {
  MethodContext(layout: layout, layerCount: layerCount, stepCount: stepCount, heads: heads)
}

/// The pattern that a method of the library has for every head.
func pattern(_ method: String, _ options: [String: String] = [:], over layout: TokenLayout) throws -> BlockPattern {
  let made = try AttentionMethods.standard.make(method, options: options, context: context(layout)).method
  return try (made as! any GeometricPlanner).plan(site(layout)).patterns[0]
}

extension BlockPattern {
  /// Share of pairs of blocks kept, whatever their sizes.
  var blockDensity: Double { Double(keptBlocks) / Double(rows * columns) }
}

/// Normal random values, the same for the same seed.
func random(_ shape: [Int], seed: UInt64) -> Tensor {
  var generator = PhiloxRandom(seed: seed)
  return generator.normal(shape)
}
