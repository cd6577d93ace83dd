// Wan 2.1 and 2.2 (Wan Team 2025, arXiv:2503.20314).
// Upstream: diffusers, models/transformers/transformer_wan.py.
import Checkpoints
import Kernels
import NN
import SparseAttention
import Tensors

/// `config.json` of a `WanTransformer3DModel`. Absent keys have the class's defaults.
public struct WanConfiguration: Decodable, Sendable {
  public var patchSize: [Int]?
  public var numAttentionHeads: Int?, attentionHeadDim: Int?, inChannels: Int?, outChannels: Int?
  public var textDim: Int?, freqDim: Int?, ffnDim: Int?, numLayers: Int?, ropeMaxSeqLen: Int?
  public var imageDim: Int?, addedKvProjDim: Int?
  public var crossAttnNorm: Bool?, qkNorm: String?, eps: Float?

  public var patch: [Int] { patchSize ?? [1, 2, 2] }
  public var heads: Int { numAttentionHeads ?? 40 }
  public var headSize: Int { attentionHeadDim ?? 128 }
  /// Hidden size `D`.
  public var size: Int { heads * headSize }
  public var inputChannels: Int { inChannels ?? 16 }
  public var outputChannels: Int { outChannels ?? inputChannels }
  public var layers: Int { numLayers ?? 40 }
  public var textSize: Int { textDim ?? 4096 }
  public var timeSize: Int { freqDim ?? 256 }
  public var hiddenSize: Int { ffnDim ?? 13824 }
  var normalizesContextQueries: Bool { crossAttnNorm ?? true }
  var epsilon: Float { eps ?? 1e-6 }
  /// Largest grid extent that upstream has rotary positions for.
  public var maxPositions: Int { ropeMaxSeqLen ?? 1024 }

  public func validate() throws {
    let model = WanTransformer3DModel.className
    if let qkNorm, qkNorm != "rms_norm_across_heads" {
      throw ModelError.unsupported(
        model: model, key: "qk_norm", value: qkNorm, supported: "rms_norm_across_heads")
    }
    guard imageDim == nil, addedKvProjDim == nil else {
      throw ModelError.unsupported(
        model: model, key: "image_dim", value: "\(imageDim ?? addedKvProjDim ?? 0)",
        supported: "null (text-to-video)")
    }
    guard patch.count == 3 else {
      throw ModelError.invalid(model: model, key: "patch_size", value: "\(patch)", expected: "three numbers")
    }
    for extent in patch { try check(model, "patch_size", extent, in: 1...64) }
    try check(model, "num_attention_heads", heads, in: 1...1024)
    try check(model, "attention_head_dim", headSize, in: 2...1024)
    try check(model, "attention_head_dim modulo 2", headSize % 2, in: 0...0)
    try check(model, "num_layers", layers, in: 1...1024)
    try check(model, "in_channels", inputChannels, in: 1...4096)
    try check(model, "out_channels", outputChannels, in: 1...4096)
    try check(model, "text_dim", textSize, in: 1...65536)
    try check(model, "freq_dim", timeSize, in: 2...65536)
    try check(model, "ffn_dim", hiddenSize, in: 1...1_048_576)
    try check(model, "rope_max_seq_len", maxPositions, in: 1...1_048_576)
  }
}

public struct WanTransformer3DModel: Denoiser {
  public static let className = "WanTransformer3DModel"

  public let configuration: WanConfiguration
  let patchEmbedding: Linear
  let timeEmbedder: TimestepEmbedding, timeProjection: Linear
  let textLinear1: Linear, textLinear2: Linear
  let blocks: [WanBlock]
  let scaleShiftTable: Tensor
  let output: Linear

