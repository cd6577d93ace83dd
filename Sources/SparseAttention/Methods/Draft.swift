import Kernels
import Tensors

/// DraftAttention (arXiv:2505.14708; shawnricecake/draft-attention, `draft_attention.py`, commit f3c81d5): a small map
/// of attention between regions' mean queries and mean keys decides which blocks of the large one are computed.
///
/// A region is `pool` rows x columns of one frame, and one block of the plan, its tokens next to each other. One
/// threshold a head cuts the smallest entries of its map, so that a head gives each query region as many keys as it
/// needs. Two things differ from upstream, which takes only grids that divide by 8 x 16: a region at the border is as
/// small as the grid leaves it, and its mean is of its own tokens alone; and a query region whose whole row was cut
/// keeps the largest entry of that row. Text reads everything and is read by everything.
public struct DraftAttention: ContentPlanner {
  public static let information = MethodInformation(
    name: "draft",
    summary: "the blocks where attention between averaged 8x16 regions is largest, anew at every call",
    source: "DraftAttention, arXiv:2505.14708; github.com/shawnricecake/draft-attention",
    options: [
      MethodOption("pool", default: "8x16", "rows x columns of the tokens that one region averages"),
      MethodOption(
        "sparsity", default: "0.75",
        "share of each head's pairs of regions that is cut, 0 to 1; upstream: 0.75 for Wan, 0.9 for HunyuanVideo"),
    ],
    dependsOnContent: true)

  /// Share of pairs of regions cut.
  public let sparsity: Double
  /// Rows and columns of a region.
  public let pool: (rows: Int, columns: Int)
  private let grid: TileGrid

  /// Regions of a grid, at most: the map has the square of them.
  static let largestRegionCount = 8192
  /// Entries of the maps computed at a time.
  private static let mapLimit = 1 << 26

  public init(_ options: inout OptionReader, context: MethodContext) throws {
    let extents = try options.extents("pool", default: [8, 16], in: 1...1024)
    pool = (extents[0], extents[1])
    sparsity = try options.number("sparsity", default: 0.75, in: 0...1)
    grid = TileGrid(context.layout, tile: (1, pool.rows, pool.columns))
    guard grid.tileBlocks.count <= Self.largestRegionCount else {
      throw options.invalid(
        "pool", expected: "at most \(Self.largestRegionCount) regions of a grid of \(context.layout.gridName)")
    }
  }

  /// Regions that a density target wants at least, and tokens of the smallest it makes for that.
  private static let wantedRegionCount = 32, smallestRegion = 16

  /// Solves for `sparsity`, taking the pairs of regions kept to be of average size; what content adds, where it leaves a
  /// row of regions nothing, is not foreseen. Where the default regions are fewer than 32, or fewer than two would be
  /// kept for each, their longer side is halved (of a square the rows), down to 16 tokens. Where an axis would end in a
  /// region of less than half, it is cut into as many regions of equal length.
  public static func options(
    forDensity density: Double, given: [String: String], context: MethodContext
  ) throws -> [String: String] {
    try leaveToTarget(["sparsity"], given)
    var reader = try OptionReader(given, for: information)
    let layout = context.layout, share = layout.keptOfVisual(density: density)
    let asked = try Self(&reader, context: context)
    var pool = asked.pool, options = given
    func regions() -> Int { TileWindow.counts(layout, tile: [1, pool.rows, pool.columns]).reduce(1, *) }
    if given["pool"] == nil {
      let wanted = max(Double(wantedRegionCount), 2 / max(share, 1e-9))
      while Double(regions()) < wanted, pool.rows * pool.columns > smallestRegion, regions() < largestRegionCount / 2 {
        if pool.columns > pool.rows { pool.columns /= 2 } else { pool.rows /= 2 }
      }
      pool = (evened(pool.rows, layout.height), evened(pool.columns, layout.width))
      if pool != asked.pool { options["pool"] = "\(pool.rows)x\(pool.columns)" }
    }
    let entries = regions() * regions(), kept = max(Int((share * Double(entries)).rounded()), 1)
    options["sparsity"] = "\(sparsity(keeping: kept, of: entries))"
    return options
  }

  /// A region's extent, made less where the axis would end in a region of less than half of it. Means of few tokens
  /// stand out, so such regions are kept more often than others, and hold less.
  private static func evened(_ extent: Int, _ length: Int) -> Int {
    guard length > extent, (1..<(extent + 1) / 2).contains(length % extent) else { return extent }
    let regions = (length + extent - 1) / extent
    return (length + regions - 1) / regions
  }

