import Checkpoints
import Kernels
import NN
import SparseAttention
import Tensors

/// Shortens one layer's keys or values: each `ratio` x `ratio` area of visual tokens becomes one. Text tokens pass.
///
/// Upstream, `AttentionKVCompress.downsample_2d` in PixArt-sigma, diffusion/model/nets/PixArt_blocks.py at 1ce521a.
struct KeyValueCompressor: Sendable {
  /// Learned sums of areas, then a layer norm: one set of weights for keys and values.
  /// Checkpoint: `sr.weight` `[C, 1, R, R]`, `sr.bias` `[C]`, `norm.weight`, `norm.bias` `[C]`.
  private struct Convolution: Sendable {
    /// `[R, R, C]`.
    let weight: Tensor
    let bias: Tensor
    let norm: LayerNorm

    static let tensors = ["sr.weight", "sr.bias", "norm.weight", "norm.bias"]

    init(_ weights: WeightScope, _ size: Int, ratio: Int) throws {
      weight = try weights.tensor("sr.weight", size, 1, ratio, ratio).permuted(1, 2, 3, 0).reshaped(ratio, ratio, size)
      bias = try weights.tensor("sr.bias", size)
      norm = try LayerNorm(weights["norm"], size, epsilon: 1e-5)
    }
  }

  let mode: KeyValueCompression.Mode, ratio: Int
  private let convolution: Convolution?

  /// - Parameters:
  ///   - weights: of the self-attention; read for `conv` alone.
  ///   - size: width of the tokens.
  init(_ weights: WeightScope, _ size: Int, mode: KeyValueCompression.Mode, ratio: Int) throws {
    precondition(mode != .off, "a layer that does not compress has no compressor")
    (self.mode, self.ratio) = (mode, ratio)
    convolution = mode == .conv ? try Convolution(weights, size, ratio: ratio) : nil
  }

  /// The compressor of a transformer block; `nil` where the block does not compress.
  /// - Parameters:
  ///   - block: its scope. Weights lie at `attn1`, beside the projections as diffusers names them, or at `attn`, as in the
  ///     original repository.
  ///   - mayLeaveWeights: whether weights may stay unused: a user's choice, or a checkpoint's that is turned off.
  static func ofBlock(
    _ layer: Int, _ block: WeightScope, _ size: Int, _ compressed: CompressedLayers?, mayLeaveWeights: Bool,
    model: String
  ) throws -> KeyValueCompressor? {
    let stored = [block["attn1"], block["attn"]].first { $0.contains("sr.weight") }
    let own = compressed.flatMap { $0.layers.contains(layer) ? $0 : nil }
    if let stored, own?.mode != .conv {
      guard mayLeaveWeights else {
        throw ModelError.invalid(
          model: model, key: "kv_compress_config", value: "silent on layer \(layer)",
          expected: "sampling 'conv' there, since the layer has sr.weight; or kv_compress false")
      }
      Convolution.tensors.forEach(stored.skip)
    }
    return try own.map { try KeyValueCompressor(stored ?? block["attn1"], size, mode: $0.mode, ratio: $0.ratio) }
  }

  func keyGrid(of layout: TokenLayout) throws -> KeyGrid { try mode.keyGrid(ratio: ratio, of: layout) }

  /// `[B, N, C]` in model order to `[B, M, C]`, one row for each key of the grid; keys and values alike, before they are
  /// split into heads.
  func callAsFunction(_ x: Tensor, of layout: TokenLayout) throws -> Tensor {
    precondition(x.shape.count == 3 && x.shape[1] == layout.count, "compression: \(x.shape) of \(layout.count) tokens")
    let grid = try keyGrid(of: layout)
    switch mode {
    case .off: preconditionFailure("a compressor that is off")
    case .uniform, .nearest: return x.taking(grid.representatives(of: layout).map(Int.init), axis: 1)
    case .average: return visual(x, layout) { areaMeans($0, size: ratio) }
    case .conv:
      let convolution = convolution!
      return visual(x, layout) { convolution.norm(areaSums($0, weight: convolution.weight, bias: convolution.bias)) }
    }
  }

  /// Replaces the visual tokens by what `body` makes of each frame, `[B * F, H, W, C]` to `[B * F, H', W', C]`.
  private func visual(_ x: Tensor, _ layout: TokenLayout, _ body: (Tensor) -> Tensor) -> Tensor {
    let (batch, size) = (x.shape[0], x.shape[2]), end = layout.prefix + layout.visualCount
    let hasText = layout.prefix + layout.suffix > 0
    let tokens = hasText ? x.narrowed(axis: 1, layout.prefix..<end) : x
    let short = body(tokens.reshaped(batch * layout.frames, layout.height, layout.width, size)).reshaped(
      batch, -1, size)
    guard hasText else { return short }
    let parts = [x.narrowed(axis: 1, 0..<layout.prefix), short, x.narrowed(axis: 1, end..<layout.count)]
    return Tensor.concatenated(parts, axis: 1)
  }
}
