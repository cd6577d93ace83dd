import Tensors

/// How latents are cut into overlapping tiles so that decoding fits in memory (diffusers `enable_tiling`).
public struct TileGeometry: Sendable, Equatable {
  /// Side of a tile in latents and in pixels.
  public var latentSize: Int, pixelSize: Int
  /// Share of a tile that overlaps the next.
  public var overlap: Double

  public init(latentSize: Int, pixelSize: Int, overlap: Double = 0.25) {
    precondition(latentSize > 0 && pixelSize > 0 && overlap >= 0 && overlap < 1)
    (self.latentSize, self.pixelSize, self.overlap) = (latentSize, pixelSize, overlap)
  }

  /// Upstream's choice for an autoencoder: its sample size.
  public init(_ config: AutoencoderKLConfiguration) {
    self.init(latentSize: max(1, config.tileSize / config.spatialFactor), pixelSize: config.tileSize)
  }

  var latentStep: Int { max(1, Int(Double(latentSize) * (1 - overlap))) }
  var blend: Int { Int(Double(pixelSize) * overlap) }
  var kept: Int { pixelSize - blend }
}

extension AutoencoderKL.Decoder {
  /// Decodes tile by tile, fading each into its neighbours above and to the left over the overlap.
  /// - Parameter latents: un-scaled, `[B, C, H, W]`.
  /// - Returns: `[B, 3, H', W']`. Not equal to decoding at once: each tile is normalised by itself.
  public func tiled(_ latents: Tensor, _ tiles: TileGeometry) -> Tensor {
    let x = latents.permuted(0, 2, 3, 1)
    let height = x.shape[1], width = x.shape[2]
    var rows: [Tensor] = [], above: [Tensor] = []
    for top in stride(from: 0, to: height, by: tiles.latentStep) {
      let band = x.narrowed(axis: 1, top..<min(top + tiles.latentSize, height))
      var decoded: [Tensor] = []
      for left in stride(from: 0, to: width, by: tiles.latentStep) {
        decoded.append(decode(band.narrowed(axis: 2, left..<min(left + tiles.latentSize, width))))
      }
      var kept: [Tensor] = []
      for column in decoded.indices {
        if !above.isEmpty { decoded[column] = blended(above[column], decoded[column], axis: 1, extent: tiles.blend) }
        if column > 0 { decoded[column] = blended(decoded[column - 1], decoded[column], axis: 2, extent: tiles.blend) }
        let tile = decoded[column]
        kept.append(
          tile.narrowed(axis: 1, 0..<min(tiles.kept, tile.shape[1])).narrowed(
            axis: 2, 0..<min(tiles.kept, tile.shape[2])))
      }
      rows.append(Tensor.concatenated(kept, axis: 2))
      above = decoded
    }
    return Tensor.concatenated(rows, axis: 1).permuted(0, 3, 1, 2)
  }
}

/// `b` with its first `extent` entries along `axis` faded in from the last ones of `a`; both `[B, H, W, C]`.
private func blended(_ a: Tensor, _ b: Tensor, axis: Int, extent: Int) -> Tensor {
  let extent = min(a.shape[axis], b.shape[axis], extent)
  guard extent > 0 else { return b }
  let tail = a.narrowed(axis: axis, a.shape[axis] - extent..<a.shape[axis])
  let head = b.narrowed(axis: axis, 0..<extent)
  precondition(tail.shape == head.shape, "tiles \(a.shape) and \(b.shape) do not meet along axis \(axis)")
  let old = tail.elements
  var new = head.elements
  let inner = head.shape[(axis + 1)...].reduce(1, *)
  for index in new.indices {
    let weight = Float(index / inner % extent) / Float(extent)
    new[index] = old[index] * (1 - weight) + new[index] * weight
  }
  return Tensor.concatenated([Tensor(head.shape, new), b.narrowed(axis: axis, extent..<b.shape[axis])], axis: axis)
}
