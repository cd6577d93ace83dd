// Latent-diffusion autoencoder (Rombach et al. 2021, arXiv:2112.10752).
// Upstream: diffusers, models/autoencoders/autoencoder_kl.py and vae.py.
import Checkpoints
import Kernels
import NN
import Tensors

/// `config.json` of an `AutoencoderKL`. Absent keys have the class's defaults.
public struct AutoencoderKLConfiguration: Decodable, Sendable {
  public var inChannels: Int?, outChannels: Int?, latentChannels: Int?, layersPerBlock: Int?, normNumGroups: Int?
  public var blockOutChannels: [Int]?, downBlockTypes: [String]?, upBlockTypes: [String]?
  public var actFn: String?, sampleSize: Int?
  public var scalingFactor: Float?, shiftFactor: Float?
  public var latentsMean: [Float]?, latentsStd: [Float]?
  public var useQuantConv: Bool?, usePostQuantConv: Bool?, midBlockAddAttention: Bool?

  /// Channels of an image and of its latents.
  public var imageChannels: Int { inChannels ?? 3 }
  public var latentSize: Int { latentChannels ?? 4 }
  public var channels: [Int] { blockOutChannels ?? [64] }
  public var layers: Int { layersPerBlock ?? 1 }
  var groups: Int { normNumGroups ?? 32 }
  /// Latents are multiplied by this for the transformer, and divided before decoding.
  public var scaling: Float { scalingFactor ?? 0.18215 }
  /// Subtracted before scaling, added after un-scaling.
  public var shift: Float { shiftFactor ?? 0 }
  /// Pixels a latent side stands for.
  public var spatialFactor: Int { 1 << (channels.count - 1) }
  /// Side of a tile in pixels, when tiling.
  public var tileSize: Int { sampleSize ?? 32 }

  func validate() throws {
    let model = AutoencoderKL.className
    try check(model, "block_out_channels count", channels.count, in: 1...8)
    for count in channels {
      try check(model, "block_out_channels", count, in: 1...65536)
      try check(model, "block_out_channels modulo norm_num_groups", count % max(groups, 1), in: 0...0)
    }
    try check(model, "norm_num_groups", groups, in: 1...65536)
    try check(model, "layers_per_block", layers, in: 1...64)
    try check(model, "latent_channels", latentSize, in: 1...4096)
    try check(model, "in_channels", imageChannels, in: 1...64)
    func require(_ key: String, _ values: [String], _ supported: String) throws {
      for value in values where value != supported {
        throw ModelError.unsupported(model: model, key: key, value: value, supported: supported)
      }
    }
    try require("down_block_types", downBlockTypes ?? [], "DownEncoderBlock2D")
    try require("up_block_types", upBlockTypes ?? [], "UpDecoderBlock2D")
    try require("act_fn", actFn.map { [$0] } ?? [], "silu")
  }
}

/// Images to latents and back. Inside, images are channels-last; at the interface `[B, C, H, W]`.
public struct AutoencoderKL {
  public static let className = "AutoencoderKL"

  public let configuration: AutoencoderKLConfiguration
  private let weights: WeightScope

  public init(_ configuration: AutoencoderKLConfiguration, weights: WeightScope) throws {
    try configuration.validate()
    self.configuration = configuration
    self.weights = weights
  }

  /// The half that turns latents into images.
  public func decoder() throws -> Decoder { try Decoder(configuration, weights) }

  /// The half that turns images into latents.
  public func encoder() throws -> Encoder { try Encoder(configuration, weights) }

  /// Whether a tensor belongs to this class, so that loading one half can name what is foreign.
  public static func owns(_ name: String) -> Bool {
    ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."].contains { name.hasPrefix($0) }
  }

  /// Latents to images.
  public struct Decoder {
    let configuration: AutoencoderKLConfiguration
    let postQuant: Conv2d?, input: Conv2d, middle: MiddleBlock, blocks: [UpBlock], norm: GroupNorm, output: Conv2d

    init(_ config: AutoencoderKLConfiguration, _ root: WeightScope) throws {
      configuration = config
      let weights = root["decoder"], channels = config.channels, latent = config.latentSize
      postQuant =
        config.usePostQuantConv ?? true
        ? try Conv2d(root["post_quant_conv"], latent, latent, kernel: 1) : nil
      input = try Conv2d(weights["conv_in"], latent, channels.last!, kernel: 3, padding: .all(1))
      middle = try MiddleBlock(weights["mid_block"], channels.last!, config)
      var previous = channels.last!
      blocks = try channels.reversed().enumerated().map { index, count in
        defer { previous = count }
        return try UpBlock(
          weights["up_blocks"][index], previous, count, layers: config.layers + 1, groups: config.groups,
          upsamples: index < channels.count - 1)
      }
      norm = try GroupNorm(weights["conv_norm_out"], channels[0], groups: config.groups, epsilon: 1e-6)
      output = try Conv2d(
        weights["conv_out"], channels[0], config.outChannels ?? 3, kernel: 3, padding: .all(1))
    }

