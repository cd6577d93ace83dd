// PixArt-alpha (Chen et al. 2023, arXiv:2310.00426) and PixArt-Sigma (arXiv:2403.04692).
// Upstream: diffusers, models/transformers/pixart_transformer_2d.py.
import Checkpoints
import Kernels
import NN
import SparseAttention
import Tensors

/// `config.json` of a `PixArtTransformer2DModel`. Absent keys have the class's defaults.
public struct PixArtConfiguration: Decodable, Sendable {
  public var numAttentionHeads: Int?, attentionHeadDim: Int?, inChannels: Int?, outChannels: Int?, numLayers: Int?
  public var crossAttentionDim: Int?, captionChannels: Int?, sampleSize: Int?, patchSize: Int?
  public var attentionBias: Bool?, activationFn: String?, normType: String?, normElementwiseAffine: Bool?
  public var normEps: Float?, interpolationScale: Float?, useAdditionalConditions: Bool?
  public var attentionType: String?, numEmbedsAdaNorm: Int?
  /// Key/value compression, and whether it is in force: keys of our own, which diffusers does not have.
  public var kvCompressConfig: KeyValueCompressionConfiguration?, kvCompress: Bool?

  public var heads: Int { numAttentionHeads ?? 16 }
  public var headSize: Int { attentionHeadDim ?? 72 }
  /// Hidden size `D`.
  public var size: Int { heads * headSize }
  public var inputChannels: Int { inChannels ?? 4 }
  public var outputChannels: Int { outChannels ?? 8 }
  public var layers: Int { numLayers ?? 28 }
  public var patch: Int { patchSize ?? 2 }
  /// Side of the latents the model was made for.
  public var sample: Int { sampleSize ?? 128 }
  public var crossSize: Int { crossAttentionDim ?? 1152 }
  var epsilon: Float { normEps ?? 1e-6 }
  var scale: Float { interpolationScale ?? Float(max(sample / 64, 1)) }

  /// What the checkpoint says of key/value compression.
  func compression() throws -> CheckpointCompression {
    try CheckpointCompression(
      model: PixArtTransformer2DModel.className, layerCount: layers, configuration: kvCompressConfig,
      isActive: kvCompress)
  }

  func validate() throws {
    let model = PixArtTransformer2DModel.className
    func require(_ key: String, _ value: String?, _ supported: String) throws {
      if let value, value != supported {
        throw ModelError.unsupported(model: model, key: key, value: value, supported: supported)
      }
    }
    try require("norm_type", normType, "ada_norm_single")
    try require("attention_type", attentionType, "default")
    try require("norm_elementwise_affine", normElementwiseAffine.map(String.init), "false")
    try check(model, "num_attention_heads", heads, in: 1...1024)
    try check(model, "attention_head_dim", headSize, in: 1...1024)
    try check(model, "num_layers", layers, in: 1...1024)
    try check(model, "in_channels", inputChannels, in: 1...4096)
    try check(model, "out_channels", outputChannels, in: 1...8192)
    try check(model, "patch_size", patch, in: 1...64)
    try check(model, "sample_size", sample, in: patch...65536)
    try check(model, "hidden size modulo 4", size % 4, in: 0...0)
  }
}

/// What PixArt is told besides latents and time.
public struct PixArtConditioning {
  /// Text embeddings `[B, L, captionChannels]`.
  public var text: Tensor
  /// `[B, L]`, 0 where a token counts and -10000 where it is padding; `nil` when every token counts.
  public var keyBias: Tensor?
  /// Height and width in pixels, for checkpoints with size conditions.
  public var resolution: (height: Float, width: Float)?

  public init(text: Tensor, keyBias: Tensor? = nil, resolution: (height: Float, width: Float)? = nil) {
    (self.text, self.keyBias, self.resolution) = (text, keyBias, resolution)
  }
}

public struct PixArtTransformer2DModel: Denoiser {
  public static let className = "PixArtTransformer2DModel"

  public let configuration: PixArtConfiguration
  /// Whether resolution and aspect ratio are inputs. Decided by the tensors, since published configurations err.
  public let usesAdditionalConditions: Bool
  /// The layers that shorten keys and values; `nil` where none does.
  public let compressed: CompressedLayers?
  let positionEmbedding: PatchEmbed
  let blocks: [PixArtBlock]
  let timestepEmbedder: TimestepEmbedding
  let resolutionEmbedder: TimestepEmbedding?, aspectRatioEmbedder: TimestepEmbedding?
  let modulation: Linear
  let captionLinear1: Linear?, captionLinear2: Linear?
  let scaleShiftTable: Tensor
  let output: Linear

  public init(_ configuration: PixArtConfiguration, weights: WeightScope) throws {
    try self.init(configuration, weights: weights, compression: nil)
  }

