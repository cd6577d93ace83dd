// DiT (Peebles and Xie 2022, arXiv:2212.09748).
// Upstream: diffusers, models/transformers/dit_transformer_2d.py.
import Checkpoints
import Kernels
import NN
import SparseAttention
import Tensors

/// `config.json` of a `DiTTransformer2DModel`. Absent keys have the class's defaults.
public struct DiTConfiguration: Decodable, Sendable {
  public var numAttentionHeads: Int?, attentionHeadDim: Int?, inChannels: Int?, outChannels: Int?, numLayers: Int?
  public var sampleSize: Int?, patchSize: Int?, numEmbedsAdaNorm: Int?
  public var attentionBias: Bool?, activationFn: String?, normType: String?, normElementwiseAffine: Bool?
  public var normEps: Float?

  public var heads: Int { numAttentionHeads ?? 16 }
  public var headSize: Int { attentionHeadDim ?? 72 }
  /// Hidden size `D`.
  public var size: Int { heads * headSize }
  public var inputChannels: Int { inChannels ?? 4 }
  public var outputChannels: Int { outChannels ?? inputChannels }
  public var layers: Int { numLayers ?? 28 }
  public var patch: Int { patchSize ?? 2 }
  /// Side of the latents the model was made for.
  public var sample: Int { sampleSize ?? 32 }
  /// Classes, without the null class, whose index this is.
  public var classes: Int { numEmbedsAdaNorm ?? 1000 }

  func validate() throws {
    let model = DiTTransformer2DModel.className
    if let normType, normType != "ada_norm_zero" {
      throw ModelError.unsupported(model: model, key: "norm_type", value: normType, supported: "ada_norm_zero")
    }
    if normElementwiseAffine == true {
      throw ModelError.unsupported(model: model, key: "norm_elementwise_affine", value: "true", supported: "false")
    }
    try check(model, "num_attention_heads", heads, in: 1...1024)
    try check(model, "attention_head_dim", headSize, in: 1...1024)
    try check(model, "num_layers", layers, in: 1...1024)
    try check(model, "in_channels", inputChannels, in: 1...4096)
    try check(model, "out_channels", outputChannels, in: 1...8192)
    try check(model, "patch_size", patch, in: 1...64)
    try check(model, "sample_size", sample, in: patch...65536)
    try check(model, "num_embeds_ada_norm", classes, in: 1...10_000_000)
    try check(model, "hidden size modulo 4", size % 4, in: 0...0)
  }
}

public struct DiTTransformer2DModel: Denoiser {
  public static let className = "DiTTransformer2DModel"

  public let configuration: DiTConfiguration
  let positionEmbedding: PatchEmbed
  let blocks: [DiTBlock]
  let outputModulation: Linear, output: Linear

  public init(_ configuration: DiTConfiguration, weights: WeightScope) throws {
    try configuration.validate()
    let size = configuration.size, outer = weights.withoutIntegers
    self.configuration = configuration
    positionEmbedding = try PatchEmbed(
      outer["pos_embed"], channels: configuration.inputChannels, patchSize: configuration.patch, size: size,
      sampleSize: configuration.sample, interpolationScale: 1)
    var blocks: [DiTBlock] = []
    for index in 0..<configuration.layers {
      blocks.append(
        try DiTBlock(weights["transformer_blocks"][index], configuration, first: blocks.first?.embedder))
    }
    self.blocks = blocks
    outputModulation = try Linear(outer["proj_out_1"], size, 2 * size)
    output = try Linear(
      outer["proj_out_2"], size, configuration.patch * configuration.patch * configuration.outputChannels)
  }

