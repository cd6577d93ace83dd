import Checkpoints
import DiffusionModels
import Foundation
import Kernels
import Media
import Tensors

/// Latents to pictures with the pipeline's autoencoder.
final class LatentDecoder {
  private enum Model {
    case full(AutoencoderKL.Decoder, AutoencoderKLConfiguration)
    case tiny(AutoencoderTiny.Decoder, AutoencoderTinyConfiguration)
    case video(AutoencoderKLWan.Decoder, AutoencoderKLWanConfiguration)
  }
  private let model: Model

  init(_ folder: PipelineFolder, precision: Precision) throws {
    let store = try WeightStore(folder: folder.folder(of: "vae"))
    if folder.components["vae"]?.className == AutoencoderTiny.className {
      let config = try folder.config(AutoencoderTinyConfiguration.self, of: "vae")
      let tiny = try AutoencoderTiny(config, weights: store.scope(precision))
      model = .tiny(try tiny.decoder(), config)
      try store.verifyAllRead { $0.hasPrefix("encoder.") }
    } else if folder.kind.isVideo {
      let config = try folder.config(AutoencoderKLWanConfiguration.self, of: "vae")
      let video = try AutoencoderKLWan(config, weights: store.scope(precision))
      model = .video(try video.decoder(), config)
      try store.verifyAllRead { $0.hasPrefix("encoder.") || $0.hasPrefix("quant_conv.") }
    } else {
      let config = try folder.config(AutoencoderKLConfiguration.self, of: "vae")
      let full = try AutoencoderKL(config, weights: store.scope(precision))
      model = .full(try full.decoder(), config)
      try store.verifyAllRead { $0.hasPrefix("encoder.") || $0.hasPrefix("quant_conv.") }
    }
    store.discardPages(below: "")
  }

  /// Scaled latents `[1, C, H, W]`, as the transformer leaves them, to a picture `[1, 3, H', W']` of about -1...1.
  func callAsFunction(_ latents: Tensor, tiled: Bool) throws -> Tensor {
    let picture = decoded(latents, tiled: tiled)
    guard picture.isFinite else { throw fault { _ = try decoded(latents, tiled: tiled, witness: checkFinite) } }
    return picture
  }

  private func decoded(_ latents: Tensor, tiled: Bool, witness: Witness? = nil) rethrows -> Tensor {
    switch model {
    case .full(let decoder, let config):
      let raw = latents.map { $0 / config.scaling + config.shift }
      return tiled
        ? try decoder.tiled(raw, TileGeometry(config), witness: witness) : try decoder(raw, witness: witness)
    case .tiny(let decoder, let config):
      let scaling = config.scalingFactor ?? 1, shift = config.shiftFactor ?? 0
      return try decoder(latents.map { $0 / scaling + shift }, witness: witness)
    case .video: preconditionFailure("a clip is decoded frame by frame")
    }
  }

  /// What to throw for a result that is not made of numbers: decoding once more, with a look at every part, tells where
  /// it begins.
  private func fault(_ again: () throws -> Void) -> any Error {
    do { try naming("vae", again) } catch { return error }
    return PipelineError.notFinite(component: "vae")
  }

  /// The frames of latents `[1, C, T, H, W]`, as the transformer leaves them, one after another as they are made:
  /// `[1, 3, H', W']` of -1...1.
  func clip(_ latents: Tensor, tiled: Bool, onFrame: (Tensor) throws -> Void) throws {
    guard case .video(let decoder, let config) = model else { preconditionFailure("a clip of a picture's decoder") }
    let raw = decoder.unnormalized(latents), tiles = tiled ? TileGeometry(config) : nil
    try decoder.decode(raw, tiles: tiles) { frames in
      guard frames.isFinite else {
        throw fault { try decoder.decode(raw, tiles: tiles, witness: checkFinite) { _ in } }
      }
      for index in 0..<frames.shape[0] { try onFrame(frames.slice(index..<index + 1).permuted(0, 3, 1, 2)) }
    }
  }

  /// Whether decoding should be tiled, and why, when the request leaves it open.
  static func tiling(_ request: GenerationRequest, _ geometry: ModelGeometry) -> (isTiled: Bool, reason: String?) {
    switch request.autoencoderTiling {
    case .on: return (true, nil)
    case .off: return (false, nil)
    case .auto:
      let scale = Double(geometry.autoencoder.scaleFactor)
      let latents = Double(request.modelWidth) / scale * (Double(request.modelHeight) / scale)
      let needed = 4 * geometry.autoencoder.cost(latents: latents).values
      let allowed = Double(request.memoryLimit ?? Int(ProcessInfo.processInfo.physicalMemory) / 2)
      guard needed > allowed, !geometry.autoencoder.isTiny else { return (false, nil) }
      let gigabytes = { (bytes: Double) in String(format: "%.1f GiB", bytes / Double(1 << 30)) }
      return (true, "decoding in tiles: at once it would take \(gigabytes(needed)) of \(gigabytes(allowed)) allowed")
    }
  }

  /// A decoded picture `[1, 3, H, W]` as 8-bit pixels of the size asked for.
  static func image(_ picture: Tensor, width: Int, height: Int) throws -> Frame {
    var planes = picture.elements
    if picture.shape[2] != height || picture.shape[3] != width {
      planes = resizeAndCrop(
        planes: planes, channels: 3, height: picture.shape[2], width: picture.shape[3], newHeight: height,
        newWidth: width)
    }
    let count = width * height
    var pixels = [UInt8](repeating: 0, count: 3 * count)
    for channel in 0..<3 {
      for index in 0..<count {
        let value = min(max(planes[channel * count + index] / 2 + 0.5, 0), 1) * 255
        pixels[3 * index + channel] = UInt8(value.rounded(.toNearestOrEven))
      }
    }
    return Frame(width: width, height: height, pixels: pixels)
  }
}
