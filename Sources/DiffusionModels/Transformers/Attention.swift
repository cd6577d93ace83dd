import Checkpoints
import Kernels
import NN
import SparseAttention
import Tensors

/// The projections of a multi-head attention. Checkpoint: `to_q`, `to_k`, `to_v`, `to_out.0` (diffusers `Attention`).
struct AttentionProjections {
  let q: Linear, k: Linear, v: Linear, out: Linear, heads: Int

  /// - Parameters:
  ///   - size: width of the tokens, `h * d`.
  ///   - contextSize: width of the tokens that keys and values come from.
  init(_ weights: WeightScope, _ size: Int, contextSize: Int? = nil, heads: Int, bias: Bool) throws {
    q = try Linear(weights["to_q"], size, size, bias: bias)
    k = try Linear(weights["to_k"], contextSize ?? size, size, bias: bias)
    v = try Linear(weights["to_v"], contextSize ?? size, size, bias: bias)
    out = try Linear(weights["to_out"][0], size, size)
    self.heads = heads
  }

  /// Self-attention of `x` `[B, N, D]` through the engine.
  /// - Parameter compressor: shortens keys and values, where the layer does so.
  func attend(
    _ x: Tensor, _ engine: any AttentionEngine, at site: AttentionSite, compressor: KeyValueCompressor? = nil
  ) throws -> Tensor {
    var site = site, keys = k(x), values = v(x)
    if let compressor {
      site.keyGrid = try compressor.keyGrid(of: site.layout)
      keys = try compressor(keys, of: site.layout)
      values = try compressor(values, of: site.layout)
    }
    let attended = try engine(splitHeads(q(x), heads), splitHeads(keys, heads), splitHeads(values, heads), at: site)
    return out(mergeHeads(attended))
  }

  /// Attention of `x` `[B, N, D]` to a context `[B, L, Dc]`, always dense.
  /// - Parameter keyBias: `[B, L]`, large and negative at padding.
  func attend(_ x: Tensor, to context: Tensor, keyBias: Tensor?) -> Tensor {
    let query = splitHeads(q(x), heads)
    let attended = denseAttention(
      query, splitHeads(k(context), heads), splitHeads(v(context), heads),
      scale: 1 / Float(query.shape[3]).squareRoot(), keyBias: keyBias)
    return out(mergeHeads(attended))
  }
}

/// Reads `activation_fn` of a diffusers transformer.
func feedForwardActivation(_ name: String, model: String) throws -> Activation {
  switch name {
  case "gelu-approximate": return .geluTanh
  case "gelu": return .geluErf
  default:
    throw ModelError.unsupported(
      model: model, key: "activation_fn", value: name, supported: "gelu-approximate, gelu")
  }
}

/// Row `index` of `[B, parts, D]` modulation vectors as `[B, D]`.
func modulationPart(_ table: Tensor, _ index: Int) -> Tensor {
  table.narrowed(axis: 1, index..<index + 1).reshaped(table.shape[0], table.shape[2])
}
