import DiffusionModels
import SparseAttention

/// The sizes of a pipeline's parts, from their configurations: what request checks and estimates need, read without
/// touching weights. Keys that are absent have the values diffusers gives them.
public struct ModelGeometry: Sendable, Hashable {
  public struct Transformer: Sendable, Hashable {
    public let layers, heads, headSize, patchSize, inChannels, outChannels: Int
    /// Latent frames of a token, and the feed-forward's hidden width.
    public let patchFrames, feedForwardSize: Int
    /// Latents a side.
    public let sampleSize: Int
    /// Width of the caption embeddings; `nil` without text.
    public let captionChannels: Int?
    /// Classes, the null class not counted; `nil` without classes.
    public let classes: Int?
    /// What the checkpoint says of key/value compression; `nil` where the model's class has none.
    public let compression: CheckpointCompression?

    public var hiddenSize: Int { heads * headSize }
  }

  public struct Autoencoder: Sendable, Hashable {
    /// Channels of the decoder's stages, the one at full resolution first.
    public let channels: [Int]
    /// Residual blocks of the decoder's stages, the one at full resolution first.
    public let blocks: [Int]
    public let latentChannels: Int
    /// Whether it is the small decoder of three-convolution blocks.
    public let isTiny: Bool
    public let hasMiddleAttention: Bool
    /// Latents in one tile, when decoding is tiled.
    public let tileLatents: Double

    /// Pixels a side for each latent.
    public let scaleFactor: Int
    /// Frames for each latent frame after the first; 1 for pictures.
    public let temporalFactor: Int
    /// Frames that a kernel of the decoder covers.
    public let kernelFrames: Int
    /// Whether doubling an image halves its channels.
    public let halvesChannels: Bool
  }

  public struct TextEncoder: Sendable, Hashable {
    public let layers, hiddenSize, heads, headSize, feedForwardSize: Int
    public let isGated: Bool
  }

  public let transformer: Transformer
  public let autoencoder: Autoencoder
  public let textEncoder: TextEncoder?

  /// Reads the configurations of all components.
  public init(_ folder: PipelineFolder) throws {
    transformer = try folder.kind == .wan ? Transformer(wan: folder) : Transformer(folder)
    autoencoder = try folder.kind == .wan ? Autoencoder(wan: folder) : Autoencoder(folder)
    textEncoder = folder.kind.takesClassLabel ? nil : try TextEncoder(folder)
  }

  /// What widths and heights must be a multiple of, in pixels.
  public var sizeMultiple: Int { transformer.patchSize * autoencoder.scaleFactor }

  /// The size the model was trained for, in pixels a side.
  public var defaultSide: Int { transformer.sampleSize * autoencoder.scaleFactor }

  /// Frames, height and width in tokens of what a request draws.
  public func tokenGrid(of request: GenerationRequest) -> [Int] {
    [
      latentFrames(request.frames) / transformer.patchFrames, request.modelHeight / sizeMultiple,
      request.modelWidth / sizeMultiple,
    ]
  }

  /// Latent frames of a clip.
  public func latentFrames(_ frames: Int) -> Int { (frames - 1) / autoencoder.temporalFactor + 1 }

  /// The number of frames made where `frames` are asked for: one more than a multiple of the autoencoder's factor, by
  /// the rule of diffusers' `WanPipeline`, which may round up.
  public func nearestFrames(_ frames: Int) -> Int {
    let factor = autoencoder.temporalFactor
    return factor == 1 || frames % factor == 1 ? frames : frames / factor * factor + 1
  }

  /// Shape of a request's noise: `[1, C, H, W]`, of a clip `[1, C, F, H, W]`.
  func noiseShape(of request: GenerationRequest, isVideo: Bool) -> [Int] {
    let side = [request.modelHeight / autoencoder.scaleFactor, request.modelWidth / autoencoder.scaleFactor]
    return [1, transformer.inChannels] + (isVideo ? [latentFrames(request.frames)] : []) + side
  }