    /// Un-scaled latents `[B, C, H, W]` to images `[B, 3, H * factor, W * factor]`, values about -1...1.
    public func callAsFunction(_ latents: Tensor, witness: Witness? = nil) rethrows -> Tensor {
      try decode(latents.permuted(0, 2, 3, 1), witness).permuted(0, 3, 1, 2)
    }

    /// `[B, H, W, C]` to `[B, H', W', 3]`.
    func decode(_ latents: Tensor, _ witness: Witness?) rethrows -> Tensor {
      var x = input(postQuant.map { $0(latents) } ?? latents)
      try witness?("decoder.conv_in", x)
      x = middle(x)
      try witness?("decoder.mid_block", x)
      for (index, block) in blocks.enumerated() {
        x = block(consume x)
        try witness?("decoder.up_blocks.\(index)", x)
      }
      x = output(x, after: norm.transform(of: x, silu: true))
      try witness?("decoder.conv_out", x)
      return x
    }
  }

  /// Images to latents.
  public struct Encoder {
    let input: Conv2d, blocks: [DownBlock], middle: MiddleBlock, norm: GroupNorm, output: Conv2d, quant: Conv2d?

    init(_ config: AutoencoderKLConfiguration, _ root: WeightScope) throws {
      let weights = root["encoder"], channels = config.channels
      input = try Conv2d(weights["conv_in"], config.imageChannels, channels[0], kernel: 3, padding: .all(1))
      var previous = channels[0]
      blocks = try channels.enumerated().map { index, count in
        defer { previous = count }
        return try DownBlock(
          weights["down_blocks"][index], previous, count, layers: config.layers, groups: config.groups,
          downsamples: index < channels.count - 1)
      }
      middle = try MiddleBlock(weights["mid_block"], channels.last!, config)
      norm = try GroupNorm(weights["conv_norm_out"], channels.last!, groups: config.groups, epsilon: 1e-6)
      let moments = 2 * config.latentSize
      output = try Conv2d(weights["conv_out"], channels.last!, moments, kernel: 3, padding: .all(1))
      quant = config.useQuantConv ?? true ? try Conv2d(root["quant_conv"], moments, moments, kernel: 1) : nil
    }

    /// Images `[B, 3, H, W]`, values -1...1, to the mean and log-variance of their latents, `[B, C, h, w]` each.
    public func callAsFunction(_ images: Tensor) -> (mean: Tensor, logVariance: Tensor) {
      split(moments(images.permuted(0, 2, 3, 1)))
    }

    /// `[B, H, W, 3]` to mean and log-variance side by side, `[B, h, w, 2C]`.
    func moments(_ images: Tensor) -> Tensor {
      var x = input(images)
      for block in blocks { x = block(consume x) }
      x = middle(x)
      x = output(x, after: norm.transform(of: x, silu: true))
      return quant.map { $0(x) } ?? x
    }

    /// `[B, h, w, 2C]` to mean and bounded log-variance, `[B, C, h, w]` each.
    func split(_ moments: Tensor) -> (mean: Tensor, logVariance: Tensor) {
      let parts = moments.permuted(0, 3, 1, 2).chunked(2, axis: 1)
      return (parts[0], parts[1].map { min(max($0, -30), 20) })
    }
  }
}

/// Norm, SiLU, convolution, twice, beside a shortcut. Checkpoint: `norm1 conv1 norm2 conv2 conv_shortcut`.
struct ResnetBlock {
  let norm1: GroupNorm, conv1: Conv2d, norm2: GroupNorm, conv2: Conv2d, shortcut: Conv2d?

  init(_ weights: WeightScope, _ inputs: Int, _ outputs: Int, groups: Int) throws {
    norm1 = try GroupNorm(weights["norm1"], inputs, groups: groups, epsilon: 1e-6)
    conv1 = try Conv2d(weights["conv1"], inputs, outputs, kernel: 3, padding: .all(1))
    norm2 = try GroupNorm(weights["norm2"], outputs, groups: groups, epsilon: 1e-6)
    conv2 = try Conv2d(weights["conv2"], outputs, outputs, kernel: 3, padding: .all(1))
    shortcut = inputs == outputs ? nil : try Conv2d(weights["conv_shortcut"], inputs, outputs, kernel: 1)
  }

