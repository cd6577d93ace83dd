// Tiny autoencoder for previews (TAESD, github.com/madebyollin/taesd).
// Upstream: diffusers, models/autoencoders/autoencoder_tiny.py and vae.py.
import Checkpoints
import Kernels
import NN
import Tensors

/// `config.json` of an `AutoencoderTiny`. Absent keys have the class's defaults.
public struct AutoencoderTinyConfiguration: Decodable, Sendable {
  public var inChannels: Int?, outChannels: Int?, latentChannels: Int?
  public var encoderBlockOutChannels: [Int]?, decoderBlockOutChannels: [Int]?
  public var numEncoderBlocks: [Int]?, numDecoderBlocks: [Int]?
  public var actFn: String?, upsampleFn: String?, upsamplingScalingFactor: Int?
  public var latentMagnitude: Float?, latentShift: Float?, scalingFactor: Float?, shiftFactor: Float?

  var encoderChannels: [Int] { encoderBlockOutChannels ?? [64, 64, 64, 64] }
  var decoderChannels: [Int] { decoderBlockOutChannels ?? [64, 64, 64, 64] }
  var encoderBlocks: [Int] { numEncoderBlocks ?? [1, 3, 3, 3] }
  var decoderBlocks: [Int] { numDecoderBlocks ?? [3, 3, 3, 1] }

  func validate() throws {
    let model = AutoencoderTiny.className
    for (key, value, supported) in [
      ("act_fn", actFn ?? "relu", "relu"), ("upsample_fn", upsampleFn ?? "nearest", "nearest"),
      ("upsampling_scaling_factor", String(upsamplingScalingFactor ?? 2), "2"),
    ] where value != supported {
      throw ModelError.unsupported(model: model, key: key, value: value, supported: supported)
    }
    for (channels, blocks) in [(encoderChannels, encoderBlocks), (decoderChannels, decoderBlocks)] {
      try check(model, "block_out_channels count", channels.count, in: 1...8)
      try check(model, "number of block counts", blocks.count, in: channels.count...channels.count)
      for count in channels { try check(model, "block_out_channels", count, in: 1...65536) }
      for count in blocks { try check(model, "num_blocks", count, in: 0...64) }
    }
  }
}

/// A small, fast autoencoder. Inside, images are channels-last; at the interface `[B, C, H, W]`.
public struct AutoencoderTiny {
  public static let className = "AutoencoderTiny"

  public let configuration: AutoencoderTinyConfiguration
  private let weights: WeightScope

  public init(_ configuration: AutoencoderTinyConfiguration, weights: WeightScope) throws {
    try configuration.validate()
    (self.configuration, self.weights) = (configuration, weights)
  }

  /// The half that turns latents into images.
  public func decoder() throws -> Decoder { Decoder(layers: try decoderLayers()) }

  public struct Decoder: Sendable {
    fileprivate let layers: [TinyLayer]

    /// Latents `[B, C, H, W]` to images `[B, 3, H * 8, W * 8]`, about -1...1.
    public func callAsFunction(_ latents: Tensor, witness: Witness? = nil) rethrows -> Tensor {
      let bounded = scaled(activated(scaled(latents, by: 1 / 3), .tanh), by: 3)
      return try run(layers, bounded.permuted(0, 2, 3, 1), witness).permuted(0, 3, 1, 2).map { $0 * 2 - 1 }
    }
  }

  /// The half that turns images, -1...1, into latents.
  public func encoder() throws -> @Sendable (Tensor) -> Tensor {
    let layers = try encoderLayers()
    return { images in
      run(layers, images.map { ($0 + 1) / 2 }.permuted(0, 2, 3, 1), nil).permuted(0, 3, 1, 2)
    }
  }

  private func decoderLayers() throws -> [TinyLayer] {
    let channels = configuration.decoderChannels, scope = weights["decoder"]["layers"]
    var layers: [TinyLayer] = []
    layers.append(
      .conv(try Conv2d(scope[0], configuration.latentChannels ?? 4, channels[0], kernel: 3, padding: .all(1))))
    layers.append(.relu)
    for (index, blocks) in configuration.decoderBlocks.enumerated() {
      let isLast = index == channels.count - 1
      for _ in 0..<blocks { layers.append(.block(try TinyBlock(scope[layers.count], channels[index]))) }
      if !isLast { layers.append(.upsample) }
      layers.append(
        .conv(
          try Conv2d(
            scope[layers.count], channels[index], isLast ? configuration.outChannels ?? 3 : channels[index], kernel: 3,
            padding: .all(1), bias: isLast)))
    }
    return layers
  }

  private func encoderLayers() throws -> [TinyLayer] {
    let channels = configuration.encoderChannels, scope = weights["encoder"]["layers"]
    var layers: [TinyLayer] = []
    for (index, blocks) in configuration.encoderBlocks.enumerated() {
      layers.append(
        .conv(
          try Conv2d(
            scope[layers.count], index == 0 ? configuration.inChannels ?? 3 : channels[index], channels[index],
            kernel: 3, stride: index == 0 ? 1 : 2, padding: .all(1), bias: index == 0)))
      for _ in 0..<blocks { layers.append(.block(try TinyBlock(scope[layers.count], channels[index]))) }
    }
    let latent = configuration.latentChannels ?? 4
    layers.append(.conv(try Conv2d(scope[layers.count], channels.last!, latent, kernel: 3, padding: .all(1))))
    return layers
  }
}

/// One entry of the checkpoint's flat list of layers.
private enum TinyLayer: Sendable {
  case conv(Conv2d), relu, block(TinyBlock), upsample
}

private func run(_ layers: [TinyLayer], _ x: Tensor, _ witness: Witness?) rethrows -> Tensor {
  var x = x
  for (index, layer) in layers.enumerated() {
    switch layer {
    case .conv(let conv): x = conv(x)
    case .relu: x = activated(x, .relu)
    case .block(let block): x = block(x)
    case .upsample: x = upsampledNearest2x(x)
    }
    try witness?("decoder.layers.\(index)", x)
  }
  return x
}

/// Three convolutions with ReLU, a residual, ReLU. Checkpoint: `conv.0`, `conv.2`, `conv.4`.
private struct TinyBlock: Sendable {
  let conv0: Conv2d, conv2: Conv2d, conv4: Conv2d

  init(_ weights: WeightScope, _ channels: Int) throws {
    func conv(_ index: Int) throws -> Conv2d {
      try Conv2d(weights["conv"][index], channels, channels, kernel: 3, padding: .all(1))
    }
    (conv0, conv2, conv4) = (try conv(0), try conv(2), try conv(4))
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    activated(add(conv4(activated(conv2(activated(conv0(x), .relu)), .relu)), x), .relu)
  }
}