  public init(_ configuration: WanConfiguration, weights: WeightScope) throws {
    try configuration.validate()
    let size = configuration.size, outer = weights.withoutIntegers
    self.configuration = configuration
    patchEmbedding = try Linear(
      patches: outer["patch_embedding"], channels: configuration.inputChannels, extents: configuration.patch, size)
    let condition = outer["condition_embedder"]
    // Upstream keeps what embeds time in float32.
    timeEmbedder = try TimestepEmbedding(
      condition["time_embedder"].with(.float32), configuration.timeSize, size)
    timeProjection = try Linear(condition["time_proj"], size, 6 * size)
    textLinear1 = try Linear(condition["text_embedder"]["linear_1"], configuration.textSize, size)
    textLinear2 = try Linear(condition["text_embedder"]["linear_2"], size, size)
    blocks = try (0..<configuration.layers).map { try WanBlock(weights["blocks"][$0], configuration) }
    scaleShiftTable = try weights.tensor("scale_shift_table", 1, 2, size)
    output = try Linear(outer["proj_out"], size, configuration.patch.reduce(1, *) * configuration.outputChannels)
  }

  /// - Parameters:
  ///   - latents: `[B, C, F, H, W]`.
  ///   - conditioning: text embeddings `[B, L, Dt]`, zero past the text's end; no key is masked, as upstream.
  /// - Returns: `[B, C', F, H, W]`.
  public func callAsFunction(
    _ latents: Tensor, timestep: Float, conditioning text: Tensor, call: DenoisingCall,
    attention: any AttentionEngine
  ) throws -> Tensor {
    let size = configuration.size, patch = configuration.patch
    precondition(latents.shape.count == 5 && text.shape[0] == latents.shape[0], "\(latents.shape), \(text.shape)")
    let grid = (0..<3).map { latents.shape[$0 + 2] / patch[$0] }
    for extent in grid where extent > configuration.maxPositions {
      throw ModelError.invalid(
        model: Self.className, key: "token grid", value: "\(grid)",
        expected: "at most rope_max_seq_len \(configuration.maxPositions) along each axis")
    }
    let rotary = RotaryEmbedding(grid: grid, headSize: configuration.headSize)
    let time = timeEmbedder(sinusoidalEmbedding([timestep], size: configuration.timeSize, shift: 0))  // [1, D]
    let modulation = timeProjection(activated(time, .silu)).reshaped(1, 6, size)
    let text = TextRows(text) { textLinear2(textLinear1($0, .geluTanh)) }

    var x = patchEmbedding(patchify(latents, patch: patch))  // [B, N, D]
    for (index, block) in blocks.enumerated() {
      let site = AttentionSite(
        layout: TokenLayout(frames: grid[0], height: grid[1], width: grid[2]), layer: index,
        layerCount: blocks.count, call: call, heads: configuration.heads)
      x = try block(x, modulation: modulation, text: text, rotary: rotary, attention, at: site)
      try checkFinite(x, layer: index)
    }
    let table = add(scaleShiftTable, Tensor.concatenated([time, time]).reshaped(1, 2, size))
    x = modulatedLayerNorm(
      x, epsilon: configuration.epsilon, scale: modulationPart(table, 1), shift: modulationPart(table, 0))
    return unpatchify(output(x), grid: grid, patch: patch)
  }
}

/// Self-attention with rotary positions, cross-attention to the text, feed-forward. Checkpoint: `attn1`, `attn2`,
/// `norm2`, `ffn`, `scale_shift_table`.
struct WanBlock {
  let selfAttention: WanAttention, crossAttention: WanAttention
  let crossNorm: LayerNorm?
  let feedForward: FeedForward
  let scaleShiftTable: Tensor
  let epsilon: Float

  init(_ weights: WeightScope, _ config: WanConfiguration) throws {
    selfAttention = try WanAttention(weights["attn1"], config)
    crossAttention = try WanAttention(weights["attn2"], config)
    crossNorm =
      config.normalizesContextQueries ? try LayerNorm(weights["norm2"], config.size, epsilon: config.epsilon) : nil
    feedForward = try FeedForward(
      weights["ffn"], config.size, hidden: config.hiddenSize, activation: .geluTanh)
    scaleShiftTable = try weights.tensor("scale_shift_table", 1, 6, config.size)
    epsilon = config.epsilon
  }

