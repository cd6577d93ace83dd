import Foundation
import Tensors

/// What one attention head reads: the order its tokens are taken in, and which blocks of that order.
public struct HeadPattern: Sendable {
  /// Plan position to token; `nil` where they are the same.
  public var queryOrder: [Int32]?, keyOrder: [Int32]?
  public var pattern: BlockPattern

  public init(queryOrder: [Int32]? = nil, keyOrder: [Int32]? = nil, pattern: BlockPattern) {
    precondition(queryOrder == nil || queryOrder!.count == pattern.queries, "\(queryOrder!.count) query positions")
    precondition(keyOrder == nil || keyOrder!.count == pattern.keys, "\(keyOrder!.count) key positions")
    (self.queryOrder, self.keyOrder, self.pattern) = (queryOrder, keyOrder, pattern)
  }
}

/// `softmax(q k^T * scale) v` over the kept blocks alone: a dropped block is neither computed nor counted in the
/// softmax. FlashAttention's tiling (Dao et al. 2022, arXiv:2205.14135): no matrix of queries by keys exists anywhere.
/// - Parameters:
///   - q: `[B, h, N, d]`, in the model's token order, as are `k`, `v` and the result.
///   - k, v: `[B, h, M, d]`.
///   - precision: operands of both products; sums and softmax are in Float32.
///   - heads: one pattern a head, the same for all samples; `nil` is dense: the same code with every block kept.
///   - keyCounts: `[M]`, how many equal keys with equal values each one stands for; `nil` is one each. Not with 8-bit
///     integers.
/// - Returns: `[B, h, N, d]`.
///
/// Keys and values are packed in plan order once a head, while the heads before are computed; one item of work is at most 64 queries of one block. The
/// result does not depend on the number of threads.
public func blockSparseAttention(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, scale: Float, precision: Precision, heads: [HeadPattern]? = nil,
  keyCounts: [Int]? = nil
) -> Tensor {
  var none: Tensor?
  return attend(q, k, v, scale, precision, heads, keyCounts, logSumExp: &none)
}

/// The same with `[B, h, N]`, the natural logarithm of each query's sum of exponentials, by which results over
/// different keys can be merged.
public func blockSparseAttentionWithLogSumExp(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, scale: Float, precision: Precision, heads: [HeadPattern]? = nil
) -> (output: Tensor, logSumExp: Tensor) {
  var sums: Tensor? = Tensor(uninitialized: Array(q.shape.dropLast()))
  let output = attend(q, k, v, scale, precision, heads, nil, logSumExp: &sums)
  return (output, sums!)
}

private func attend(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, _ scale: Float, _ precision: Precision, _ patterns: [HeadPattern]?,
  _ keyCounts: [Int]?, logSumExp: inout Tensor?
) -> Tensor {
  let (batch, heads, queries, size) = (q.shape[0], q.shape[1], q.shape[2], q.shape[3])
  let keys = k.shape[2]
  precondition(
    k.shape == [batch, heads, keys, size] && v.shape == k.shape, "attention: \(q.shape), \(k.shape), \(v.shape)")
  precondition(queries > 0 && keys > 0, "attention of \(queries) queries to \(keys) keys")
  let patterns = patterns ?? Array(repeating: .dense(queries: queries, keys: keys), count: heads)
  precondition(patterns.count == heads, "\(patterns.count) patterns for \(heads) heads")
  for head in patterns {
    precondition(
      head.pattern.queries == queries && head.pattern.keys == keys,
      "a pattern of \(head.pattern.queries) x \(head.pattern.keys) tokens for \(queries) x \(keys)")
  }
  precondition(
    keyCounts.map { $0.count == keys && precision != .int8 && $0.allSatisfy { $0 > 0 } } ?? true,
    "counts of \(keyCounts?.count ?? 0) keys for \(keys), \(precision)")
  let plans = HeadSchedule.all(patterns, keyCounts)
  return q.writing(q.shape) { query, output in
    k.withFloats { k in
      v.withFloats { v in
        withOptionalMutable(&logSumExp) { sums in
          let operands = AttentionOperands(
            query: query, keys: k.baseAddress!, values: v.baseAddress!, output: output, logSumExp: sums,
            queryCount: queries, keyCount: keys, size: size, scale: scale, precision: precision,
            streams: q.count * 4 >= AttentionOperands.streamedFrom)
          operands.run(pairs: batch * heads) { plans[$0 % heads] }
        }
      }
    }
  }
}

extension HeadPattern {
  /// Everything, in blocks of a size that suits the kernel.
  public static func dense(queries: Int, keys: Int) -> HeadPattern {
    HeadPattern(
      pattern: BlockPattern(
        queryStarts: BlockPattern.uniformStarts(queries, block: 1024),
        keyStarts: BlockPattern.uniformStarts(keys, block: 1024), keepsAll: true))
  }
}

