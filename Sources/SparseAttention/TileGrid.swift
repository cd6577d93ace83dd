/// Visual tokens cut into boxes of frames x rows x columns, each box one block of a plan. Boxes at the far borders are
/// as small as the grid leaves them: no padding tokens, any grid.
///
/// Plan order: text before, then tile by tile (column of tiles fastest), inside a tile column fastest, then text after.
public struct TileGrid: Hashable, Sendable {
  public let layout: TokenLayout
  /// Extent of a whole tile: frames, rows, columns.
  public let tile: (frames: Int, height: Int, width: Int)
  /// Tiles along each axis.
  public let counts: (frames: Int, height: Int, width: Int)
  /// Plan position to model token.
  public let order: TokenOrder
  /// Where each block begins: text before in blocks of at most ``textBlock``, tiles, text after likewise.
  public let starts: [Int32]
  /// The blocks that are tiles, and those that are text.
  public let tileBlocks: Range<Int>

  /// The longest block of text tokens.
  public static let textBlock = 128

  public init(_ layout: TokenLayout, tile: (frames: Int, height: Int, width: Int)) {
    self.layout = layout
    self.tile = (
      min(tile.frames, layout.frames), min(tile.height, layout.height), min(tile.width, layout.width)
    )
    func parts(_ extent: Int, _ size: Int) -> [Range<Int>] {
      stride(from: 0, to: extent, by: size).map { $0..<min($0 + size, extent) }
    }
    let frames = parts(layout.frames, self.tile.frames), rows = parts(layout.height, self.tile.height)
    let columns = parts(layout.width, self.tile.width)
    counts = (frames.count, rows.count, columns.count)
    var tokens: [Int32] = [], starts: [Int32] = [0]
    tokens.reserveCapacity(layout.count)
    func addText(_ range: Range<Int>) {
      for part in stride(from: range.lowerBound, to: range.upperBound, by: Self.textBlock) {
        tokens += (part..<min(part + Self.textBlock, range.upperBound)).map(Int32.init)
        starts.append(Int32(tokens.count))
      }
    }
    addText(0..<layout.prefix)
    let first = starts.count - 1
    for f in frames {
      for y in rows {
        for x in columns {
          for frame in f {
            for row in y {
              for column in x { tokens.append(Int32(layout.token(frame: frame, row: row, column: column))) }
            }
          }
          starts.append(Int32(tokens.count))
        }
      }
    }
    tileBlocks = first..<starts.count - 1
    addText(layout.count - layout.suffix..<layout.count)
    order = TokenOrder(tokens)
    self.starts = starts
  }

  /// All blocks, text included.
  public var blocks: Int { starts.count - 1 }
  public func isText(_ block: Int) -> Bool { !tileBlocks.contains(block) }

  /// The block of a tile.
  public func block(_ frame: Int, _ row: Int, _ column: Int) -> Int {
    tileBlocks.lowerBound + (frame * counts.height + row) * counts.width + column
  }
  /// The tile of a block.
  public func coordinates(_ block: Int) -> (frame: Int, row: Int, column: Int) {
    let index = block - tileBlocks.lowerBound
    return (index / (counts.height * counts.width), index / counts.width % counts.height, index % counts.width)
  }

  public static func == (a: TileGrid, b: TileGrid) -> Bool { a.layout == b.layout && a.tile == b.tile }
  public func hash(into hasher: inout Hasher) {
    hasher.combine(layout)
    hasher.combine([tile.frames, tile.height, tile.width])
  }
}