  /// - Parameter conditioning: class labels, one a sample; the number of classes itself is the null class.
  public func callAsFunction(
    _ latents: Tensor, timestep: Float, conditioning: [Int], call: DenoisingCall, attention: any AttentionEngine
  ) throws -> Tensor {
    precondition(conditioning.count == latents.shape[0], "\(conditioning.count) labels for \(latents.shape)")
    let height = latents.shape[2] / configuration.patch, width = latents.shape[3] / configuration.patch
    var x = positionEmbedding(latents)  // [B, N, D]
    for (index, block) in blocks.enumerated() {
      let site = AttentionSite(
        layout: TokenLayout(height: height, width: width), layer: index, layerCount: blocks.count, call: call,
        heads: configuration.heads)
      x = try block(x, timestep: timestep, labels: conditioning, attention, at: site)
      try checkFinite(x, layer: index)
    }
    let embedded = blocks[0].embedder(timestep, conditioning)
    let table = outputModulation(activated(embedded, .silu)).reshaped(latents.shape[0], 2, configuration.size)
    x = modulatedLayerNorm(x, epsilon: 1e-6, scale: modulationPart(table, 1), shift: modulationPart(table, 0))
    return unpatchify(output(x), height: height, width: width, patchSize: configuration.patch)
  }
}

/// Time plus class, as one vector. Checkpoints repeat these tensors in every block; equal copies are prepared once.
final class DiTConditionEmbedder {
  let timestep: TimestepEmbedding
  let classes: StoredTensor
  private let weights: WeightScope

  init(_ weights: WeightScope, _ config: DiTConfiguration) throws {
    self.weights = weights
    timestep = try TimestepEmbedding(weights["timestep_embedder"], 256, config.size)
    classes = try weights["class_embedder"].stored("embedding_table.weight", [config.classes + 1, config.size])
  }

  /// `[labels.count, D]`.
  func callAsFunction(_ time: Float, _ labels: [Int]) -> Tensor {
    let embedded = timestep(sinusoidalEmbedding([time], size: 256, shift: 1))
    return add(embedded.repeated(labels.count), classes.rows(labels))
  }

  /// This embedder if `other` holds the same bytes, else one made from `other`.
  func orDistinct(_ other: WeightScope, _ config: DiTConfiguration) throws -> DiTConditionEmbedder {
    let size = config.size
    let tensors: [(String, [Int])] = [
      ("timestep_embedder.linear_1.weight", [size, 256]), ("timestep_embedder.linear_1.bias", [size]),
      ("timestep_embedder.linear_2.weight", [size, size]), ("timestep_embedder.linear_2.bias", [size]),
      ("class_embedder.embedding_table.weight", [config.classes + 1, size]),
    ]
    for (name, shape) in tensors {
      if try !other.stored(name, shape).hasSameBytes(as: weights.stored(name, shape)) {
        return try DiTConditionEmbedder(other, config)
      }
    }
    return self
  }
}

/// Self-attention and feed-forward, modulated by time and class (adaLN-Zero, paper section 3.2).
struct DiTBlock {
  let embedder: DiTConditionEmbedder
  let modulation: Linear
  let attention: AttentionProjections
  let feedForward: FeedForward
  let epsilon: Float

  init(_ weights: WeightScope, _ config: DiTConfiguration, first: DiTConditionEmbedder?) throws {
    let norm = weights.withoutIntegers["norm1"], embedding = norm["emb"]
    embedder = try first?.orDistinct(embedding, config) ?? DiTConditionEmbedder(embedding, config)
    modulation = try Linear(norm["linear"], config.size, 6 * config.size)
    attention = try AttentionProjections(
      weights["attn1"], config.size, heads: config.heads, bias: config.attentionBias ?? true)
    let activation = try feedForwardActivation(
      config.activationFn ?? "gelu-approximate", model: DiTTransformer2DModel.className)
    feedForward = try FeedForward(weights["ff"], config.size, activation: activation)
    epsilon = config.normEps ?? 1e-5
  }

  /// `x`: `[B, N, D]`.
  func callAsFunction(
    _ x: Tensor, timestep: Float, labels: [Int], _ engine: any AttentionEngine, at site: AttentionSite
  ) throws -> Tensor {
    let table = modulation(activated(embedder(timestep, labels), .silu)).reshaped(labels.count, 6, x.shape[2])
    let part = { modulationPart(table, $0) }
    let y = modulated(x, part(1), part(0), 1e-6, attention.precision)
    let x = try attention.attend(y, onto: x, gate: part(2), engine, at: site)
    return feedForward(modulated(x, part(4), part(3), epsilon, feedForward.precision), onto: x, gate: part(5))
  }
}