/// A head's pattern in the kernel's terms: keys in panels of 16 that do not cross blocks, queries in items of at most
/// 64 that do not either.
private final class HeadSchedule: Sendable {
  let pattern: HeadPattern
  /// Index of the first panel of each block of keys, and the number of all.
  let panelStarts: [Int]
  /// First plan position and number of keys of each panel.
  let panels: [(first: Int32, count: UInt8)]
  /// Row, first query and number of queries of each item.
  let items: [(row: Int, first: Int, count: Int)]
  /// By panel and lane, what is added to scores in units of log2: a key that stands for `n` weighs `n` times as much.
  let panelBiases: PackedBuffer<Float>?

  init(_ pattern: HeadPattern, _ keyCounts: [Int]?) {
    self.pattern = pattern
    var starts = [0], panels: [(first: Int32, count: UInt8)] = []
    for column in 0..<pattern.pattern.columns {
      let end = pattern.pattern.keyStarts[column + 1]
      for first in stride(from: pattern.pattern.keyStarts[column], to: end, by: Door.attentionKeys) {
        panels.append((first, UInt8(min(Int(end - first), Door.attentionKeys))))
      }
      starts.append(panels.count)
    }
    (panelStarts, self.panels) = (starts, panels)
    panelBiases = keyCounts.map { keyCounts in
      let biases = PackedBuffer<Float>(count: panels.count * Door.attentionKeys)
      for (index, panel) in panels.enumerated() {
        for lane in 0..<Door.attentionKeys {
          let position = Int(panel.first) + lane, isReal = lane < panel.count
          let key = isReal ? pattern.keyOrder.map { Int($0[position]) } ?? position : 0
          biases.pointer[index * Door.attentionKeys + lane] = isReal ? log2(Float(keyCounts[key])) : 0
        }
      }
      return biases
    }
    items = (0..<pattern.pattern.rows).flatMap { row in
      let first = Int(pattern.pattern.queryStarts[row]), end = Int(pattern.pattern.queryStarts[row + 1])
      return stride(from: first, to: end, by: Door.attentionRows).map {
        (row, $0, min(Door.attentionRows, end - $0))
      }
    }
  }

  /// Schedules of all heads; heads of one pattern share one.
  static func all(_ patterns: [HeadPattern], _ keyCounts: [Int]?) -> [HeadSchedule] {
    var made: [HeadSchedule] = []
    return patterns.map { pattern in
      if let same = made.last(where: { $0.pattern.isSame(as: pattern) }) { return same }
      let schedule = HeadSchedule(pattern, keyCounts)
      made.append(schedule)
      return schedule
    }
  }

  /// Panels that the queries of a row read, with the number of keys in each.
  /// - Returns: how many.
  func list(row: Int, into panelList: UnsafeMutablePointer<UInt32>, _ counts: UnsafeMutablePointer<UInt8>) -> Int {
    let blocks = pattern.pattern, width = blocks.wordsPerRow
    var count = 0
    for word in 0..<width {
      var bits = blocks.words[row * width + word]
      while bits != 0 {
        let column = word * 64 + bits.trailingZeroBitCount
        bits &= bits - 1
        for panel in panelStarts[column]..<panelStarts[column + 1] {
          panelList[count] = UInt32(panel)
          counts[count] = panels[panel].count
          count += 1
        }
      }
    }
    return count
  }
}

/// One call's pointers and sizes.
private struct AttentionOperands {
  let query: Input, keys: Input, values: Input, output: Output, logSumExp: Output?
  let queryCount: Int, keyCount: Int, size: Int, scale: Float, precision: Precision
  /// Whether results go past the caches.
  let streams: Bool

  /// Bytes of packed keys and values of heads that are computed together.
  private static let packedLimit = 6 << 20
  /// Bytes of a result from which on it is not kept in the caches on its way to memory.
  static let streamedFrom = 24 << 20

  /// By head of a group and channel.
  private struct Common {
    let means: PackedBuffer<Float>, scales: PackedBuffer<Float>
    subscript(head: Int, size: Int) -> HeadCommon {
      (Input(means.pointer + head * size), Input(scales.pointer + head * size))
    }
  }
  private typealias HeadCommon = (means: Input, scales: Input)

  /// Neighbouring heads that are computed together, with their keys and values.
  private final class Group: @unchecked Sendable {
    let pairs: Range<Int>, schedules: [HeadSchedule]
    /// First panel and first item of each head, and the number of all.
    let panelOffsets: [Int], itemOffsets: [Int]
    let common: Common?
    let keys: PackedBuffer<UInt32>, values: PackedBuffer<UInt32>

