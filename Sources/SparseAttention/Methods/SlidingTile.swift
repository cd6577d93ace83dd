import Kernels

/// Sliding tile attention (arXiv:2502.04507; hao-ai-lab/FastVideo): tokens are cut into boxes, and the queries of a box
/// read the boxes of a window around it. At the borders the window is moved inwards, so all boxes read equally many.
/// Each head may have a window of its own in every layer and step, from a table that ``SlidingTileCalibrator`` makes.
/// With `interpolate` a table for another grid or number of steps will do: see ``TileWindow/scaled(from:to:)`` for its
/// windows; step `i` of `n` takes those of step `floor((i + 0.5) * m / n)` of the table's `m`.
///
/// Differs from the published code in that any grid works: boxes at the far borders are shorter.
public struct SlidingTileAttention: GeometricPlanner {
  public static let information = MethodInformation(
    name: "sliding-tile",
    summary: "a window of neighbouring boxes, per head where a table was calibrated",
    source: "Zhang et al. 2025, arXiv:2502.04507; github.com/hao-ai-lab/FastVideo at 7175293^",
    options: [
      MethodOption("tile", default: "6x8x8, 1x8x8 for images", "extent of a box in tokens: frames x rows x columns"),
      MethodOption(
        "window", default: "3x3x3",
        "boxes read along frames, rows and columns; an even number reads one more, unless the grid has no more"),
      MethodOption(
        "calibration", default: "none",
        "table of windows by step, layer and head: a file, or auto for the pipeline's own; it brings its tile"),
      MethodOption(
        "interpolate", default: "false",
        "use a table made for another grid or number of steps: windows keep their share of each axis"),
    ],
    calibrationOptions: [
      MethodOption("tile", default: "6x8x8, 1x8x8 for images", "extent of a box in tokens: frames x rows x columns"),
      MethodOption("candidates", default: "chosen by density", "windows to choose from, such as 3x1x10/1x5x7"),
      MethodOption("density", default: "0.3", "share of pairs that candidates keep, where none are given"),
      MethodOption(
        "cost-weight", default: "0",
        "w: a head takes the window with the least loss + w * density, losses as shares of its worst window's; 0 is "
          + "the paper's rule"),
    ])

  /// 12 of 50, 6 of 25, 3 of 10, as in the paper.
  public func defaultDenseSteps(of stepCount: Int) -> Int { (stepCount * 24 + 99) / 100 }

  private enum Windows { case same(TileWindow), table(SlidingTileTable) }
  private let windows: Windows
  private let grid: TileGrid
  public let calibrationFiles: [String]

  /// The same window for every head.
  init(grid: TileGrid, window: TileWindow) { self.init(grid: grid, windows: .same(window)) }

  private init(grid: TileGrid, windows: Windows, calibrationFiles: [String] = []) {
    (self.grid, self.windows, self.calibrationFiles) = (grid, windows, calibrationFiles)
  }

  public init(_ options: inout OptionReader, context: MethodContext) throws {
    let interpolate = try options.flag("interpolate", default: false)
    guard let calibration = options.text("calibration"), calibration != "none" else {
      let tile = try Self.tile(&options, context)
      let window = try options.extents("window", default: [3, 3, 3], in: TileWindow.range)
      self.init(grid: tile, window: TileWindow(window))
      return
    }
    for name in ["tile", "window"] where options.text(name) != nil {
      throw options.invalid(name, expected: "nothing beside a calibration, which has its own")
    }
    var path = calibration
    if calibration == "auto" {
      guard let folder = context.calibrationFolder else {
        throw options.invalid("calibration", expected: "a file: this pipeline has no folder of tables")
      }
      path = folder + "/" + CalibrationHeader.fileName(method: Self.information.name, layout: context.layout)
    }
    let table = try SlidingTileTable(path: path, context: context, interpolate: interpolate)
    self.init(grid: TileGrid(context.layout, tile: table.tile), windows: .table(table), calibrationFiles: [path])
  }

  /// The boxes that the option `tile` asks for.
  static func tile(_ options: inout OptionReader, _ context: MethodContext) throws -> TileGrid {
    let layout = context.layout
    let tile = try options.extents("tile", default: layout.frames > 1 ? [6, 8, 8] : [1, 8, 8], in: TileWindow.range)
    guard TileWindow.counts(layout, tile: tile).reduce(1, *) <= BlockPlan.blockLimit else {
      throw options.invalid("tile", expected: "at most \(BlockPlan.blockLimit) boxes of a grid of \(layout.gridName)")
    }
    return TileGrid(layout, tile: (tile[0], tile[1], tile[2]))
  }

  public static func makeCalibrator(
    _ options: inout OptionReader, context: MethodContext, executor: any AttentionExecutor
  ) throws -> (any AttentionCalibrator)? {
    try SlidingTileCalibrator(&options, context: context, executor: executor)
  }

  public func planKey(_ site: AttentionSite) -> AttentionSite {
    guard case .table = windows else { return site.anywhere }
    var key = site
    key.call.branch = 0
    return key
  }

  public func plan(_ site: AttentionSite) throws -> BlockPlan {
    let grid = site.layout == grid.layout ? grid : TileGrid(site.layout, tile: grid.tile)
    let byHead: [TileWindow] =
      switch windows {
      case .same(let window): Array(repeating: window, count: site.heads)
      case .table(let table): try table.windows(site)
      }
    var plan = BlockPlan(orders: [grid.order], patterns: [], heads: [])
    var made: [TileWindow: Int] = [:]
    for window in byHead {
      if made[window] == nil {
        made[window] = plan.patterns.count
        plan.patterns.append(window.pattern(over: grid))
      }
      plan.heads.append(BlockPlan.Head(order: 0, pattern: made[window]!))
    }
    return plan
  }
}
