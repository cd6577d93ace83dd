import Checkpoints
import Foundation
import Kernels
import Tensors

/// Cuts latents into square patches, projects each, and adds a fixed 2-D sine-cosine position.
/// Checkpoint: `proj.weight` `[D, C, p, p]`, `proj.bias` (diffusers `PatchEmbed`).
public struct PatchEmbed: Sendable {
  let projection: Linear
  let patchSize: Int, size: Int, baseSize: Int
  let interpolationScale: Float

  /// - Parameters:
  ///   - sampleSize: side of the latents the model was trained at, which positions are scaled to.
  ///   - interpolationScale: divides positions.
  public init(
    _ weights: WeightScope, channels: Int, patchSize: Int, size: Int, sampleSize: Int, interpolationScale: Float
  ) throws {
    projection = try Linear(patches: weights["proj"], channels: channels, patch: patchSize, size)
    (self.patchSize, self.size, self.interpolationScale) = (patchSize, size, interpolationScale)
    baseSize = sampleSize / patchSize
    weights.skip("pos_embed")
  }

  /// Latents `[B, C, H, W]` to tokens `[B, H/p * W/p, D]`, row by row.
  public func callAsFunction(_ latents: Tensor) -> Tensor {
    let (batch, height, width) = (latents.shape[0], latents.shape[2] / patchSize, latents.shape[3] / patchSize)
    let tokens = projection(patchify(latents, patchSize: patchSize))
    let positions = positionTable(height: height, width: width)
    return add(tokens, positions.reshaped(1, height * width, size).repeated(batch))
  }

  /// `[height * width, D]`: the first half of `D` encodes the column, the second the row, each as sines then cosines.
  /// Positions are Float32 and angles Float64, as upstream.
  func positionTable(height: Int, width: Int) -> Tensor {
    let quarter = size / 4
    let frequencies = (0..<quarter).map { 1 / pow(10000, Double($0) / (Double(size / 2) / 2)) }
    func table(_ count: Int) -> [[Float]] {
      (0..<count).map { index in
        let position = Float(index) / Float(Double(count) / Double(baseSize)) / interpolationScale
        let angles = frequencies.map { Double(position) * $0 }
        return angles.map { Float(sin($0)) } + angles.map { Float(cos($0)) }
      }
    }
    let rows = table(height), columns = table(width)
    var elements: [Float] = []
    elements.reserveCapacity(height * width * size)
    for row in rows { for column in columns { elements += column + row } }
    return Tensor([height * width, size], elements)
  }
}

/// Latents `[B, C, H, W]` to patches `[B, H/p * W/p, C * p * p]`.
public func patchify(_ x: Tensor, patchSize p: Int) -> Tensor {
  let (batch, channels, height, width) = (x.shape[0], x.shape[1], x.shape[2] / p, x.shape[3] / p)
  precondition(height * p == x.shape[2] && width * p == x.shape[3], "\(x.shape) does not divide into patches of \(p)")
  return x.reshaped(batch, channels, height, p, width, p).permuted(0, 2, 4, 1, 3, 5)
    .reshaped(batch, height * width, channels * p * p)
}

/// Tokens `[B, h * w, p * p * C]` to latents `[B, C, h * p, w * p]`: within a token, row, column, channel.
public func unpatchify(_ x: Tensor, height: Int, width: Int, patchSize p: Int) -> Tensor {
  let (batch, channels) = (x.shape[0], x.shape[2] / (p * p))
  return x.reshaped(batch, height, width, p, p, channels).permuted(0, 5, 1, 3, 2, 4)
    .reshaped(batch, channels, height * p, width * p)
}

/// Latents `[B, C, F, H, W]` to patches `[B, F/pt * H/ph * W/pw, C * pt * ph * pw]`.
/// - Parameter patch: `[pt, ph, pw]`.
public func patchify(_ x: Tensor, patch: [Int]) -> Tensor {
  let (batch, channels, p) = (x.shape[0], x.shape[1], patch)
  let grid = (0..<3).map { x.shape[$0 + 2] / p[$0] }
  precondition((0..<3).allSatisfy { grid[$0] * p[$0] == x.shape[$0 + 2] }, "\(x.shape) does not divide into \(p)")
  return x.reshaped(batch, channels, grid[0], p[0], grid[1], p[1], grid[2], p[2]).permuted(0, 2, 4, 6, 1, 3, 5, 7)
    .reshaped(batch, grid.reduce(1, *), channels * p.reduce(1, *))
}

/// Tokens `[B, f * h * w, pt * ph * pw * C]` to latents `[B, C, f * pt, h * ph, w * pw]`: within a token, frame, row,
/// column, channel.
/// - Parameters: grid: `[f, h, w]`; patch: `[pt, ph, pw]`.
public func unpatchify(_ x: Tensor, grid: [Int], patch p: [Int]) -> Tensor {
  let (batch, channels) = (x.shape[0], x.shape[2] / p.reduce(1, *))
  return x.reshaped(batch, grid[0], grid[1], grid[2], p[0], p[1], p[2], channels).permuted(0, 7, 1, 4, 2, 5, 3, 6)
    .reshaped(batch, channels, grid[0] * p[0], grid[1] * p[1], grid[2] * p[2])
}

/// `[B, N, h * d]` to `[B, h, N, d]`.
public func splitHeads(_ x: Tensor, _ heads: Int) -> Tensor {
  x.reshaped(x.shape[0], x.shape[1], heads, x.shape[2] / heads).permuted(0, 2, 1, 3)
}

/// `[B, h, N, d]` to `[B, N, h * d]`.
public func mergeHeads(_ x: Tensor) -> Tensor {
  x.permuted(0, 2, 1, 3).reshaped(x.shape[0], x.shape[2], x.shape[1] * x.shape[3])
}
