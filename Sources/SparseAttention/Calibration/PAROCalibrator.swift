import Kernels
import Tensors

/// Gathers what PARO's orders and masks are chosen from: sums of dense attention over blocks, for each step group,
/// layer and head, in every order that could be chosen. The average is over prompts, guidance branches and observed
/// steps.
///
/// No map exists as a whole. Sums of all orders are held until the end, since an order is one for all steps.
public final class PAROCalibrator: AttentionCalibrator {
  struct Settings: Sendable {
    enum Scope: String, CaseIterable, Sendable { case head, layer }
    let block: Int, densities: [Double], groups: Int, every: Int, queries: Int
    let alpha: Double, epsilon: Double, sigma: Double, scope: Scope, reorder: Bool

    static let options = [
      MethodOption("block", default: "64", "tokens of a block; small grids want less"),
      MethodOption("densities", default: "0.5/0.3/0.2/0.1", "shares of pairs of visual tokens to make masks for"),
      MethodOption(
        "groups", default: "0",
        "groups of neighbouring steps that share masks; 0: each step of the first half its own, the second half one"),
      MethodOption("every", default: "1", "look at the first step of a group and each so many steps after it"),
      MethodOption(
        "queries", default: "0",
        "query tokens looked at in a block, on average; 0: all in grids of up to 4096 tokens, else 16"),
      MethodOption("alpha", default: "0.5", "weight of skippable blocks, against flat ones, in the choice of an order"),
      MethodOption("epsilon", default: "0.001", "entries of the attention map below it are small"),
      MethodOption("sigma", default: "0.9", "share of small entries that makes a block skippable"),
      MethodOption("scope", default: "head", "head: every head keeps the same share; layer: a layer's heads share it"),
      MethodOption("reorder", default: "true", "false leaves every head's tokens as they are, for comparison"),
    ]

    init(_ options: inout OptionReader, context: MethodContext) throws {
      block = try options.integer("block", default: 64, in: 8...4096)
      guard context.layout.visualCount / block < BlockPlan.blockLimit else {
        throw options.invalid(
          "block", expected: "at most \(BlockPlan.blockLimit) blocks of \(context.layout.visualCount) tokens")
      }
      let text = options.text("densities") ?? "0.5/0.3/0.2/0.1"
      let parts = text.split(separator: "/", omittingEmptySubsequences: false).map { Double($0) ?? 0 }
      guard (1...16).contains(parts.count), Set(parts).count == parts.count, parts.allSatisfy({ $0 > 0 && $0 <= 1 })
      else {
        throw options.invalid("densities", expected: "1 to 16 different numbers above 0 and at most 1, joined by '/'")
      }
      densities = parts
      groups = try options.integer("groups", default: 0, in: 0...10_000)
      every = try options.integer("every", default: 1, in: 1...10_000)
      queries = try options.integer("queries", default: 0, in: 0...4096)
      alpha = try options.number("alpha", default: 0.5, in: 0...1)
      epsilon = try options.number("epsilon", default: 0.001, in: 0...1)
      sigma = try options.number("sigma", default: 0.9, in: 0...1)
      scope = try options.choice("scope", default: .head)
      reorder = try options.flag("reorder", default: true)
    }
  }

  /// What is known of one layer over all observed calls.
  private struct Shapes {
    var calls = 0.0
    /// Sums over calls, by head and candidate.
    var total: [PAROSelection.Shape]
  }
  private struct Place: Hashable {
    var group: Int, layer: Int
  }

  private let settings: Settings, context: MethodContext, executor: any AttentionExecutor
  private let blocks: PAROBlocks, stepGroup: [Int]
  /// Orders that differ on this grid, as indices and as tokens.
  private let candidates: [(index: Int, order: TokenOrder)]
  /// Tokens whose rows are looked at.
  private let queries: [Int32]
  private var cuts: [KeyGrid?: [BlockCut]] = [:]
  private var shapes: [Shapes]
  /// Block sums by head, candidate, row and column.
  private var sums: [Place: [Float]] = [:]