  /// A sparsity of few digits that keeps `kept` of a head's entries, by the rule of ``patterns``.
  static func sparsity(keeping kept: Int, of entries: Int) -> Double {
    guard kept < entries else { return 0 }
    let cut = entries - kept + 1, middle = (Double(cut) + 0.5) / Double(entries)
    var scale = 10.0
    while true {
      let value = min((middle * scale).rounded() / scale, 1)
      if Int(value * Double(entries)) == cut { return value }
      scale *= 10
    }
  }

  /// A quarter of the steps, as the paper; upstream's timestep thresholds come to 30 % of 50 steps.
  public func defaultDenseSteps(of stepCount: Int) -> Int { (stepCount + 3) / 4 }
  /// As upstream for Wan; for HunyuanVideo it is 2.
  public var defaultDenseLayers: Int { 1 }

  public func plan(_ site: AttentionSite, queries: Tensor, keys: Tensor) throws -> BlockPlan {
    let grid = site.layout == grid.layout ? grid : TileGrid(site.layout, tile: (1, pool.rows, pool.columns))
    let short = site.keyGrid.map { KeyBlocks(grid.order, starts: grid.starts, keyOf: $0.keys(of: site.layout)) }
    let keyOrder = short?.order ?? grid.order, keyStarts = short?.starts ?? grid.starts
    let keyTiles = grid.tileBlocks.lowerBound..<keyStarts.count - 1 - (grid.blocks - grid.tileBlocks.upperBound)

    let queryMeans = blockMeans(
      queries, order: grid.order.tokens, starts: Self.starts(grid.starts, of: grid.tileBlocks))
    let keyMeans = blockMeans(keys, order: keyOrder.tokens, starts: Self.starts(keyStarts, of: keyTiles))
    var text = BlockPattern(queryStarts: grid.starts, keyStarts: keyStarts)
    for row in 0..<text.rows where grid.isText(row) { text.keepAll(row: row) }
    for column in 0..<text.columns where !keyTiles.contains(column) { text.keepAll(column: column) }

    let heads = queries.shape[0], scale = 1 / Float(queries.shape[2]).squareRoot()
    let group = max(1, Self.mapLimit / (grid.tileBlocks.count * keyTiles.count))
    let patterns = stride(from: 0, to: heads, by: group).flatMap { first in
      let heads = first..<min(first + group, heads)
      let map = attentionProbabilities(queryMeans.slice(heads), keyMeans.slice(heads), scale: scale)
      return Self.patterns(map, sparsity: sparsity, upon: text, firstBlock: grid.tileBlocks.lowerBound)
    }
    return BlockPlan(
      orders: short == nil ? [grid.order] : [grid.order, keyOrder], patterns: patterns,
      heads: (0..<heads).map { .init(queryOrder: 0, keyOrder: short == nil ? 0 : 1, pattern: $0) })
  }

  private static func starts(_ starts: [Int32], of blocks: Range<Int>) -> [Int32] {
    Array(starts[blocks.lowerBound...blocks.upperBound])
  }

  /// Cuts the smallest entries of each head's map. Of `n` entries, `m = int(sparsity * n)` are cut but for the largest
  /// of them, whose value is the threshold and which stays, as upstream: `n - m + 1` are kept where no two are equal.
  /// - Parameters:
  ///   - map: `[h, rows of regions, columns of regions]`.
  ///   - base: what is kept anyway.
  ///   - firstBlock: the block of the first region.
  /// - Returns: one pattern a head.
  static func patterns(
    _ map: Tensor, sparsity: Double, upon base: BlockPattern, firstBlock: Int
  ) -> [BlockPattern] {
    let (heads, rows, columns) = (map.shape[0], map.shape[1], map.shape[2])
    let cut = Int(sparsity * Double(rows * columns))
    let thresholds = cut > 0 ? orderStatistic(map.reshaped(heads, rows * columns), rank: cut - 1).elements : nil
    let entries = map.elements
    return (0..<heads).map { head in
      var pattern = base
      let threshold = thresholds?[head] ?? -1
      for row in 0..<rows {
        let start = (head * rows + row) * columns
        var largest = 0, isEmpty = true
        for column in 0..<columns {
          let entry = entries[start + column]
          if entry > entries[start + largest] { largest = column }
          if entry >= threshold {
            pattern[firstBlock + row, firstBlock + column] = true
            isEmpty = false
          }
        }
        if isEmpty { pattern[firstBlock + row, firstBlock + largest] = true }
      }
      return pattern
    }
  }
}
