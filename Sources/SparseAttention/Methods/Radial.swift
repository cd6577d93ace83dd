import Kernels

/// Radial attention (arXiv:2506.19852; mit-han-lab/radial-attention, `radial_attn/attn_mask.py` at 72788d4): near
/// frames see each other whole, farther ones a diagonal band that narrows with their distance, the farthest only some
/// of each other. One pattern for all heads, layers and steps.
///
/// Differs from the published code where that drops tokens: the last block may be short, a frame's tail that reaches
/// into one more block counts, and a block always reads itself. On grids whose frames are whole blocks the patterns
/// are the published ones.
public struct RadialAttention: GeometricPlanner {
  /// What counts as a frame.
  enum Along: String, CaseIterable { case auto, frames, rows }

  public static let information = MethodInformation(
    name: "radial",
    summary: "bands around the diagonal that narrow with the distance in time (in rows for images)",
    source: "Li et al. 2025, arXiv:2506.19852; github.com/mit-han-lab/radial-attention at 72788d4",
    options: [
      MethodOption(
        "rule", default: RadialBands.Rule.current.rawValue,
        "band widths: current (the code), before-2025-11 (its narrower band between neighbouring frames), paper"),
      MethodOption(
        "decay", default: "1",
        "0...1, narrows the bands of frames two or more apart; upstream scripts: 0.2 Wan 2.1, 0.8 Wan 2.2, "
          + "0.95 HunyuanVideo"),
      MethodOption("sink", default: "true", "every query reads all of the first frame; upstream: not for HunyuanVideo"),
      MethodOption(
        "along", default: "auto",
        "what counts as a frame: frames, rows (each row of tokens), or auto: rows for images, frames for videos"),
      MethodOption(
        "block", default: "128, 32 along rows; less where a frame is smaller", "edge of a block in tokens"),
      MethodOption(
        "thinning", default: "128; the block along rows or where a frame is smaller",
        "bands that would be narrower than this many tokens keep only every second, fourth ... frame"),
      MethodOption(
        "tails", default: "true",
        "whether the end of a frame that reaches into one block more counts; false as upstream"),
    ])

  public var defaultDenseLayers: Int { 1 }
  /// 12 of 50, as in the paper.
  public func defaultDenseSteps(of stepCount: Int) -> Int { (stepCount * 24 + 99) / 100 }

  private let bands: RadialBands
  private let along: Along

  public init(_ options: inout OptionReader, context: MethodContext) throws {
    let layout = context.layout
    var along = try options.choice("along", default: Along.auto)
    if along == .auto { along = layout.frames > 1 ? .frames : .rows }
    self.along = along
    let (size, count) = Self.frames(layout, along)
    let suited = Self.block(size: size, along)
    let rule = try options.choice("rule", default: RadialBands.Rule.current)
    let decay = try options.number("decay", default: 1, in: 0...1)
    let sink = try options.flag("sink", default: true)
    let block = try options.integer("block", default: suited, in: 4...1 << 20)
    let standard = along == .rows ? block : suited
    let thinning = try options.integer("thinning", default: standard, in: 1...1 << 20)
    let tails = try options.flag("tails", default: true)
    if rule == .paper {
      guard decay == 1 else { throw options.invalid("decay", expected: "1 with rule=paper, which has no decay") }
      guard thinning == standard else {
        throw options.invalid("thinning", expected: "\(standard) with rule=paper, which thins by its own formula")
      }
    }
    guard layout.visualCount / block < BlockPlan.blockLimit else {
      throw options.invalid("block", expected: "at most \(BlockPlan.blockLimit) blocks of \(layout.visualCount) tokens")
    }
    bands = RadialBands(
      size: size, count: count, rule: rule, decay: decay, sink: sink, block: block, thinning: thinning, tails: tails)
  }

  /// Tokens of a frame, and number of frames.
  static func frames(_ layout: TokenLayout, _ along: Along) -> (size: Int, count: Int) {
    along == .rows ? (layout.width, layout.frames * layout.height) : (layout.frameCount, layout.frames)
  }

  /// The default edge of a block where frames have `size` tokens.
  static func block(size: Int, _ along: Along) -> Int {
    min(along == .rows ? 32 : 128, max(1 << (size.bitLength - 1), 4))
  }

  public func planKey(_ site: AttentionSite) -> AttentionSite { site.anywhere }

  public func plan(_ site: AttentionSite) throws -> BlockPlan {
    let layout = site.layout
    var bands = bands
    (bands.size, bands.count) = Self.frames(layout, along)
    // Blocks of visual tokens are counted from the first of them; text has blocks of its own.
    var starts: [Int32] = []
    func cut(_ range: Range<Int>, into block: Int) {
      starts += stride(from: range.lowerBound, to: range.upperBound, by: block).map(Int32.init)
    }
    let visual = layout.prefix..<layout.prefix + layout.visualCount
    cut(0..<visual.lowerBound, into: TileGrid.textBlock)
    let first = starts.count
    cut(visual, into: bands.block)
    let end = starts.count
    cut(visual.upperBound..<layout.count, into: TileGrid.textBlock)
    starts.append(Int32(layout.count))

    var pattern = BlockPattern(queryStarts: starts, keyStarts: starts)
    bands.keep(in: &pattern, from: first)
    for block in 0..<pattern.rows where block < first || block >= end {
      pattern.keepAll(row: block)
      pattern.keepAll(column: block)
    }
    return BlockPlan(order: .model(layout.count), pattern: pattern, heads: site.heads)
  }
}
