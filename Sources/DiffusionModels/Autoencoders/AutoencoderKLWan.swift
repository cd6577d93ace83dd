// The causal video autoencoders of Wan 2.1 and 2.2 (Wan Team 2025, arXiv:2503.20314).
// Upstream: diffusers, models/autoencoders/autoencoder_kl_wan.py.
import Checkpoints
import Kernels
import NN
import Tensors

/// `config.json` of an `AutoencoderKLWan`. Absent keys have the class's defaults.
public struct AutoencoderKLWanConfiguration: Decodable, Sendable {
  public var baseDim: Int?, decoderBaseDim: Int?, zDim: Int?, dimMult: [Int]?, numResBlocks: Int?
  public var attnScales: [Double]?, temperalDownsample: [Bool]?
  public var latentsMean: [Float]?, latentsStd: [Float]?
  public var isResidual: Bool?, inChannels: Int?, outChannels: Int?, patchSize: Int?
  public var scaleFactorTemporal: Int?, scaleFactorSpatial: Int?

  public var latentChannels: Int { zDim ?? 16 }
  var multipliers: [Int] { dimMult ?? [1, 2, 4, 4] }
  var encoderBase: Int { baseDim ?? 96 }
  var decoderBase: Int { decoderBaseDim ?? encoderBase }
  var residualBlocks: Int { numResBlocks ?? 2 }
  /// Which of the levels, outermost first, halve time.
  var halvesTime: [Bool] { temperalDownsample ?? [false, true, true] }
  /// Wan 2.2's blocks with averaging shortcuts.
  public var hasShortcuts: Bool { isResidual ?? false }
  public var imageChannels: Int { inChannels ?? 3 }
  var outputChannels: Int { outChannels ?? 3 }
  /// Side of the squares of pixels that are taken as channels before encoding.
  var patch: Int { patchSize ?? 1 }
  /// Channels of the decoder's levels, the one at full resolution first, and residual blocks of each.
  public var decoderChannels: [Int] { multipliers.map { $0 * decoderBase } }
  public var decoderBlocks: Int { residualBlocks + 1 }
  /// Pixels a latent covers down and across, and frames it covers after the first.
  public var spatialFactor: Int { patch << (multipliers.count - 1) }
  public var temporalFactor: Int { halvesTime.reduce(1) { $1 ? 2 * $0 : $0 } }
  /// What latents are multiplied with and moved by before decoding, by channel.
  public var mean: [Float] { latentsMean ?? Self.publishedMean }
  public var deviation: [Float] { latentsStd ?? Self.publishedDeviation }

  private static let publishedMean: [Float] = [
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922,
    -0.9497, 0.2503, -0.2921,
  ]
  private static let publishedDeviation: [Float] = [
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253,
    2.8251, 1.9160,
  ]

  public func validate() throws {
    let model = AutoencoderKLWan.className
    guard (attnScales ?? []).isEmpty else {
      throw ModelError.unsupported(model: model, key: "attn_scales", value: "\(attnScales!)", supported: "[]")
    }
    try check(model, "base_dim", encoderBase, in: 2...8192)
    try check(model, "decoder_base_dim", decoderBase, in: 2...8192)
    try check(model, "z_dim", latentChannels, in: 1...4096)
    try check(model, "dim_mult count", multipliers.count, in: 1...8)
    for value in multipliers { try check(model, "dim_mult", value, in: 1...64) }
    try check(model, "num_res_blocks", residualBlocks, in: 1...64)
    try check(model, "temperal_downsample count", halvesTime.count, in: multipliers.count - 1...multipliers.count)
    try check(model, "patch_size", patch, in: 1...64)
    try check(model, "in_channels", imageChannels, in: 1...4096)
    try check(model, "out_channels", outputChannels, in: patch * patch...4096)
    try check(model, "latents_mean count", mean.count, in: latentChannels...latentChannels)
    try check(model, "latents_std count", deviation.count, in: latentChannels...latentChannels)
    if let scaleFactorSpatial {
      try check(model, "scale_factor_spatial", scaleFactorSpatial, in: spatialFactor...spatialFactor)
    }
    if let scaleFactorTemporal {
      try check(model, "scale_factor_temporal", scaleFactorTemporal, in: temporalFactor...temporalFactor)
    }
  }
}

/// Codes video as latents of one frame for the first frame and one for every `temporalFactor` after it. Nothing looks
/// ahead in time, so that both halves work chunk by chunk: peak memory does not grow with the number of frames.
public struct AutoencoderKLWan {
  public static let className = "AutoencoderKLWan"

  public let configuration: AutoencoderKLWanConfiguration
  private let weights: WeightScope

  public init(_ configuration: AutoencoderKLWanConfiguration, weights: WeightScope) throws {
    try configuration.validate()
    self.configuration = configuration
    self.weights = weights
  }

  public func decoder() throws -> Decoder { try Decoder(configuration, weights) }
  public func encoder() throws -> Encoder { try Encoder(configuration, weights) }