  /// Bytes of block sums held at most.
  private static let memoryLimit = 4 << 30

  init(_ settings: Settings, context: MethodContext, executor: any AttentionExecutor) throws {
    (self.settings, self.context, self.executor) = (settings, context, executor)
    let layout = context.layout, blocks = PAROBlocks(layout, block: settings.block)
    self.blocks = blocks
    stepGroup = PAROSelection.stepGroups(of: context.stepCount, groups: settings.groups)
    var candidates: [(index: Int, order: TokenOrder)] = []
    for (index, entry) in PAROAttention.axes.enumerated().prefix(settings.reorder ? 6 : 1) {
      let order = TokenOrder(layout, axes: entry.axes)
      if !candidates.contains(where: { $0.order == order }) { candidates.append((index, order)) }
    }
    self.candidates = candidates
    let side = blocks.visual.count, groups = (stepGroup.max() ?? 0) + 1
    let parts = [groups, context.layerCount, context.heads, candidates.count, side, side]
    let bytes = parts.reduce(4.0) { $0 * Double($1) }
    guard bytes <= Double(Self.memoryLimit) else {
      throw AttentionError.unsuitable(
        method: PAROAttention.information.name,
        reason: "calibrating \(groups) step groups x \(context.layerCount) layers x \(context.heads) heads x "
          + "\(candidates.count) orders of \(side) x \(side) blocks takes \(Int(bytes / 1e9)) GB; "
          + "fewer groups, a larger block or reorder=false take less")
    }
    let all = settings.queries == 0 ? layout.visualCount <= 4096 : settings.queries >= settings.block
    queries = Self.sample(
      layout, candidates.map(\.order), block: settings.block,
      perBlock: all ? settings.block : settings.queries == 0 ? 16 : settings.queries)
    let none = PAROSelection.Shape(sparse: 0, peakedness: 0)
    shapes = Array(
      repeating: Shapes(total: Array(repeating: none, count: context.heads * candidates.count)),
      count: context.layerCount)
  }

  /// Visual tokens drawn at random, the same ones each time, with at least one in every block of every order.
  static func sample(_ layout: TokenLayout, _ orders: [TokenOrder], block: Int, perBlock: Int) -> [Int32] {
    let visual = layout.prefix..<layout.prefix + layout.visualCount
    if perBlock >= block { return visual.map(Int32.init) }
    var isPicked = [Bool](repeating: false, count: layout.count)
    for token in visual {
      var z = UInt64(token + 1) &* 0x9E37_79B9_7F4A_7C15
      z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
      isPicked[token] = Int((z ^ z >> 31) % UInt64(block)) < perBlock
    }
    for order in orders {
      for start in stride(from: visual.lowerBound, to: visual.upperBound, by: block) {
        let tokens = order.tokens[start..<min(start + block, visual.upperBound)]
        if !tokens.contains(where: { isPicked[Int($0)] }) { isPicked[Int(tokens[start])] = true }
      }
    }
    return visual.filter { isPicked[$0] }.map(Int32.init)
  }

  public func callAsFunction(_ q: Tensor, _ k: Tensor, _ v: Tensor, at site: AttentionSite) throws -> Tensor {
    guard site.layout == context.layout, site.heads == context.heads, site.layer < context.layerCount,
      site.call.stepCount == context.stepCount, site.call.step < context.stepCount
    else {
      throw AttentionError.unsuitable(
        method: PAROAttention.information.name,
        reason: "calibrating for a grid of \(context.layout.gridName) and \(context.stepCount) steps, called for "
          + "\(site.layout.gridName) and \(site.call.stepCount)")
    }
    let scale = 1 / Float(q.shape[3]).squareRoot()
    let result = try executor.attend(q, k, v, plan: nil, scale: scale)
    let group = stepGroup[site.call.step]
    guard (site.call.step - stepGroup.firstIndex(of: group)!) % settings.every == 0 else { return result }
    let cuts = self.cuts[site.keyGrid] ?? candidates.map { cut($0.order, site.keyGrid) }
    self.cuts[site.keyGrid] = cuts
    for sample in 0..<q.shape[0] {
      let statistics = attentionBlockStatistics(
        q[at: sample], k[at: sample], scale: scale, queries: queries, cuts: cuts, below: Float(settings.epsilon))
      add(statistics, cuts, at: Place(group: group, layer: site.layer))
    }
    return result
  }

