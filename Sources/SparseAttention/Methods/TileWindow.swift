import Foundation
import Kernels

/// How many boxes of a ``TileGrid`` are read along frames, rows and columns: the window of ``SlidingTileAttention``.
struct TileWindow: Hashable, Sendable, Codable, CustomStringConvertible {
  /// Frames, rows, columns.
  let extents: [Int]
  /// What each of them, and a tile's extents in tokens, may be.
  static let range = 1...4096

  init(_ extents: [Int]) {
    precondition(Self.isSound(extents), "window \(extents)")
    self.extents = extents
  }

  /// Reads `3x1x10`; `nil` where the text is something else.
  init?(_ text: Substring) {
    let extents = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
    guard Self.isSound(extents) else { return nil }
    self.extents = extents
  }

  /// As `[3, 1, 10]`.
  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    extents = try container.decode([Int].self)
    guard Self.isSound(extents) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a window")
    }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(extents)
  }

  private static func isSound(_ extents: [Int]) -> Bool { extents.count == 3 && extents.allSatisfy(range.contains) }

  var description: String { extents.map(String.init).joined(separator: "x") }

  /// The boxes along one axis that box `index` of `count` reads. The centre is moved inwards at the borders, so the
  /// range is equally long for all; an even window reaches as far as the next odd one.
  static func kept(_ index: Int, window: Int, of count: Int) -> ClosedRange<Int> {
    let half = window / 2
    // Where the window is wider than the axis the bounds cross, and either of them reaches everything.
    let centre = min(max(index, half), count - 1 - half)
    return max(centre - half, 0)...min(centre + half, count - 1)
  }

  /// Which boxes read which. Text is read by all and reads all.
  func pattern(over grid: TileGrid) -> BlockPattern {
    var pattern = BlockPattern(queryStarts: grid.starts, keyStarts: grid.starts)
    let counts = Self.counts(grid.layout, tile: [grid.tile.frames, grid.tile.height, grid.tile.width])
    for block in 0..<grid.blocks {
      guard !grid.isText(block) else {
        pattern.keepAll(row: block)
        pattern.keepAll(column: block)
        continue
      }
      let (frame, row, column) = grid.coordinates(block)
      let columns = Self.kept(column, window: extents[2], of: counts[2])
      for f in Self.kept(frame, window: extents[0], of: counts[0]) {
        for y in Self.kept(row, window: extents[1], of: counts[1]) {
          let first = grid.block(f, y, 0)
          pattern.keep(row: block, columns: first + columns.lowerBound..<first + columns.upperBound + 1)
        }
      }
    }
    return pattern
  }

  /// Boxes along frames, rows and columns.
  static func counts(_ layout: TokenLayout, tile: [Int]) -> [Int] {
    zip([layout.frames, layout.height, layout.width], tile).map { ($0 + $1 - 1) / $1 }
  }

  /// Share of pairs of visual tokens kept: the product of the axes' shares.
  func density(_ layout: TokenLayout, tile: [Int]) -> Double {
    let lengths = [layout.frames, layout.height, layout.width]
    let counts = Self.counts(layout, tile: tile)
    return (0..<3).reduce(1.0) { density, axis in
      let (length, tile) = (lengths[axis], tile[axis])
      let pairs = (0..<counts[axis]).reduce(0) { sum, index in
        let kept = Self.kept(index, window: extents[axis], of: counts[axis])
        let keys = min((kept.upperBound + 1) * tile, length) - kept.lowerBound * tile
        return sum + (min((index + 1) * tile, length) - index * tile) * keys
      }
      return density * Double(pairs) / Double(length * length)
    }
  }

  /// Every window whose extents are odd or a whole axis: those that differ in what they keep.
  static func all(_ layout: TokenLayout, tile: [Int]) -> [TileWindow] {
    let axes = counts(layout, tile: tile).map { count in Array(stride(from: 1, to: count, by: 2)) + [count] }
    return axes[0].flatMap { frames in
      axes[1].flatMap { rows in axes[2].map { TileWindow([frames, rows, $0]) } }
    }
  }

  /// How far the window reaches: the sum of its squared extents in tokens. Of windows of one volume the most compact
  /// has the least.
  func spread(_ layout: TokenLayout, tile: [Int]) -> Int {
    let lengths = [layout.frames, layout.height, layout.width]
    return (0..<3).reduce(0) { sum, axis in
      let extent = min(extents[axis] * tile[axis], lengths[axis])
      return sum + extent * extent
    }
  }

  /// Windows of about equal cost: of all that are odd or a whole axis, at most six whose density is nearest to the one
  /// asked for, none more than one and a half times off, but one at least.
  static func candidates(density: Double, _ layout: TokenLayout, tile: [Int]) -> [TileWindow] {
    var windows = all(layout, tile: tile).map { window in
      (window: window, distance: abs(log(window.density(layout, tile: tile) / density)))
    }
    windows.sort { $0.distance < $1.distance || $0.distance == $1.distance && $0.window < $1.window }
    let near = windows.prefix(6).filter { $0.distance <= log(1.5) }
    return (near.isEmpty ? [windows[0]] : near).map(\.window)
  }

  /// The window that covers the same share of each axis where axes have other numbers of boxes: the nearest odd
  /// number, the larger of two; a whole axis stays whole.
  func scaled(from old: [Int], to new: [Int]) -> TileWindow {
    TileWindow(
      (0..<3).map { axis in
        if old[axis] == new[axis] { return extents[axis] }
        let reach = extents[axis] / 2 * 2 + 1
        if reach >= old[axis] { return new[axis] }
        return min(reach * new[axis] / (2 * old[axis]) * 2 + 1, new[axis])
      })
  }
}

extension TileWindow: Comparable {
  static func < (a: TileWindow, b: TileWindow) -> Bool { a.extents.lexicographicallyPrecedes(b.extents) }
}