  /// Whether a tensor belongs to this class, so that loading one half can name what is foreign.
  public static func owns(_ name: String) -> Bool { AutoencoderKL.owns(name) }

  /// Latents to frames.
  public struct Decoder {
    let configuration: AutoencoderKLWanConfiguration
    let postQuant: CausalConv3d, input: CausalConv3d, middle: WanMiddleBlock, blocks: [WanUpBlock]
    let norm: ChannelNorm, output: CausalConv3d

    init(_ config: AutoencoderKLWanConfiguration, _ root: WeightScope) throws {
      configuration = config
      let weights = root["decoder"], base = config.decoderBase, count = config.multipliers.count
      let multipliers = Array(config.multipliers.reversed()), doublesTime = Array(config.halvesTime.reversed())
      // One per level above the innermost, as upstream indexes them.
      let channels = [multipliers[0] * base] + multipliers.map { $0 * base }
      postQuant = try CausalConv3d(
        root["post_quant_conv"], config.latentChannels, config.latentChannels, kernel: [1, 1, 1])
      input = try CausalConv3d(weights["conv_in"], config.latentChannels, channels[0], kernel: [3, 3, 3])
      middle = try WanMiddleBlock(weights["mid_block"], channels[0])
      blocks = try (0..<count).map { level in
        // Without averaging shortcuts, the upsampling before has halved the channels.
        let inputs = level > 0 && !config.hasShortcuts ? channels[level] / 2 : channels[level]
        return try WanUpBlock(
          weights["up_blocks"][level], inputs, channels[level + 1], layers: config.residualBlocks + 1,
          upsamples: level < count - 1, doublesTime: level < count - 1 && doublesTime[level],
          hasShortcut: config.hasShortcuts)
      }
      norm = try ChannelNorm(weights["norm_out"], channels[count])
      output = try CausalConv3d(weights["conv_out"], channels[count], config.outputChannels, kernel: [3, 3, 3])
    }

    /// The latents as the decoder takes them: scaled and moved by channel, `[1, C, T, h, w]` to the same.
    public func unnormalized(_ latents: Tensor) -> Tensor {
      let size = latents.count / configuration.latentChannels
      var elements = latents.elements
      for channel in 0..<configuration.latentChannels {
        // Upstream divides by the reciprocal of the deviation, which differs in the last place.
        let reciprocal = 1 / configuration.deviation[channel], mean = configuration.mean[channel]
        for index in channel * size..<(channel + 1) * size { elements[index] = elements[index] / reciprocal + mean }
      }
      return Tensor(latents.shape, elements)
    }

    /// Decodes latents chunk by chunk.
    /// - Parameters:
    ///   - latents: un-normalised, `[1, C, T, h, w]`.
    ///   - framesPerChunk: latent frames decoded together; does not change the result.
    ///   - tiles: decodes overlapping tiles, each by itself, and fades them into one another; `nil` decodes at once.
    ///   - onFrames: called with frames `[n, H, W, 3]` in order, values -1...1, or NaN.
    public func decode(
      _ latents: Tensor, framesPerChunk: Int = 1, tiles: TileGeometry? = nil, witness: Witness? = nil,
      onFrames: (Tensor) throws -> Void
    ) throws {
      precondition(latents.shape.count == 5 && latents.shape[0] == 1, "latents \(latents.shape)")
      let x = latents.permuted(0, 2, 3, 4, 1).reshaped(
        latents.shape[2], latents.shape[3], latents.shape[4], latents.shape[1])
      var memories: [Int: CausalMemory] = [:]
      for start in stride(from: 0, to: x.shape[0], by: framesPerChunk) {
        let chunk = x.slice(start..<min(start + framesPerChunk, x.shape[0]))
        func part(_ index: Int, _ tile: Tensor) throws -> Tensor {
          let memory = memories[index] ?? CausalMemory()
          memories[index] = memory
          return try decodeChunk(tile, isFirst: start == 0, memory: memory, witness)
        }
        let decoded = try tiles.map { try mapTiles(chunk, $0.decoding, part) } ?? part(0, chunk)
        // Infinities would pass for white and black.
        try onFrames(unpatchified(decoded).map { $0 - $0 == 0 ? min(max($0, -1), 1) : .nan })
      }
    }

    /// All frames `[1, 3, F, H, W]` of latents `[1, C, T, h, w]`.
    public func callAsFunction(
      _ latents: Tensor, framesPerChunk: Int = 1, tiles: TileGeometry? = nil
    ) -> Tensor {
      var parts: [Tensor] = []
      try? decode(latents, framesPerChunk: framesPerChunk, tiles: tiles) { parts.append($0) }
      return Tensor.concatenated(parts).permuted(3, 0, 1, 2).reshaped(
        [1, parts[0].shape[3], parts.reduce(0) { $0 + $1.shape[0] }] + parts[0].shape[1...2])
    }

