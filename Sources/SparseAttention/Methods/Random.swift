import Kernels
import Tensors

/// The baseline that every other method is measured against: as many query-key pairs as asked for, in blocks drawn at
/// random. A method that loses more than this at the same density chooses worse than chance.
///
/// Visual tokens lie in model order and are cut into blocks of equal length. Each block of queries reads blocks drawn
/// without replacement, every one as likely as every other, its own included; how many is carried over from row to row,
/// so each row is within one block of what is asked for, and each head within one block. No row is left empty, whatever
/// the density. Text reads everything and is read by everything.
///
/// Each layer, head and step has a pattern of its own. A pattern that lasted the whole run would keep the same tokens
/// from each other at every step, and its score would rest on the luck of one draw; drawn anew, the errors of one step
/// are not those of the next, which makes the baseline the harder one to beat. It costs a few operations for each pair
/// of blocks, on which attention spends ten thousands. Both guidance branches of a step share a pattern, since guidance
/// scales up what differs between them.
public struct RandomAttention: GeometricPlanner {
  public static let information = MethodInformation(
    name: "random",
    summary: "a baseline: blocks kept at random, anew for each layer, head and step",
    source: "none: chance; drawn with Philox4x32-10 (Salmon et al., SC11)",
    options: [
      MethodOption("density", default: "0.5", "share of query-key pairs kept, text included, 0 to 1"),
      MethodOption("block", default: "128; less for grids of under 4096 tokens", "edge of a block in tokens"),
      MethodOption("seed", default: "0", "other seeds draw other blocks"),
    ])

  /// Share of pairs kept.
  let density: Double
  /// Tokens of a block.
  let block: Int
  let seed: Int

  public init(_ options: inout OptionReader, context: MethodContext) throws {
    let layout = context.layout
    density = try options.number("density", default: 0.5, in: 0...1)
    block = try options.integer("block", default: Self.block(for: layout), in: 4...1 << 20)
    seed = try options.integer("seed", default: 0, in: 0...Int.max)
    guard layout.visualCount / block < BlockPlan.blockLimit else {
      throw options.invalid("block", expected: "at most \(BlockPlan.blockLimit) blocks of \(layout.visualCount) tokens")
    }
  }

  /// The largest power of two up to 128 that cuts the grid into 32 blocks or more, but 4 at least.
  static func block(for layout: TokenLayout) -> Int {
    min(max(1 << max((layout.visualCount / 32).bitLength - 1, 0), 4), 128)
  }

  public static func options(
    forDensity density: Double, given: [String: String], context: MethodContext
  ) throws -> [String: String] {
    try leaveToTarget(["density"], given)
    return given.merging(["density": "\(density)"]) { $1 }
  }

  public func planKey(_ site: AttentionSite) -> AttentionSite {
    var key = site
    key.call.branch = 0
    return key
  }

  public func plan(_ site: AttentionSite) throws -> BlockPlan {
    let blocks = PAROBlocks(site.layout, block: block), text = blocks.textPattern
    let visual = Double(site.layout.visualCount), all = Double(site.layout.count)
    // What is left of the pairs asked for when text has taken its own.
    let pairs = min(max(density * all * all - (all * all - visual * visual), 0), visual * visual)
    let patterns = (0..<site.heads).map { head in
      var pattern = text
      var draws = Draws(seed: seed, step: site.call.step, layer: site.layer, head: head)
      Self.keep(pairs, of: blocks, in: &pattern, drawing: &draws)
      return pattern
    }
    return BlockPlan(
      orders: [.model(site.layout.count)], patterns: patterns,
      heads: (0..<site.heads).map { .init(order: 0, pattern: $0) })
  }

  /// Keeps blocks of one head until as many pairs of visual tokens are kept as asked for, give or take half a block.
  private static func keep(
    _ pairs: Double, of blocks: PAROBlocks, in pattern: inout BlockPattern, drawing draws: inout Draws
  ) {
    let lengths = blocks.lengths.map(Double.init), first = blocks.visual.lowerBound
    let rate = pairs / lengths.reduce(0, +)
    var due = 0.0, kept = 0.0
    for (row, length) in lengths.enumerated() {
      due += rate * length
      // The columns that are not drawn yet come last.
      var columns = Array(lengths.indices)
      for index in columns.indices {
        columns.swapAt(index, index + draws.next(below: columns.count - index))
        let area = length * lengths[columns[index]]
        guard index == 0 || kept + area / 2 <= due else { break }
        pattern[first + row, first + columns[index]] = true
        kept += area
      }
    }
  }
}

/// Numbers drawn for one head of one call, the same on every machine: word `i` of a head's draws is word `i mod 4` of the
/// Philox block of key `seed` and counter `[i / 4, head, layer, step]`.
private struct Draws {
  private let key: SIMD2<UInt32>
  private var counter: SIMD4<UInt32>
  private var words = SIMD4<UInt32>(), used = 4

  init(seed: Int, step: Int, layer: Int, head: Int) {
    key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    counter = SIMD4(
      0, UInt32(truncatingIfNeeded: head), UInt32(truncatingIfNeeded: layer), UInt32(truncatingIfNeeded: step))
  }

  mutating func next(below limit: Int) -> Int {
    if used == 4 {
      words = philox4x32(counter: counter, key: key)
      counter.x &+= 1
      used = 0
    }
    defer { used += 1 }
    return Int((UInt64(words[used]) * UInt64(limit)) >> 32)
  }
}
