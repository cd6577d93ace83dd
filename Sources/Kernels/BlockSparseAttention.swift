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
/// - Returns: `[B, h, N, d]`.
///
/// Keys and values are packed in plan order once a head; one item of work is at most 64 queries of one block. The
/// result does not depend on the number of threads.
public func blockSparseAttention(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, scale: Float, precision: Precision, heads: [HeadPattern]? = nil
) -> Tensor {
  var none: Tensor?
  return attend(q, k, v, scale, precision, heads, logSumExp: &none)
}

/// The same with `[B, h, N]`, the natural logarithm of each query's sum of exponentials, by which results over
/// different keys can be merged.
public func blockSparseAttentionWithLogSumExp(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, scale: Float, precision: Precision, heads: [HeadPattern]? = nil
) -> (output: Tensor, logSumExp: Tensor) {
  var sums: Tensor? = Tensor(uninitialized: Array(q.shape.dropLast()))
  let output = attend(q, k, v, scale, precision, heads, logSumExp: &sums)
  return (output, sums!)
}

private func attend(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, _ scale: Float, _ precision: Precision, _ patterns: [HeadPattern]?,
  logSumExp: inout Tensor?
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
  let plans = HeadSchedule.all(patterns)
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
  /// Row, first query and number of queries of each item.
  let items: [(row: Int, first: Int, count: Int)]

  init(_ pattern: HeadPattern) {
    self.pattern = pattern
    var starts = [0]
    for column in 0..<pattern.pattern.columns {
      starts.append(starts[column] + (pattern.pattern.keyLength(column) + Door.attentionKeys - 1) / Door.attentionKeys)
    }
    panelStarts = starts
    items = (0..<pattern.pattern.rows).flatMap { row in
      let first = Int(pattern.pattern.queryStarts[row]), end = Int(pattern.pattern.queryStarts[row + 1])
      return stride(from: first, to: end, by: Door.attentionRows).map {
        (row, $0, min(Door.attentionRows, end - $0))
      }
    }
  }

  var panels: Int { panelStarts[panelStarts.count - 1] }

  /// Schedules of all heads; heads of one pattern share one.
  static func all(_ patterns: [HeadPattern]) -> [HeadSchedule] {
    var made: [HeadSchedule] = []
    return patterns.map { pattern in
      if let same = made.last(where: { $0.pattern.isSame(as: pattern) }) { return same }
      let schedule = HeadSchedule(pattern)
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
        var left = blocks.keyLength(column)
        for panel in panelStarts[column]..<panelStarts[column + 1] {
          panelList[count] = UInt32(panel)
          counts[count] = UInt8(min(left, Door.attentionKeys))
          left -= Door.attentionKeys
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

  /// Bytes of packed keys and values held at a time: heads are computed in groups of this size.
  private static let packedLimit = 6 << 20
  /// Bytes of a result from which on it is not kept in the caches on its way to memory.
  static let streamedFrom = 24 << 20

  /// By head and channel.
  private struct Common {
    let means: PackedBuffer<Float>, scales: PackedBuffer<Float>
    subscript(pair: Int, size: Int) -> (means: Input, scales: Input) {
      (Input(means.pointer + pair * size), Input(scales.pointer + pair * size))
    }
  }

  func run(pairs: Int, schedule: (Int) -> HeadSchedule) {
    let keyPanel = Door.attentionKeyPanel(size, precision), valuePanel = Door.attentionValuePanel(size, precision)
    var first = 0
    let common = precision == .int8 ? surveyed(pairs) : nil
    while first < pairs {
      var schedules: [HeadSchedule] = [], panels = 0
      while first + schedules.count < pairs {
        let next = schedule(first + schedules.count)
        if !schedules.isEmpty && (panels + next.panels) * (keyPanel + valuePanel) * 4 > Self.packedLimit { break }
        schedules.append(next)
        panels += next.panels
      }
      let packedKeys = PackedBuffer<UInt32>(count: panels * keyPanel)
      let packedValues = PackedBuffer<UInt32>(count: panels * valuePanel)
      var panelOffsets = [0], itemOffsets = [0], blockOffsets = [0]
      for (index, schedule) in schedules.enumerated() {
        panelOffsets.append(panelOffsets[index] + schedule.panels)
        itemOffsets.append(itemOffsets[index] + schedule.items.count)
        blockOffsets.append(blockOffsets[index] + schedule.pattern.pattern.columns)
      }
      ThreadPool.shared.forEach(blockOffsets[schedules.count], grain: 4) { item in
        let head = Self.section(of: item, in: blockOffsets)
        pack(
          first + head, schedules[head], common, column: item - blockOffsets[head],
          packedKeys.pointer + panelOffsets[head] * keyPanel, packedValues.pointer + panelOffsets[head] * valuePanel)
      }
      // A few items in a row, so that a thread's next queries can be fetched early; not so many that threads wait.
      let itemCount = itemOffsets[schedules.count]
      let grain = max(1, min(4, itemCount / (8 * ThreadPool.shared.threads)))
      ThreadPool.shared.forEach(itemCount, grain: grain) { item in
        let head = Self.section(of: item, in: itemOffsets)
        compute(
          first + head, schedules[head], common, item: item - itemOffsets[head],
          packedKeys.pointer + panelOffsets[head] * keyPanel, packedValues.pointer + panelOffsets[head] * valuePanel)
      }
      first += schedules.count
    }
  }

  /// What packing to 8-bit integers must know of each head beforehand: the mean of its keys, by channel, and the scale
  /// of its values, by channel. Parts of fixed length are added in order, so that threads do not matter.
  private func surveyed(_ pairs: Int) -> Common {
    let length = 1024, parts = (keyCount + length - 1) / length
    let sums = PackedBuffer<Float>(count: pairs * parts * size),
      largest = PackedBuffer<Float>(count: pairs * parts * size)
    ThreadPool.shared.forEach(pairs * parts) { item in
      let at = (item / parts * keyCount + item % parts * length) * size
      for buffer in [sums, largest] { (buffer.pointer + item * size).update(repeating: 0, count: size) }
      Door.attentionSurvey(
        min(length, keyCount - item % parts * length), size, keys: keys + at, values: values + at,
        sums: sums.pointer + item * size, largest: largest.pointer + item * size)
    }
    let common = Common(means: PackedBuffer(count: pairs * size), scales: PackedBuffer(count: pairs * size))
    for pair in 0..<pairs {
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

  private func pack(
    _ pair: Int, _ schedule: HeadSchedule, _ common: Common?, column: Int, _ keyPanels: UnsafeMutablePointer<UInt32>,
    _ valuePanels: UnsafeMutablePointer<UInt32>
  ) {
    let keyPanel = Door.attentionKeyPanel(size, precision), valuePanel = Door.attentionValuePanel(size, precision)
    let start = Int(schedule.pattern.pattern.keyStarts[column]),
      end = Int(schedule.pattern.pattern.keyStarts[column + 1])
    withOptionalBuffer(schedule.pattern.keyOrder) { tokens in
      for panel in schedule.panelStarts[column]..<schedule.panelStarts[column + 1] {
        let at = start + (panel - schedule.panelStarts[column]) * Door.attentionKeys
        Door.attentionPack(
          first: at, count: min(Door.attentionKeys, end - at), size: size, tokens: tokens,
          keys: keys + pair * keyCount * size, values: values + pair * keyCount * size, precision,
          common: common?[pair, size],
          keyPanels + panel * keyPanel, valuePanels + panel * valuePanel)
      }
    }
  }

  private func compute(
    _ pair: Int, _ schedule: HeadSchedule, _ common: Common?, item: Int, _ keyPanels: UnsafePointer<UInt32>,
    _ valuePanels: UnsafePointer<UInt32>
  ) {
    let (row, start, count) = schedule.items[item]
    let scratch = PackedBuffer<Float>(count: Door.attentionScratch(size, precision) + schedule.panels)
    let counts = PackedBuffer<UInt8>(count: schedule.panels)
    let list = UnsafeMutableRawPointer(scratch.pointer + Door.attentionScratch(size, precision))
      .bindMemory(to: UInt32.self, capacity: schedule.panels)
    let panels = schedule.list(row: row, into: list, counts.pointer)
    precondition(panels > 0, "attention: queries that read no key")
    withOptionalBuffer(schedule.pattern.queryOrder) { tokens in
      Door.attention(
        size: size, rows: count, first: start, nextRows: min(Door.attentionRows, queryCount - start - count),
        tokens: tokens, query: query + pair * queryCount * size, scale: scale,
        panels: panels, list: list, counts: counts.pointer, keys: keyPanels, values: valuePanels, precision,
        common: common?[pair, size], scratch: scratch.pointer, output: output + pair * queryCount * size,
        streams: streams,
        logSumExp: logSumExp.map { $0 + pair * queryCount })
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
