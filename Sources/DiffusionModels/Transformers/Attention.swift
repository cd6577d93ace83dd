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

  /// What rows for `q`, `k` and `v` of self-attention are prepared in.
  var precision: Precision { q.precision }

  /// Self-attention through the engine, as the end of a branch: `residual + gate * attention(x)`.
  /// - Parameters:
  ///   - x: `[B, N, D]`.
  ///   - compressor: shortens keys and values, where the layer does so.
  func attend(
    _ x: PreparedRows, onto residual: Tensor, gate: Tensor, _ engine: any AttentionEngine, at site: AttentionSite,
    compressor: KeyValueCompressor? = nil
  ) throws -> Tensor {
    var site = site, keys: Tensor, values: Tensor
    if let compressor {
      site.keyGrid = try compressor.keyGrid(of: site.layout)
      keys = splitHeads(try compressor(k(x), of: site.layout), heads)
      values = splitHeads(try compressor(v(x), of: site.layout), heads)
    } else {
      (keys, values) = (k(x, heads: heads), v(x, heads: heads))
    }
    let attended = try engine(q(x, heads: heads), keys, values, at: site)
    return out(PreparedRows(mergingHeads: attended, precision: out.precision), onto: residual, gate: gate)
  }

  /// `x` plus its attention to a context, always dense.
  /// - Parameters:
  ///   - x: `[B, N, D]`.
  ///   - context: `[B, L, Dc]`.
  ///   - keyBias: `[B, L]`, large and negative at padding.
  func attended(_ x: Tensor, to context: Tensor, keyBias: Tensor?) -> Tensor {
    let query = q(PreparedRows(x, precision: q.precision), heads: heads)
    let context = PreparedRows(context, precision: k.precision)
    let attended = denseAttention(
      query, k(context, heads: heads), v(context, heads: heads),
      scale: 1 / Float(query.shape[3]).squareRoot(), keyBias: keyBias)
    return out(PreparedRows(mergingHeads: attended, precision: out.precision), onto: x)
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

/// Layer norm without weights, then `* (1 + scale) + shift`, as rows of products.
/// - Parameters: x: `[B, N, D]`; scale, shift: `[B, D]` or `[1, D]`.
func modulated(
  _ x: Tensor, _ scale: Tensor, _ shift: Tensor, _ epsilon: Float, _ precision: Precision
) -> PreparedRows {
  PreparedRows(layerNorm: x, epsilon: epsilon, scale: scale, shift: shift, onePlus: true, precision: precision)
}