  /// - Parameter choice: which layers shorten keys and values; `nil` is what the checkpoint says.
  public init(
    _ configuration: PixArtConfiguration, weights: WeightScope, compression choice: KeyValueCompression?
  ) throws {
    try configuration.validate()
    let size = configuration.size, outer = weights.withoutIntegers
    self.configuration = configuration
    let compression = try configuration.compression(), compressed = try compression.layers(for: choice)
    self.compressed = compressed
    positionEmbedding = try PatchEmbed(
      outer["pos_embed"], channels: configuration.inputChannels, patchSize: configuration.patch, size: size,
      sampleSize: configuration.sample, interpolationScale: configuration.scale)
    blocks = try (0..<configuration.layers).map { layer in
      let scope = weights["transformer_blocks"][layer]
      let compressor = try KeyValueCompressor.ofBlock(
        layer, scope, size, compressed, mayLeaveWeights: choice != nil || !compression.isActive, model: Self.className)
      return try PixArtBlock(scope, configuration, compressor)
    }
    let single = outer["adaln_single"], embedders = single["emb"]
    timestepEmbedder = try TimestepEmbedding(embedders["timestep_embedder"], 256, size)
    usesAdditionalConditions = embedders.contains("resolution_embedder.linear_1.weight")
    resolutionEmbedder =
      usesAdditionalConditions
      ? try TimestepEmbedding(embedders["resolution_embedder"], 256, size / 3) : nil
    aspectRatioEmbedder =
      usesAdditionalConditions
      ? try TimestepEmbedding(embedders["aspect_ratio_embedder"], 256, size / 3) : nil
    modulation = try Linear(single["linear"], size, 6 * size)
    if let channels = configuration.captionChannels {
      captionLinear1 = try Linear(outer["caption_projection"]["linear_1"], channels, size)
      captionLinear2 = try Linear(outer["caption_projection"]["linear_2"], size, size)
    } else {
      (captionLinear1, captionLinear2) = (nil, nil)
    }
    scaleShiftTable = try weights.tensor("scale_shift_table", 2, size)
    output = try Linear(
      outer["proj_out"], size, configuration.patch * configuration.patch * configuration.outputChannels)
  }

  public func callAsFunction(
    _ latents: Tensor, timestep: Float, conditioning: PixArtConditioning, call: DenoisingCall,
    attention: any AttentionEngine
  ) throws -> Tensor {
    let batch = latents.shape[0], size = configuration.size
    let height = latents.shape[2] / configuration.patch, width = latents.shape[3] / configuration.patch
    let embedded = try timestepEmbedding(timestep, conditioning.resolution)  // [1, D]
    let modulation = modulation(activated(embedded, .silu)).reshaped(1, 6, size)
    var text = conditioning.text
    if let captionLinear1, let captionLinear2 { text = captionLinear2(captionLinear1(text, .geluTanh)) }
    precondition(text.shape[0] == batch, "\(text.shape[0]) texts for \(batch) latents")

    var x = positionEmbedding(latents)  // [B, N, D]
    for (index, block) in blocks.enumerated() {
      let site = AttentionSite(
        layout: TokenLayout(height: height, width: width), layer: index, layerCount: blocks.count, call: call,
        heads: configuration.heads)
      x = try block(x, modulation: modulation, text: text, keyBias: conditioning.keyBias, attention, at: site)
      try checkFinite(x, layer: index)
    }
    let table = add(
      scaleShiftTable.reshaped(1, 2, size), Tensor.concatenated([embedded, embedded]).reshaped(1, 2, size))
    x = modulatedLayerNorm(x, epsilon: 1e-6, scale: modulationPart(table, 1), shift: modulationPart(table, 0))
    return unpatchify(output(x), height: height, width: width, patchSize: configuration.patch)
  }

  /// Time, and size where the checkpoint has it, as one vector `[1, D]`.
  private func timestepEmbedding(_ timestep: Float, _ resolution: (height: Float, width: Float)?) throws -> Tensor {
    let time = timestepEmbedder(sinusoidalEmbedding([timestep], size: 256, shift: 0))
    guard let resolutionEmbedder, let aspectRatioEmbedder else { return time }
    guard let resolution else {
      throw ModelError.invalid(
        model: Self.className, key: "resolution", value: "absent",
        expected: "height and width: this checkpoint has size conditions")
    }
    let sizes = resolutionEmbedder(sinusoidalEmbedding([resolution.height, resolution.width], size: 256, shift: 0))
    let aspect = aspectRatioEmbedder(sinusoidalEmbedding([resolution.height / resolution.width], size: 256, shift: 0))
    return add(time, Tensor.concatenated([sizes.reshaped(1, -1), aspect], axis: 1))
  }
}

/// Self-attention, cross-attention, feed-forward; all modulated by one shared vector plus a table of the block's own
/// (adaLN-single, paper section 2.3).
struct PixArtBlock {
  let selfAttention: AttentionProjections, crossAttention: AttentionProjections
  let compressor: KeyValueCompressor?
  let feedForward: FeedForward
  let scaleShiftTable: Tensor
  let epsilon: Float

  init(_ weights: WeightScope, _ config: PixArtConfiguration, _ compressor: KeyValueCompressor?) throws {
    self.compressor = compressor
    let bias = config.attentionBias ?? true
    selfAttention = try AttentionProjections(weights["attn1"], config.size, heads: config.heads, bias: bias)
    crossAttention = try AttentionProjections(
      weights["attn2"], config.size, contextSize: config.crossSize, heads: config.heads, bias: bias)
    let activation = try feedForwardActivation(
      config.activationFn ?? "gelu-approximate", model: PixArtTransformer2DModel.className)
    feedForward = try FeedForward(weights["ff"], config.size, activation: activation)
    scaleShiftTable = try weights.tensor("scale_shift_table", 6, config.size)
    epsilon = config.epsilon
  }

  /// - Parameters: x: `[B, N, D]`; modulation: `[1, 6, D]`; text: `[B, L, Dc]`; keyBias: `[B, L]`.
  func callAsFunction(
    _ x: Tensor, modulation: Tensor, text: Tensor, keyBias: Tensor?, _ attention: any AttentionEngine,
    at site: AttentionSite
  ) throws -> Tensor {
    let table = add(scaleShiftTable.reshaped(modulation.shape), modulation)
    let part = { modulationPart(table, $0) }
    let y = modulated(x, part(1), part(0), epsilon, selfAttention.precision)
    var x = try selfAttention.attend(y, onto: x, gate: part(2), attention, at: site, compressor: compressor)
    x = crossAttention.attended(x, to: text, keyBias: keyBias)
    return feedForward(modulated(x, part(4), part(3), epsilon, feedForward.precision), onto: x, gate: part(5))
  }
}