  /// The layers in which a request shortens keys and values; `nil` where none does. Throws where the model or the
  /// picture's size does not allow what is asked.
  public func compressedLayers(of request: GenerationRequest) throws -> CompressedLayers? {
    guard let compression = transformer.compression else {
      if let choice = request.keyValueCompression, choice.mode != .off {
        throw KeyValueCompressionError.unsupportedModel
      }
      return nil
    }
    let found = try compression.layers(for: request.keyValueCompression)
    _ = try found?.keyCount(layerCount: transformer.layers, of: tokenLayout(of: request))
    return found
  }

  /// The tokens that a request's picture is drawn in.
  public func tokenLayout(of request: GenerationRequest) -> TokenLayout {
    let grid = tokenGrid(of: request)
    return TokenLayout(frames: grid[0], height: grid[1], width: grid[2])
  }
}

/// Checks a number from a stranger's configuration, so that arithmetic with it cannot overflow.
private func bounded(
  _ value: Int, _ key: String, _ folder: PipelineFolder, _ component: String, upTo limit: Int
) throws -> Int {
  guard value >= 1, value <= limit else {
    throw PipelineError.badData(
      path: try folder.configFile(of: component).path, reason: "expected \(key) in 1...\(limit), found \(value)")
  }
  return value
}

extension ModelGeometry.Transformer {
  private struct Config: Decodable {
    let numLayers, numAttentionHeads, attentionHeadDim, patchSize, inChannels, outChannels, sampleSize: Int?
    let captionChannels, numEmbedsAdaNorm: Int?
    let kvCompressConfig: KeyValueCompressionConfiguration?, kvCompress: Bool?
  }

  init(_ folder: PipelineFolder) throws {
    let config = try folder.config(Config.self, of: "transformer")
    func check(_ value: Int, _ key: String, upTo limit: Int = 65_536) throws -> Int {
      try bounded(value, key, folder, "transformer", upTo: limit)
    }
    let isClassConditional = folder.kind.takesClassLabel
    layers = try check(config.numLayers ?? 28, "num_layers", upTo: 1024)
    heads = try check(config.numAttentionHeads ?? 16, "num_attention_heads", upTo: 1024)
    headSize = try check(config.attentionHeadDim ?? 72, "attention_head_dim", upTo: 4096)
    patchSize = try check(config.patchSize ?? 2, "patch_size", upTo: 64)
    (patchFrames, feedForwardSize) = (1, 4 * heads * headSize)
    inChannels = try check(config.inChannels ?? 4, "in_channels", upTo: 4096)
    outChannels = try check(config.outChannels ?? (isClassConditional ? inChannels : 8), "out_channels", upTo: 8192)
    sampleSize = try check(config.sampleSize ?? (isClassConditional ? 32 : 128), "sample_size", upTo: 4096)
    captionChannels = try isClassConditional ? nil : check(config.captionChannels ?? 4096, "caption_channels")
    let classCount = try check(config.numEmbedsAdaNorm ?? 1000, "num_embeds_ada_norm", upTo: 1 << 24)
    classes = isClassConditional ? classCount : nil
    compression =
      isClassConditional
      ? nil
      : try CheckpointCompression(
        model: PixArtTransformer2DModel.className, layerCount: layers, configuration: config.kvCompressConfig,
        isActive: config.kvCompress)
  }
}

extension ModelGeometry.Transformer {
  init(wan folder: PipelineFolder) throws {
    let config = try folder.config(WanConfiguration.self, of: "transformer")
    try config.validate()
    guard config.patch[1] == config.patch[2] else {
      throw PipelineError.badData(
        path: try folder.configFile(of: "transformer").path,
        reason: "expected square patches at patch_size, found \(config.patch)")
    }
    (layers, heads, headSize) = (config.layers, config.heads, config.headSize)
    (patchFrames, patchSize) = (config.patch[0], config.patch[1])
    (inChannels, outChannels) = (config.inputChannels, config.outputChannels)
    feedForwardSize = config.hiddenSize
    // Wan's configuration names no size: one comes from the pipeline's defaults.
    sampleSize = 1
    (captionChannels, classes, compression) = (config.textSize, nil, nil)
  }
}