    init(_ first: Int, _ schedules: [HeadSchedule], _ common: Common?, keyPanel: Int, valuePanel: Int) {
      (pairs, self.schedules, self.common) = (first..<first + schedules.count, schedules, common)
      panelOffsets = schedules.reduce(into: [0]) { $0.append($0.last! + $1.panels.count) }
      itemOffsets = schedules.reduce(into: [0]) { $0.append($0.last! + $1.items.count) }
      keys = PackedBuffer(count: panelOffsets.last! * keyPanel)
      values = PackedBuffer(count: panelOffsets.last! * valuePanel)
    }

    var panels: Int { panelOffsets.last! }
    var items: Int { itemOffsets.last! }
  }

  /// Computes heads group by group. Items of one group pack a share of the next each: it comes from memory while they are
  /// computed.
  func run(pairs: Int, schedule: (Int) -> HeadSchedule) {
    var group = nextGroup(0, pairs, schedule)
    if let group { pack(group) }
    while let current = group {
      let next = nextGroup(current.pairs.upperBound, pairs, schedule)
      // Few items would leave most threads without a share.
      let packs = next != nil && current.items >= 8 * ThreadPool.shared.threads
      // A few items in a row, so that a thread's next queries can be fetched early.
      ThreadPool.shared.forEach(current.items, grain: 4) { item in
        let share = packs ? next!.panels * item / current.items..<next!.panels * (item + 1) / current.items : 0..<0
        compute(current, item, packing: share, of: next)
      }
      if !packs, let next { pack(next) }
      group = next
    }
  }

  /// Heads from `first` on that are computed together.
  private func nextGroup(_ first: Int, _ pairs: Int, _ schedule: (Int) -> HeadSchedule) -> Group? {
    guard first < pairs else { return nil }
    let keyPanel = Door.attentionKeyPanel(size, precision), valuePanel = Door.attentionValuePanel(size, precision)
    var schedules = [schedule(first)], panels = schedules[0].panels.count
    while first + schedules.count < pairs {
      let next = schedule(first + schedules.count)
      panels += next.panels.count
      if panels * (keyPanel + valuePanel) * 4 > Self.packedLimit { break }
      schedules.append(next)
    }
    let common = precision == .int8 ? surveyed(first..<first + schedules.count) : nil
    return Group(first, schedules, common, keyPanel: keyPanel, valuePanel: valuePanel)
  }

  /// What packing to 8-bit integers must know of each head beforehand: the mean of its keys, by channel, and the scale
  /// of its values, by channel. Parts of fixed length are added in order, so that threads do not matter.
  private func surveyed(_ pairs: Range<Int>) -> Common {
    let length = 1024, parts = (keyCount + length - 1) / length
    let sums = PackedBuffer<Float>(count: pairs.count * parts * size),
      largest = PackedBuffer<Float>(count: pairs.count * parts * size)
    ThreadPool.shared.forEach(pairs.count * parts) { item in
      let at = ((pairs.lowerBound + item / parts) * keyCount + item % parts * length) * size
      for buffer in [sums, largest] { (buffer.pointer + item * size).update(repeating: 0, count: size) }
      Door.attentionSurvey(
        min(length, keyCount - item % parts * length), size, keys: keys + at, values: values + at,
        sums: sums.pointer + item * size, largest: largest.pointer + item * size)
    }
    let common = Common(
      means: PackedBuffer(count: pairs.count * size), scales: PackedBuffer(count: pairs.count * size))
    for pair in 0..<pairs.count {
      for c in 0..<size {
        var (sum, most) = (Float(0), Float(0))
        for part in 0..<parts {
          sum += sums.pointer[(pair * parts + part) * size + c]
          // By bits, where NaN stands above all numbers and is not lost.
          let next = largest.pointer[(pair * parts + part) * size + c]
          most = Float(bitPattern: max(most.bitPattern, next.bitPattern))
        }
        common.means.pointer[pair * size + c] = sum / Float(keyCount)
        common.scales.pointer[pair * size + c] = most / 127
      }
    }
    return common
  }

  /// The section of ascending `offsets` that `item` lies in.
  private static func section(of item: Int, in offsets: [Int]) -> Int {
    var (low, high) = (0, offsets.count - 1)
    while high - low > 1 {
      let middle = (low + high) / 2
      if offsets[middle] <= item { low = middle } else { high = middle }
    }
    return low
  }

  private func pack(_ group: Group) {
    let grain = 16
    ThreadPool.shared.forEach((group.panels + grain - 1) / grain) {
      pack(group, $0 * grain..<min(($0 + 1) * grain, group.panels))
    }
  }