  /// `[B, H, W, inputs]` to `[B, H, W, outputs]`, in the memory of `x` where that can be.
  func callAsFunction(_ x: consuming Tensor) -> Tensor {
    let y = conv1(x, after: norm1.transform(of: x, silu: true))
    if let shortcut { x = shortcut(x) }
    return conv2(y, after: norm2.transform(of: y, silu: true), onto: consume x)
  }
}

/// Two residual blocks with attention over all pixels between them.
struct MiddleBlock {
  let first: ResnetBlock, attention: PixelAttention?, second: ResnetBlock

  init(_ weights: WeightScope, _ channels: Int, _ config: AutoencoderKLConfiguration) throws {
    first = try ResnetBlock(weights["resnets"][0], channels, channels, groups: config.groups)
    attention =
      config.midBlockAddAttention ?? true
      ? try PixelAttention(weights["attentions"][0], channels, groups: config.groups) : nil
    second = try ResnetBlock(weights["resnets"][1], channels, channels, groups: config.groups)
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    let y = first(x)
    return second(attention.map { $0(y) } ?? y)
  }
}

/// Single-head attention over pixels, with a residual. Checkpoint: `group_norm to_q to_k to_v to_out.0`, or the older
/// names `query key value proj_attn`, whose weights may be stored as 1 x 1 convolutions.
struct PixelAttention {
  let norm: GroupNorm, q: Linear, k: Linear, v: Linear, out: Linear

  init(_ weights: WeightScope, _ channels: Int, groups: Int) throws {
    norm = try GroupNorm(weights["group_norm"], channels, groups: groups, epsilon: 1e-6)
    func layer(_ name: String, _ oldName: String) throws -> Linear {
      let scope = weights.contains(oldName + ".weight") ? weights[oldName] : weights[name]
      return scope.shape(of: "weight")?.count == 4
        ? try Linear(patches: scope, channels: channels, patch: 1, channels)
        : try Linear(scope, channels, channels)
    }
    q = try layer("to_q", "query")
    k = try layer("to_k", "key")
    v = try layer("to_v", "value")
    out = try layer("to_out.0", "proj_attn")
  }

  /// `[B, H, W, C]` to the same.
  func callAsFunction(_ x: Tensor) -> Tensor {
    let (batch, pixels, channels) = (x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
    let y = norm(x)
    func head(_ layer: Linear) -> Tensor { layer(y).reshaped(batch, 1, pixels, channels) }
    let attended = denseAttention(head(q), head(k), head(v), scale: 1 / Float(channels).squareRoot())
    return add(x, out(attended.reshaped(x.shape)))
  }
}

/// Residual blocks, then twice the size. Checkpoint: `resnets`, `upsamplers.0.conv`.
struct UpBlock {
  let resnets: [ResnetBlock], upsampler: UpsamplingConv2d?

  init(_ weights: WeightScope, _ inputs: Int, _ outputs: Int, layers: Int, groups: Int, upsamples: Bool) throws {
    resnets = try (0..<layers).map {
      try ResnetBlock(weights["resnets"][$0], $0 == 0 ? inputs : outputs, outputs, groups: groups)
    }
    upsampler =
      upsamples
      ? try UpsamplingConv2d(weights["upsamplers"][0]["conv"], outputs, outputs) : nil
  }

  func callAsFunction(_ x: consuming Tensor) -> Tensor {
    var y = consume x
    for resnet in resnets { y = resnet(consume y) }
    return upsampler?(y) ?? y
  }
}

/// Residual blocks, then half the size. Checkpoint: `resnets`, `downsamplers.0.conv`.
struct DownBlock {
  let resnets: [ResnetBlock], downsampler: Conv2d?

  init(_ weights: WeightScope, _ inputs: Int, _ outputs: Int, layers: Int, groups: Int, downsamples: Bool) throws {
    resnets = try (0..<layers).map {
      try ResnetBlock(weights["resnets"][$0], $0 == 0 ? inputs : outputs, outputs, groups: groups)
    }
    // Upstream pads only below and to the right before the strided convolution.
    downsampler =
      downsamples
      ? try Conv2d(
        weights["downsamplers"][0]["conv"], outputs, outputs, kernel: 3, stride: 2,
        padding: Padding(top: 0, left: 0, bottom: 1, right: 1)) : nil
  }

  func callAsFunction(_ x: consuming Tensor) -> Tensor {
    var y = consume x
    for resnet in resnets { y = resnet(consume y) }
    return downsampler?(y) ?? y
  }
}
