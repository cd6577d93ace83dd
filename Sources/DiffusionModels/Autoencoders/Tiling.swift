import Tensors

/// How latents and images are cut into overlapping tiles so that coding fits in memory (diffusers `enable_tiling`).
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

  /// Tiles of `size` every `step`, of whose results `kept` is kept and `blend` faded into the neighbours.
  struct Axis {
    let size: Int, step: Int, kept: Int, blend: Int

    init(from size: Int, to resultSize: Int, overlap: Double) {
      self.size = size
      step = max(1, Int(Double(size) * (1 - overlap)))
      blend = Int(Double(resultSize) * overlap)
      kept = resultSize - blend
    }
  }
  var decoding: Axis { Axis(from: latentSize, to: pixelSize, overlap: overlap) }
  var encoding: Axis { Axis(from: pixelSize, to: latentSize, overlap: overlap) }
}

extension AutoencoderKL.Decoder {
  /// Decodes tile by tile, fading each into its neighbours above and to the left over the overlap.
  /// - Parameter latents: un-scaled, `[B, C, H, W]`.
  /// - Returns: `[B, 3, H', W']`. Not equal to decoding at once: each tile is normalised by itself.
  public func tiled(_ latents: Tensor, _ tiles: TileGeometry, witness: Witness? = nil) rethrows -> Tensor {
    try mapTiles(latents.permuted(0, 2, 3, 1), tiles.decoding) { try decode($1, witness) }.permuted(0, 3, 1, 2)
  }
}

extension AutoencoderKL.Encoder {
  /// Encodes tile by tile, as ``AutoencoderKL/Decoder/tiled(_:_:)`` decodes.
  /// - Parameter images: `[B, 3, H, W]`, values -1...1.
  public func tiled(_ images: Tensor, _ tiles: TileGeometry) -> (mean: Tensor, logVariance: Tensor) {
    split(mapTiles(images.permuted(0, 2, 3, 1), tiles.encoding) { moments($1) })
  }
}

/// Applies `body` to overlapping tiles of `x` `[B, H, W, C]`, numbered row by row, and joins the results.
func mapTiles(_ x: Tensor, _ axis: TileGeometry.Axis, _ body: (_ index: Int, Tensor) throws -> Tensor) rethrows
  -> Tensor
{
  let height = x.shape[1], width = x.shape[2]
  var rows: [Tensor] = [], above: [Tensor] = [], index = 0
  for top in stride(from: 0, to: height, by: axis.step) {
    let band = x.narrowed(axis: 1, top..<min(top + axis.size, height))
    var results: [Tensor] = []
    for left in stride(from: 0, to: width, by: axis.step) {
      results.append(try body(index, band.narrowed(axis: 2, left..<min(left + axis.size, width))))
      index += 1
    }
    var kept: [Tensor] = []
    for column in results.indices {
      if !above.isEmpty { results[column] = blended(above[column], results[column], axis: 1, extent: axis.blend) }
      if column > 0 { results[column] = blended(results[column - 1], results[column], axis: 2, extent: axis.blend) }
      let tile = results[column]
      kept.append(
        tile.narrowed(axis: 1, 0..<min(axis.kept, tile.shape[1])).narrowed(axis: 2, 0..<min(axis.kept, tile.shape[2])))
    }
    rows.append(Tensor.concatenated(kept, axis: 2))
    above = results
  }
  return Tensor.concatenated(rows, axis: 1)
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
