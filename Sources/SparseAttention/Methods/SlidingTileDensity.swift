/// Density targets of ``SlidingTileAttention``: the window is solved for, and on small grids the tile.
extension SlidingTileAttention {
  /// Boxes that the search makes have this many tokens at least: smaller ones cost the kernel more than they save.
  private static let smallestTile = 16
  /// Windows whose densities differ by less than this share of the target are equally near.
  private static let tie = 0.02

  /// Takes the window whose density is nearest; of those about equally near, the most compact. Where no window of
  /// the default tile meets the target, it takes the largest of the tiles that the default one can be halved into
  /// that has such a window; failing that, the nearest of all.
  public static func options(
    forDensity density: Double, given: [String: String], context: MethodContext
  ) throws -> [String: String] {
    try leaveToTarget(["window"], given)
    var reader = try OptionReader(given, for: information)
    if let calibration = reader.text("calibration"), calibration != "none" {
      throw reader.invalid("calibration", expected: "none beside a target density: a table has its own windows")
    }
    let grid = try Self.tile(&reader, context), layout = context.layout
    let tile = [grid.tile.frames, grid.tile.height, grid.tile.width]
    var best: (tile: [Int], window: TileWindow, miss: Double)?
    for candidate in [tile] + (given["tile"] == nil ? smallerTiles(than: tile, layout) : []) {
      let (window, miss) = nearest(density, layout, tile: candidate)
      if miss < best?.miss ?? .infinity { best = (candidate, window, miss) }
      if miss <= AttentionMethods.densityTolerance { break }
    }
    var options = given
    options["window"] = best!.window.description
    if best!.tile != tile { options["tile"] = best!.tile.map(String.init).joined(separator: "x") }
    return options
  }

  /// The window for a density, and how far it is off as a share of it.
  private static func nearest(_ density: Double, _ layout: TokenLayout, tile: [Int]) -> (TileWindow, miss: Double) {
    let windows = TileWindow.all(layout, tile: tile).map { window in
      let found = layout.density(keptOfVisual: window.density(layout, tile: tile))
      return (window: window, miss: abs(found - density) / density)
    }
    let least = windows.reduce(.infinity) { min($0, $1.miss) }
    let best = windows.filter { $0.miss <= least + tie }
      .min { ($0.window.spread(layout, tile: tile), $0.miss) < ($1.window.spread(layout, tile: tile), $1.miss) }!
    return (best.window, best.miss)
  }

  /// What a tile becomes when its extents are halved any number of times, largest first, of equals the most compact.
  static func smallerTiles(than tile: [Int], _ layout: TokenLayout) -> [[Int]] {
    func halves(_ extent: Int) -> [Int] { extent == 1 ? [1] : [extent] + halves((extent + 1) / 2) }
    var tiles: [[Int]] = []
    for frames in halves(tile[0]) {
      for rows in halves(tile[1]) {
        for columns in halves(tile[2]) where frames * rows * columns >= smallestTile {
          let boxes = TileWindow.counts(layout, tile: [frames, rows, columns]).reduce(1, *)
          if boxes <= BlockPlan.blockLimit { tiles.append([frames, rows, columns]) }
        }
      }
    }
    func rank(_ tile: [Int]) -> (Int, Int) { (-tile.reduce(1, *), tile.reduce(0) { $0 + $1 * $1 }) }
    return tiles.filter { $0 != tile }.sorted {
      rank($0) == rank($1) ? $0.lexicographicallyPrecedes($1) : rank($0) < rank($1)
    }
  }
}
