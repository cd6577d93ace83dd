import Foundation
import Kernels

/// PAROAttention (arXiv:2506.16054; jamescsq47/PAROAtten, commit 3ac854f): attention that is local along one axis looks
/// scattered while tokens lie frame by frame and row by row, and compact once they lie along another axis. So each head
/// has an order of its own, one of six, and static masks of blocks in that order, both from a calibration file.
///
/// Upstream lets the last text tokens share blocks with the first visual ones and computes the last block row and
/// column whatever the mask says, because its blocks are all of 64 tokens. Ours may be shorter: text lies in blocks of
/// its own, before and after as the model has it, which read everything and are read by everything; the last visual
/// block holds what is left and obeys its mask.
public struct PAROAttention: GeometricPlanner {
  public static let information = MethodInformation(
    name: "paro",
    summary: "each head's tokens in the axis order that makes its attention compact, with static masks of blocks",
    source: "PAROAttention, arXiv:2506.16054; github.com/jamescsq47/PAROAtten",
    options: [
      MethodOption(
        "calibration", default: "auto",
        "the file with orders and masks; auto is paro-FxHxW.json in the pipeline's attention folder"),
      MethodOption(
        "density", default: "0.5", "share of pairs of visual tokens kept: one of those in the file, or 1 for all"),
      MethodOption(
        "interpolate", default: "false",
        "take a file made for another number of steps or of text tokens; a step takes the masks of the one that its "
          + "middle falls into when both runs are stretched to one length"),
    ],
    calibrationOptions: PAROCalibrator.Settings.options)

  /// The axes of each order from slowest to fastest, by the index that files name it with.
  static let axes: [(name: String, axes: TokenOrder.Axes)] = [
    ("FHW", .init([0, 1, 2])), ("FWH", .init([0, 2, 1])), ("HWF", .init([1, 2, 0])), ("HFW", .init([1, 0, 2])),
    ("WHF", .init([2, 1, 0])), ("WFH", .init([2, 0, 1])),
  ]

  private let file: PAROPlanFile
  private let layout: TokenLayout
  private let blocks: PAROBlocks
  /// Index of the density asked for; `nil` keeps all pairs.
  private let density: Int?
  /// Group of masks of each step of the run, and the first step of each group that has one.
  private let groups: [Int], firstSteps: [Int: Int]
  /// Index of each order's tokens in ``tokens``; orders that nobody has are left out.
  private let places: [Int: Int]
  private let tokens: [TokenOrder]

  public var calibrationFiles: [String] { [file.path, file.masksPath] }

  public init(_ options: inout OptionReader, context: MethodContext) throws {
    let calibration = options.text("calibration") ?? "auto"
    let asked = try options.number("density", default: 0.5, in: 0...1)
    let interpolate = try options.flag("interpolate", default: false)
    let file = try PAROPlanFile(Self.path(calibration, context), context: context, interpolate: interpolate)
    let density = file.table.densities.firstIndex { abs($0 - asked) < 1e-9 }
    guard density != nil || asked == 1 else {
      let known = file.table.densities.map { "\($0)" }.joined(separator: ", ")
      throw options.invalid("density", expected: "1 or one of those in \(file.path): \(known)")
    }
    let layout = context.layout, steps = context.stepCount
    (self.file, self.layout, self.density) = (file, layout, density)
    blocks = PAROBlocks(layout, block: file.table.block)
    let made = file.table.stepGroup
    let groups = (0..<steps).map { made[(2 * $0 + 1) * made.count / (2 * steps)] }
    self.groups = groups
    firstSteps = Dictionary(groups.enumerated().map { ($1, $0) }, uniquingKeysWith: min)
    let used = Set(file.table.orders.joined()).sorted()
    places = Dictionary(uniqueKeysWithValues: used.enumerated().map { ($1, $0) })
    tokens = used.map { TokenOrder(layout, axes: Self.axes[$0].axes) }
  }

  private static func path(_ calibration: String, _ context: MethodContext) throws -> String {
    if calibration != "auto" { return calibration }
    let name = CalibrationHeader.fileName(method: information.name, layout: context.layout)
    guard let folder = context.calibrationFolder else {
      throw AttentionError.calibration(
        path: name, reason: "this pipeline has no folder of calibrations; \(PAROPlanFile.remedy)")
    }
    return folder + "/" + name
  }