  /// How queries and keys fall into the blocks of an order. A key stands in its token's block.
  private func cut(_ order: TokenOrder, _ grid: KeyGrid?) -> BlockCut {
    let layout = context.layout, first = layout.prefix
    let keyOf = grid?.keys(of: layout) ?? (0..<Int32(layout.count)).map { $0 }
    var cut = BlockCut(
      keyOrder: [], keyStarts: [0], queryBlocks: Array(repeating: -1, count: layout.count), rows: blocks.visual.count)
    for block in 0..<blocks.visual.count {
      let start = first + block * settings.block
      for token in order.tokens[start..<min(start + settings.block, first + layout.visualCount)] {
        cut.queryBlocks[Int(token)] = Int32(block)
        if keyOf[Int(token)] >= 0 { cut.keyOrder.append(keyOf[Int(token)]) }
      }
      cut.keyStarts.append(Int32(cut.keyOrder.count))
    }
    return cut
  }

  private func add(_ statistics: BlockStatistics, _ cuts: [BlockCut], at place: Place) {
    let lengths = blocks.lengths, side = lengths.count
    let (block, largest, below) = (
      statistics.sums.elements, statistics.largest.elements, statistics.below.elements
    )
    var total = sums.removeValue(forKey: place) ?? [Float](repeating: 0, count: block.count)
    shapes[place.layer].calls += 1
    for (candidate, cut) in cuts.enumerated() {
      // Queries looked at in each row of blocks.
      var rows = [Int](repeating: 0, count: side)
      for token in queries { rows[Int(cut.queryBlocks[Int(token)])] += 1 }
      let columns = zip(cut.keyStarts, cut.keyStarts.dropFirst()).map { Int($1 - $0) }
      let entries = rows.flatMap { rows in columns.map { rows * $0 } }
      for head in 0..<context.heads {
        let index = head * cuts.count + candidate, range = index * side * side..<(index + 1) * side * side
        let shape = PAROSelection.shape(
          sums: block[range], largest: largest[range], below: below[range], entries: entries, sigma: settings.sigma)
        shapes[place.layer].total[index].sparse += shape.sparse
        shapes[place.layer].total[index].peakedness += shape.peakedness
        for row in 0..<side {
          // As if all of the block's queries had been looked at.
          let factor = Float(lengths[row]) / Float(rows[row])
          for at in range.lowerBound + row * side..<range.lowerBound + (row + 1) * side {
            total[at] += block[at] * factor
          }
        }
      }
    }
    sums[place] = total
  }

