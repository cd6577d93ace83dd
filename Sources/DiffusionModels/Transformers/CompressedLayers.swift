import SparseAttention

/// The layers of a model that shorten keys and values, and how: a choice resolved against a checkpoint.
public struct CompressedLayers: Sendable, Hashable, Codable {
  /// Never ``KeyValueCompression/Mode/off``.
  public let mode: KeyValueCompression.Mode
  /// Rows and columns of tokens that share a key.
  public let ratio: Int
  /// Ascending.
  public let layers: [Int]

  public init(mode: KeyValueCompression.Mode, ratio: Int, layers: [Int]) {
    (self.mode, self.ratio, self.layers) = (mode, ratio, layers)
  }

  /// The keys of a layer of a token grid; `nil` where the layer has one a token.
  public func keyGrid(layer: Int, of layout: TokenLayout) throws -> KeyGrid? {
    layers.contains(layer) ? try mode.keyGrid(ratio: ratio, of: layout) : nil
  }

  /// Keys of self-attention for one sample, summed over all of a model's layers.
  public func keyCount(layerCount: Int, of layout: TokenLayout) throws -> Int {
    try (0..<layerCount).reduce(0) { try $0 + (keyGrid(layer: $1, of: layout)?.count(of: layout) ?? layout.count) }
  }
}

extension KeyValueCompression.Mode {
  /// The keys of a grid: rounded up where border areas count, else down.
  func keyGrid(ratio: Int, of layout: TokenLayout) throws -> KeyGrid {
    let extra = self == .average || self == .uniform ? ratio - 1 : 0
    let grid = KeyGrid(
      rowStep: ratio, columnStep: ratio, height: (layout.height + extra) / ratio, width: (layout.width + extra) / ratio)
    guard grid.height > 0, grid.width > 0 else {
      throw KeyValueCompressionError.gridTooSmall(
        height: layout.height, width: layout.width, mode: self, ratio: ratio)
    }
    return grid
  }
}

/// `kv_compress_config` of a transformer's `config.json`, by the names of the original repository's configurations
/// (PixArt-sigma, configs/pixart_sigma_config/PixArt_sigma_xl2_img1024_internalms_kvcompress.py at 1ce521a). diffusers
/// has no such layer and no such key.
///
/// ```json
/// "kv_compress_config": { "sampling": "conv", "scale_factor": 2, "kv_compress_layer": [14, 15, 16] }
/// ```
public struct KeyValueCompressionConfiguration: Decodable, Sendable {
  /// `conv`, `ave` (nearest tokens, whatever the name says), `uniform`, and `average`, which upstream does not have.
  public var sampling: String?
  /// Rows and columns of tokens that share a key; 1 is none.
  public var scaleFactor: Int?
  /// Layers that compress, in any order.
  public var kvCompressLayer: [Int]?
}

/// What a checkpoint says of key/value compression.
public struct CheckpointCompression: Sendable, Hashable {
  public let layerCount: Int
  /// How the checkpoint was trained to compress; `nil` where it was not.
  public let trained: CompressedLayers?
  /// Whether that is in force where the user says nothing. Upstream has a configuration that carries the settings and
  /// turns them off (`kv_compress` false).
  public let isActive: Bool

  /// - Parameters:
  ///   - model: class name, for errors.
  ///   - configuration: `kv_compress_config`.
  ///   - isActive: `kv_compress`.
  public init(
    model: String, layerCount: Int, configuration: KeyValueCompressionConfiguration?, isActive: Bool?
  ) throws {
    self.layerCount = layerCount
    self.isActive = isActive ?? true
    guard let configuration, let sampling = configuration.sampling, let ratio = configuration.scaleFactor,
      let layers = configuration.kvCompressLayer.map({ Set($0).sorted() }), ratio != 1, !layers.isEmpty
    else {
      trained = nil
      return
    }
    let modes: [String: KeyValueCompression.Mode] = [
      "conv": .conv, "ave": .nearest, "uniform": .uniform, "average": .average,
    ]
    guard let mode = modes[sampling] else {
      throw ModelError.unsupported(
        model: model, key: "kv_compress_config.sampling", value: sampling,
        supported: modes.keys.sorted().joined(separator: ", "))
    }
    try check(model, "kv_compress_config.scale_factor", ratio, in: KeyValueCompression.ratios)
    for layer in layers { try check(model, "kv_compress_config.kv_compress_layer", layer, in: 0...layerCount - 1) }
    trained = CompressedLayers(mode: mode, ratio: ratio, layers: layers)
  }

  /// The layers that compress for a user's choice; `nil` where none does. A choice wins over what the checkpoint says.
  /// - Parameter choice: `nil` is the checkpoint's own.
  public func layers(for choice: KeyValueCompression?) throws -> CompressedLayers? {
    guard let choice else { return isActive ? trained : nil }
    if let layers = choice.layers, layers.upperBound >= layerCount {
      throw KeyValueCompressionError.layersOutside(layers, layerCount: layerCount)
    }
    switch choice.mode {
    case .off: return nil
    case .conv: return try convolution(choice)
    case .average, .uniform, .nearest:
      return CompressedLayers(
        mode: choice.mode, ratio: choice.ratio ?? KeyValueCompression.defaultRatio,
        layers: Array(choice.layers ?? layerCount / 2...layerCount - 1))
    }
  }

  /// Weights exist for one ratio, and for the layers that were trained.
  private func convolution(_ choice: KeyValueCompression) throws -> CompressedLayers {
    guard let trained, trained.mode == .conv else {
      throw KeyValueCompressionError.untrained(
        reason: "this checkpoint was not trained with it: its config.json has no kv_compress_config of sampling 'conv'")
    }
    if let ratio = choice.ratio, ratio != trained.ratio {
      throw KeyValueCompressionError.untrained(
        reason: "this checkpoint has weights for ratio \(trained.ratio), not \(ratio)")
    }
    guard let layers = choice.layers else { return trained }
    if let layer = layers.first(where: { !trained.layers.contains($0) }) {
      let known = trained.layers.map(String.init).joined(separator: ", ")
      throw KeyValueCompressionError.untrained(
        reason: "this checkpoint has no weights for it in layer \(layer); layers with weights: \(known)")
    }
    return CompressedLayers(mode: .conv, ratio: trained.ratio, layers: Array(layers))
  }
}
