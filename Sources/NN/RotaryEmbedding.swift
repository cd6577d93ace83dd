import Foundation
import Kernels
import Tensors

/// Rotary positions of a grid of tokens: the first channels of a head turn with the frame, the next with the row, the
/// last with the column (Wan's `WanRotaryPosEmbed`).
public struct RotaryEmbedding: Sendable {
  /// `[N, d / 2]`.
  public let cos: Tensor, sin: Tensor

  /// - Parameters:
  ///   - grid: frames, rows and columns of tokens.
  ///   - headSize: channels of a head, even.
  ///   - theta: base of the geometric row of frequencies.
  public init(grid: [Int], headSize: Int, theta: Double = 10000) {
    let spatial = 2 * (headSize / 6), sizes = [headSize - 2 * spatial, spatial, spatial]
    // Angles in Float64, as upstream.
    let angles = (0..<3).map { axis in
      (0..<grid[axis]).map { position in
        stride(from: 0, to: sizes[axis], by: 2).map { channel in
          Double(position) * (1 / pow(theta, Double(channel) / Double(sizes[axis])))
        }
      }
    }
    func table(_ function: (Double) -> Double) -> Tensor {
      let values = angles.map { $0.map { $0.map { Float(function($0)) } } }
      var elements: [Float] = []
      elements.reserveCapacity(grid.reduce(1, *) * headSize / 2)
      for frame in values[0] { for row in values[1] { for column in values[2] { elements += frame + row + column } } }
      return Tensor([grid.reduce(1, *), headSize / 2], elements)
    }
    cos = table { Foundation.cos($0) }
    sin = table { Foundation.sin($0) }
  }
}