  /// - Parameters: x: `[B, N, D]`; modulation: `[1, 6, D]`.
  func callAsFunction(
    _ x: Tensor, modulation: Tensor, text: TextRows, rotary: RotaryEmbedding, _ engine: any AttentionEngine,
    at site: AttentionSite
  ) throws -> Tensor {
    let table = add(scaleShiftTable, modulation)
    let part = { modulationPart(table, $0) }
    let y = modulated(x, part(1), part(0), epsilon, selfAttention.precision)
    var x = try selfAttention(y, onto: x, gate: part(2), rotary, engine, at: site)
    let query = crossNorm?(x, crossAttention.precision) ?? PreparedRows(x, precision: crossAttention.precision)
    x = crossAttention(query, onto: x, text: text)
    return feedForward(modulated(x, part(4), part(3), epsilon, feedForward.precision), onto: x, gate: part(5))
  }
}

/// Attention whose queries and keys are normalised over all heads at once. Checkpoint: `to_q`, `to_k`, `to_v`,
/// `to_out.0`, `norm_q`, `norm_k`.
struct WanAttention {
  let q: Linear, k: Linear, v: Linear, out: Linear
  let queryNorm: RMSNorm, keyNorm: RMSNorm
  let heads: Int
  /// Of attention to the text.
  let textPrecision: Precision

  init(_ weights: WeightScope, _ config: WanConfiguration) throws {
    q = try Linear(weights["to_q"], config.size, config.size)
    k = try Linear(weights["to_k"], config.size, config.size)
    v = try Linear(weights["to_v"], config.size, config.size)
    out = try Linear(weights["to_out"][0], config.size, config.size)
    queryNorm = try RMSNorm(weights["norm_q"], config.size, epsilon: config.epsilon)
    keyNorm = try RMSNorm(weights["norm_k"], config.size, epsilon: config.epsilon)
    heads = config.heads
    textPrecision = weights.precision.besideIntegers
  }

  /// What its rows are prepared in.
  var precision: Precision { q.precision }

  /// Self-attention through the engine, as the end of a branch: `residual + gate * attention(x)`.
  /// - Parameter x: `[B, N, D]`.
  func callAsFunction(
    _ x: PreparedRows, onto residual: Tensor, gate: Tensor, _ rotary: RotaryEmbedding, _ engine: any AttentionEngine,
    at site: AttentionSite
  ) throws -> Tensor {
    let query = queryNorm(q(x), heads: heads, rotary), key = keyNorm(k(x), heads: heads, rotary)
    let attended = try engine(query, key, v(x, heads: heads), at: site)
    return out(PreparedRows(mergingHeads: attended, precision: out.precision), onto: residual, gate: gate)
  }

  /// `residual` plus the attention of `x` `[B, N, D]` to the text, always dense.
  func callAsFunction(_ x: PreparedRows, onto residual: Tensor, text: TextRows) -> Tensor {
    let rows = PreparedRows(text.rows, precision: k.precision)
    let query = queryNorm(q(x), heads: heads), key = keyNorm(k(rows), heads: heads)
    let attended = blockSparseAttention(
      query, key, v(rows, heads: heads), scale: 1 / Float(query.shape[3]).squareRoot(), precision: textPrecision,
      keyCounts: text.counts)
    return out(PreparedRows(mergingHeads: attended, precision: out.precision), onto: residual)
  }
}

/// Text as attention reads it. Prompts end long before the 512 rows that the model is given, and all rows past the end
/// are zero and read like any other (no key is masked, as upstream): they are equal keys with equal values, so one of
/// them does for all, counted as often as they are.
struct TextRows {
  /// `[B, L', D]`.
  let rows: Tensor
  /// Of each row, how many of the text's it stands for; `nil` is one each.
  let counts: [Int]?

  /// - Parameters:
  ///   - text: `[B, L, Dt]`.
  ///   - embed: rows to rows, each by itself.
  init(_ text: Tensor, embed: (Tensor) -> Tensor) {
    let length = text.shape[1], width = text.shape[2]
    let values = text.elements
    let equal = (1...length).prefix { count in
      (0..<text.shape[0]).allSatisfy { sample in
        let last = ((sample + 1) * length - 1) * width, row = last - (count - 1) * width
        return values[row..<row + width].elementsEqual(values[last..<last + width])
      }
    }.count
    guard equal > 1 else {
      (rows, counts) = (embed(text), nil)
      return
    }
    rows = embed(text.narrowed(axis: 1, 0..<length - equal + 1))
    counts = Array(repeating: 1, count: length - equal) + [equal]
  }
}