extension ModelGeometry.Autoencoder {
  init(wan folder: PipelineFolder) throws {
    let config = try folder.config(AutoencoderKLWanConfiguration.self, of: "vae")
    try config.validate()
    channels = config.decoderChannels
    blocks = Array(repeating: config.decoderBlocks, count: channels.count)
    latentChannels = config.latentChannels
    (isTiny, hasMiddleAttention) = (false, true)
    (scaleFactor, temporalFactor, kernelFrames) = (config.spatialFactor, config.temporalFactor, 3)
    halvesChannels = !config.hasShortcuts
    let side = Double(TileGeometry(config).latentSize)
    tileLatents = side * side
  }

  private struct Config: Decodable {
    let blockOutChannels, decoderBlockOutChannels, numDecoderBlocks: [Int]?
    let layersPerBlock, latentChannels, sampleSize: Int?
    let midBlockAddAttention: Bool?
  }

  init(_ folder: PipelineFolder) throws {
    let config = try folder.config(Config.self, of: "vae")
    let path = try folder.configFile(of: "vae").path
    isTiny = folder.components["vae"]?.className == "AutoencoderTiny"
    let widths: [Int]
    if isTiny {
      widths = (config.decoderBlockOutChannels ?? [64, 64, 64, 64]).reversed()
      blocks = (config.numDecoderBlocks ?? [3, 3, 3, 1]).reversed()
    } else {
      widths = config.blockOutChannels ?? [64]
      let layers = try bounded(config.layersPerBlock ?? 1, "layers_per_block", folder, "vae", upTo: 256)
      blocks = Array(repeating: layers + 1, count: widths.count)
    }
    guard (1...8).contains(widths.count), widths.count == blocks.count,
      widths.allSatisfy({ (1...65_536).contains($0) }), blocks.allSatisfy({ (1...257).contains($0) })
    else {
      throw PipelineError.badData(
        path: path, reason: "expected 1 to 8 stages of positive widths, found \(widths) with \(blocks) blocks")
    }
    channels = widths
    (scaleFactor, temporalFactor, kernelFrames, halvesChannels) = (1 << (widths.count - 1), 1, 1, false)
    latentChannels = try bounded(config.latentChannels ?? 4, "latent_channels", folder, "vae", upTo: 4096)
    let tile = try bounded(config.sampleSize ?? 32, "sample_size", folder, "vae", upTo: 65_536)
    let tileSide = Double(max(1, tile >> (widths.count - 1)))
    tileLatents = tileSide * tileSide
    hasMiddleAttention = !isTiny && config.midBlockAddAttention ?? true
  }
}

extension ModelGeometry.TextEncoder {
  private struct Config: Decodable {
    let numLayers, dModel, numHeads, dKv, dFf: Int?
    let feedForwardProj: String?
  }

  init(_ folder: PipelineFolder) throws {
    let config = try folder.config(Config.self, of: "text_encoder")
    func check(_ value: Int, _ key: String, upTo limit: Int = 1 << 20) throws -> Int {
      try bounded(value, key, folder, "text_encoder", upTo: limit)
    }
    layers = try check(config.numLayers ?? 6, "num_layers", upTo: 1024)
    hiddenSize = try check(config.dModel ?? 512, "d_model")
    heads = try check(config.numHeads ?? 8, "num_heads", upTo: 1024)
    headSize = try check(config.dKv ?? 64, "d_kv", upTo: 4096)
    feedForwardSize = try check(config.dFf ?? 2048, "d_ff")
    isGated = (config.feedForwardProj ?? "relu").hasPrefix("gated-")
  }
}