  private func pack(_ group: Group, _ panels: Range<Int>) {
    guard !panels.isEmpty else { return }
    let keyPanel = Door.attentionKeyPanel(size, precision), valuePanel = Door.attentionValuePanel(size, precision)
    for head in Self.section(of: panels.lowerBound, in: group.panelOffsets)..<group.schedules.count {
      let offset = group.panelOffsets[head], schedule = group.schedules[head]
      let start = (group.pairs.lowerBound + head) * keyCount * size
      withOptionalBuffer(schedule.pattern.keyOrder) { tokens in
        for panel in panels.clamped(to: offset..<group.panelOffsets[head + 1]) {
          let (first, count) = schedule.panels[panel - offset]
          Door.attentionPack(
            first: Int(first), count: Int(count), size: size, tokens: tokens, keys: keys + start,
            values: values + start, precision, common: group.common?[head, size],
            group.keys.pointer + panel * keyPanel, group.values.pointer + panel * valuePanel)
        }
      }
      if group.panelOffsets[head + 1] >= panels.upperBound { return }
    }
  }

  /// Computes an item of a group, then packs panels of the next one.
  private func compute(_ group: Group, _ item: Int, packing share: Range<Int>, of next: Group?) {
    let head = Self.section(of: item, in: group.itemOffsets), schedule = group.schedules[head]
    let pair = group.pairs.lowerBound + head, at = pair * queryCount * size
    let (row, start, count) = schedule.items[item - group.itemOffsets[head]]
    let scratch = PackedBuffer<Float>(count: Door.attentionScratch(size, precision) + schedule.panels.count)
    let counts = PackedBuffer<UInt8>(count: schedule.panels.count)
    let list = UnsafeMutableRawPointer(scratch.pointer + Door.attentionScratch(size, precision))
      .bindMemory(to: UInt32.self, capacity: schedule.panels.count)
    let panels = schedule.list(row: row, into: list, counts.pointer)
    precondition(panels > 0, "attention: queries that read no key")
    withOptionalBuffer(schedule.pattern.queryOrder) { tokens in
      withAhead(share, of: next) { ahead in
        Door.attention(
          size: size, rows: count, first: start, nextRows: min(Door.attentionRows, queryCount - start - count),
          tokens: tokens, query: query + at, scale: scale, panels: panels, list: list, counts: counts.pointer,
          keys: group.keys.pointer + group.panelOffsets[head] * Door.attentionKeyPanel(size, precision),
          values: group.values.pointer + group.panelOffsets[head] * Door.attentionValuePanel(size, precision),
          precision, common: group.common?[head, size], ahead: ahead,
          panelBiases: schedule.panelBiases.map { Input($0.pointer) }, scratch: scratch.pointer, output: output + at,
          streams: streams, logSumExp: logSumExp.map { $0 + pair * queryCount })
      }
    }
    if let next { pack(next, share) }
  }

  /// Calls `body` with where the keys and values of some panels lie, of the first panel's head.
  private func withAhead(_ panels: Range<Int>, of group: Group?, _ body: (Door.Ahead?) -> Void) {
    guard let group, !panels.isEmpty else { return body(nil) }
    let head = Self.section(of: panels.lowerBound, in: group.panelOffsets), schedule = group.schedules[head]
    let offset = group.panelOffsets[head], last = min(panels.upperBound, group.panelOffsets[head + 1]) - 1 - offset
    let first = Int(schedule.panels[panels.lowerBound - offset].first)
    let end = Int(schedule.panels[last].first) + Int(schedule.panels[last].count)
    let start = (group.pairs.lowerBound + head) * keyCount * size
    withOptionalBuffer(schedule.pattern.keyOrder) {
      body(Door.Ahead(keys: keys + start, values: values + start, tokens: $0, first: first, rows: end - first))
    }
  }
}

private func withOptionalBuffer<T>(_ array: [Int32]?, _ body: (UnsafePointer<Int32>?) -> T) -> T {
  guard let array else { return body(nil) }
  return array.withUnsafeBufferPointer { body($0.baseAddress) }
}

private func withOptionalMutable(_ tensor: inout Tensor?, _ body: (Output?) -> Void) {
  guard tensor != nil else { return body(nil) }
  tensor!.withMutableFloats { body($0.baseAddress) }
}

extension HeadPattern {
  /// Whether both hold the same memory: cheap, and enough for heads that share a plan's parts.
  fileprivate func isSame(as other: HeadPattern) -> Bool {
    func address(_ array: [Int32]?) -> UnsafePointer<Int32>? { array?.withUnsafeBufferPointer { $0.baseAddress } }
    func words(_ pattern: BlockPattern) -> UnsafePointer<UInt64>? {
      pattern.words.withUnsafeBufferPointer { $0.baseAddress }
    }
    return address(queryOrder) == address(other.queryOrder) && address(keyOrder) == address(other.keyOrder)
      && words(pattern) == words(other.pattern)
  }
}