  public static func makeCalibrator(
    _ options: inout OptionReader, context: MethodContext, executor: any AttentionExecutor
  ) throws -> (any AttentionCalibrator)? {
    try PAROCalibrator(PAROCalibrator.Settings(&options, context: context), context: context, executor: executor)
  }

  /// The set of masks whose density is nearest; throws where none is near.
  public static func options(
    forDensity density: Double, given: [String: String], context: MethodContext
  ) throws -> [String: String] {
    try leaveToTarget(["density"], given)
    var reader = try OptionReader(given, for: information)
    let path = try path(reader.text("calibration") ?? "auto", context)
    let file = try PAROPlanFile(path, context: context, interpolate: reader.flag("interpolate", default: false))
    let densities = file.table.densities + (density == 1 && !file.table.densities.contains(1) ? [1] : [])
    let misses = densities.map { abs(context.layout.density(keptOfVisual: $0) - density) / density }
    let best = misses.indices.min { misses[$0] < misses[$1] }!
    guard misses[best] <= AttentionMethods.densityTolerance else {
      let known = densities.map { "\($0)" }.joined(separator: ", ")
      throw AttentionError.calibration(
        path: path, reason: "no masks within 10 % of density \(density), only of \(known) of visual pairs")
    }
    return given.merging(["density": "\(densities[best])"]) { $1 }
  }

  private func group(_ site: AttentionSite) -> Int { groups[min(site.call.step, groups.count - 1)] }

  public func planKey(_ site: AttentionSite) -> AttentionSite {
    var key = site
    key.call = DenoisingCall(step: firstSteps[group(site)] ?? 0, of: site.call.stepCount)
    return key
  }

  public func plan(_ site: AttentionSite) throws -> BlockPlan {
    guard site.layout == layout else {
      throw AttentionError.unsuitable(
        method: Self.information.name,
        reason: "its masks are of \(layout.gridName) tokens, this call has \(site.layout.gridName)")
    }
    let text = blocks.textPattern
    let patterns = try (0..<site.heads).map { head in
      var pattern = text
      guard let density else {
        for row in blocks.visual { pattern.keepAll(row: row) }
        return pattern
      }
      file.forEachKept(density: density, group: group(site), layer: site.layer, head: head) { row, column in
        pattern[blocks.visual.lowerBound + row, blocks.visual.lowerBound + column] = true
      }
      for row in blocks.visual where !pattern.keptColumns(row).contains(where: blocks.visual.contains) {
        throw AttentionError.calibration(
          path: file.path,
          reason: "layer \(site.layer), head \(head) keeps nothing for block \(row - blocks.visual.lowerBound)")
      }
      return pattern
    }
    let orders = file.table.orders[site.layer]
    return BlockPlan(
      orders: tokens, patterns: patterns,
      heads: (0..<site.heads).map { .init(order: places[orders[$0]]!, pattern: $0) })
  }
}

/// How a layout is cut for PARO and for random blocks: text before, visual tokens in blocks of one size, the last one
/// shorter, text after.
struct PAROBlocks {
  /// Position where each block begins, and where the last one ends.
  let starts: [Int32]
  /// The blocks of visual tokens.
  let visual: Range<Int>

  init(_ layout: TokenLayout, block: Int) {
    var starts: [Int32] = [0]
    func cut(_ count: Int, _ size: Int) {
      let first = Int(starts[starts.count - 1])
      starts += stride(from: 0, to: count, by: size).map { Int32(first + min($0 + size, count)) }
    }
    cut(layout.prefix, TileGrid.textBlock)
    let first = starts.count - 1
    cut(layout.visualCount, block)
    visual = first..<starts.count - 1
    cut(layout.suffix, TileGrid.textBlock)
    self.starts = starts
  }

  /// Tokens of each visual block.
  var lengths: [Int] { visual.map { Int(starts[$0 + 1] - starts[$0]) } }

  /// Text alone: its rows and columns kept.
  var textPattern: BlockPattern {
    var pattern = BlockPattern(queryStarts: starts, keyStarts: starts)
    for block in 0..<pattern.rows where !visual.contains(block) {
      pattern.keepAll(row: block)
      pattern.keepAll(column: block)
    }
    return pattern
  }
}