  public func finish(prompts: [String]) throws -> CalibrationOutput {
    let name = CalibrationHeader.fileName(method: PAROAttention.information.name, layout: context.layout)
    let header = CalibrationHeader(method: PAROAttention.information.name, context: context, prompts: prompts)
    let groups = (stepGroup.max() ?? 0) + 1, heads = 0..<context.heads, lengths = blocks.lengths
    let square = lengths.count * lengths.count
    for group in 0..<groups {
      for layer in 0..<context.layerCount {
        guard let seen = sums[Place(group: group, layer: layer)] else {
          throw AttentionError.calibration(
            path: name, reason: "layer \(layer) was not seen at step \(stepGroup.firstIndex(of: group)!)")
        }
        guard seen.allSatisfy(\.isFinite) else {
          throw AttentionError.calibration(path: name, reason: "attention of layer \(layer) is not finite")
        }
      }
    }
    // Chosen candidate by layer and head.
    let chosen = shapes.map { layer in
      heads.map { head in
        let all = layer.total[head * candidates.count..<(head + 1) * candidates.count]
        return PAROSelection.bestOrder(
          all.map { .init(sparse: $0.sparse / layer.calls, peakedness: $0.peakedness / layer.calls) },
          alpha: settings.alpha)
      }
    }
    let shape = PAROMaskShape(
      densities: settings.densities.count, groups: groups, layers: context.layerCount, heads: context.heads,
      blocks: lengths.count)
    var bytes = [UInt8](repeating: 0, count: shape.byteCount ?? 0)
    var kept = settings.densities.map { _ in 0.0 }, attention = kept
    for group in 0..<groups {
      for layer in 0..<context.layerCount {
        let seen = sums[Place(group: group, layer: layer)]!
        let maps = heads.map { head in
          let start = (head * candidates.count + chosen[layer][head]) * square
          return Array(seen[start..<start + square])
        }
        for (density, masks) in masks(maps, lengths).enumerated() {
          for head in heads {
            let mask = PAROPlanFile.bytes(masks[head])
            let offset = shape.offset(density: density, group: group, layer: layer, head: head)
            bytes.replaceSubrange(offset..<offset + mask.count, with: mask)
            let found = Self.shares(of: masks[head], maps[head], lengths)
            kept[density] += found.pairs
            attention[density] += found.attention
          }
        }
      }
    }
    let count = Double(groups * context.layerCount * context.heads)
    let table = PAROTable(
      header: header, block: settings.block, orders: chosen.map { $0.map { candidates[$0].index } },
      stepGroup: stepGroup, densities: settings.densities, keptShare: kept.map { $0 / count },
      keptAttention: attention.map { $0 / count }, masks: name.replacing(".json", with: ".masks"))
    return CalibrationOutput(
      files: try PAROPlanFile.files(table, masks: bytes, layout: context.layout), summary: summary(table))
  }

  /// Masks by density and head of one layer and group.
  private func masks(_ maps: [[Float]], _ lengths: [Int]) -> [[[Bool]]] {
    switch settings.scope {
    case .layer: return PAROSelection.masks(sums: maps, lengths: lengths, densities: settings.densities)
    case .head:
      let byHead = maps.map { PAROSelection.masks(sums: [$0], lengths: lengths, densities: settings.densities) }
      return settings.densities.indices.map { density in byHead.map { $0[density][0] } }
    }
  }

  /// Shares of token pairs, and of the attention in `sums`, that a mask keeps.
  private static func shares(
    of mask: [Bool], _ sums: [Float], _ lengths: [Int]
  ) -> (pairs: Double, attention: Double) {
    let side = lengths.count, tokens = Double(lengths.reduce(0, +))
    let all = sums.reduce(0) { $0 + Double($1) }
    var pairs = 0.0, attention = 0.0
    for index in mask.indices where mask[index] {
      pairs += Double(lengths[index / side] * lengths[index % side])
      attention += Double(sums[index])
    }
    return (pairs / (tokens * tokens), all > 0 ? attention / all : 1)
  }

  private func summary(_ table: PAROTable) -> [String] {
    let all = table.orders.joined()
    let counts = candidates.map { candidate in
      "\(PAROAttention.axes[candidate.index].name) \(all.count { $0 == candidate.index })"
    }
    func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
    return ["orders of \(all.count) heads: \(counts.joined(separator: ", "))"]
      + table.densities.indices.map {
        "density \(table.densities[$0]): keeps \(rounded(table.keptShare[$0])) of the pairs of visual tokens and "
          + "\(rounded(table.keptAttention[$0])) of their attention"
      }
  }
}