    private func decodeChunk(
      _ latents: Tensor, isFirst: Bool, memory: CausalMemory, _ witness: Witness?
    ) throws -> Tensor {
      var x = input(postQuant(latents, memory: memory), memory: memory)
      try witness?("decoder.conv_in", x)
      x = middle(x, memory: memory)
      try witness?("decoder.mid_block", x)
      for (index, block) in blocks.enumerated() {
        x = block(consume x, isFirst: isFirst, memory: memory)
        try witness?("decoder.up_blocks.\(index)", x)
      }
      x = output(x, memory: memory, after: norm.activated)
      try witness?("decoder.conv_out", x)
      return x
    }

    /// Channels back to squares of pixels: `[F, h, w, C p p]` to `[F, h p, w p, C]`; within a pixel's channels, colour,
    /// column, row.
    private func unpatchified(_ x: Tensor) -> Tensor {
      let p = configuration.patch, (frames, height, width) = (x.shape[0], x.shape[1], x.shape[2])
      guard p > 1 else { return x }
      return x.reshaped(frames, height, width, x.shape[3] / (p * p), p, p).permuted(0, 1, 5, 2, 4, 3)
        .reshaped(frames, height * p, width * p, x.shape[3] / (p * p))
    }
  }

  /// Frames to latents.
  public struct Encoder {
    let configuration: AutoencoderKLWanConfiguration
    let input: CausalConv3d, blocks: [WanDownBlock], middle: WanMiddleBlock, norm: ChannelNorm
    let output: CausalConv3d, quant: CausalConv3d

    init(_ config: AutoencoderKLWanConfiguration, _ root: WeightScope) throws {
      configuration = config
      let weights = root["encoder"], base = config.encoderBase, count = config.multipliers.count
      let channels = [base] + config.multipliers.map { $0 * base }
      input = try CausalConv3d(weights["conv_in"], config.imageChannels, base, kernel: [3, 3, 3])
      // Without shortcuts upstream counts residual blocks and downsamplings in one flat list.
      var index = 0
      blocks = try (0..<count).map { level in
        let isLast = level == count - 1
        defer { index += config.residualBlocks + (isLast ? 0 : 1) }
        return try WanDownBlock(
          weights["down_blocks"], config.hasShortcuts ? .level(level) : .flat(from: index), channels[level],
          channels[level + 1], layers: config.residualBlocks, downsamples: !isLast,
          halvesTime: !isLast && config.halvesTime[level])
      }
      middle = try WanMiddleBlock(weights["mid_block"], channels[count])
      norm = try ChannelNorm(weights["norm_out"], channels[count])
      output = try CausalConv3d(
        weights["conv_out"], channels[count], 2 * config.latentChannels, kernel: [3, 3, 3])
      quant = try CausalConv3d(
        root["quant_conv"], 2 * config.latentChannels, 2 * config.latentChannels, kernel: [1, 1, 1])
    }

    /// Frames `[1, 3, F, H, W]`, values -1...1, to the mean and log-variance of their latents, `[1, C, T, h, w]` each.
    /// The first frame is a latent frame by itself; frames past a multiple of the temporal factor after it are left out,
    /// as upstream.
    public func callAsFunction(_ frames: Tensor) -> (mean: Tensor, logVariance: Tensor) {
      let x = patchified(frames.permuted(0, 2, 3, 4, 1).reshaped(Array(frames.shape[2...4]) + [frames.shape[1]]))
      let memory = CausalMemory(), factor = configuration.temporalFactor
      var parts = [encodeChunk(x.slice(0..<1), memory: memory)]
      for start in stride(from: 1, through: x.shape[0] - factor, by: factor) {
        parts.append(encodeChunk(x.slice(start..<start + factor), memory: memory))
      }
      let moments = Tensor.concatenated(parts)
      let split = moments.permuted(3, 0, 1, 2).reshaped(
        1, moments.shape[3], moments.shape[0], moments.shape[1], moments.shape[2]
      ).chunked(2, axis: 1)
      return (split[0], split[1].map { min(max($0, -30), 20) })
    }

    private func encodeChunk(_ frames: Tensor, memory: CausalMemory) -> Tensor {
      var x = input(frames, memory: memory)
      for block in blocks { x = block(consume x, memory: memory) }
      return quant(output(middle(x, memory: memory), memory: memory, after: norm.activated), memory: memory)
    }

    private func patchified(_ x: Tensor) -> Tensor {
      let p = configuration.patch, (frames, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
      guard p > 1 else { return x }
      return x.reshaped(frames, height / p, p, width / p, p, channels).permuted(0, 1, 3, 5, 4, 2)
        .reshaped(frames, height / p, width / p, channels * p * p)
    }
  }
}

extension TileGeometry {
  /// Upstream's choice: tiles of 256 pixels every 192, in what the decoder puts out before squares become pixels.
  public init(_ config: AutoencoderKLWanConfiguration) {
    self.init(latentSize: max(1, 256 / config.spatialFactor), pixelSize: 256 / config.patch)
  }
}
