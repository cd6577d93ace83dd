import Tensors

/// What planning and calibration compute of blocks of tokens.
extension KernelCase {
  /// Means of `count` tokens a head in blocks of `rows x columns` of a grid `width` wide, as draft attention pools.
  static func blockMeans(
    _ heads: Int, _ count: Int, _ size: Int, width: Int, rows: Int = 8, columns: Int = 16
  ) -> KernelCase {
    let x = caseTensor([heads, count, size], seed: 20), height = (count + width - 1) / width
    var order: [Int32] = [], starts: [Int32] = [0]
    for top in stride(from: 0, to: height, by: rows) {
      for left in stride(from: 0, to: width, by: columns) {
        for row in top..<min(top + rows, height) {
          order += (left..<min(left + columns, width)).map { Int32(row * width + $0) }.filter { $0 < count }
        }
        if Int(starts[starts.count - 1]) < order.count { starts.append(Int32(order.count)) }
      }
    }
    return blocks(
      "block-means", [("heads", heads), ("tokens", count), ("head-dim", size), ("blocks", starts.count - 1)],
      { [order, starts] in Kernels.blockMeans(x, order: order, starts: starts) },
      { [order, starts] in Reference.blockMeans(x, order: order, starts: starts) })
  }

  /// The whole map of attention between a few tokens.
  static func attentionProbabilities(_ heads: Int, _ queries: Int, _ keys: Int, _ size: Int) -> KernelCase {
    let q = caseTensor([heads, queries, size], seed: 21), k = caseTensor([heads, keys, size], seed: 22)
    let scale = 1 / Float(size).squareRoot()
    return blocks(
      "attention-probabilities", [("heads", heads), ("tokens", queries), ("keys", keys), ("head-dim", size)],
      { Kernels.attentionProbabilities(q, k, scale: scale) },
      { Reference.attentionProbabilities(q, k, scale: Double(scale)) })
  }

  /// Sums, largest entries and small entries of attention's blocks, in the tokens' own order and backwards; the last
  /// token is text, and every third query is left out.
  static func blockStatistics(_ heads: Int, _ tokens: Int, _ keys: Int, _ size: Int, block: Int) -> KernelCase {
    let q = caseTensor([heads, tokens, size], seed: 23), k = caseTensor([heads, keys, size], seed: 24)
    let scale = 1 / Float(size).squareRoot(), rows = (tokens - 1 + block - 1) / block
    func cut(_ order: [Int32]) -> BlockCut {
      let blocks = (0..<tokens).map { token in
        token == tokens - 1 ? -1 : Int32((order[0] == 0 ? token : tokens - 2 - token) / block)
      }
      let starts = (0...rows).map { Int32(min($0 * block, order.count)) }
      return BlockCut(keyOrder: order, keyStarts: starts, queryBlocks: blocks, rows: rows)
    }
    let visual = (0..<Int32(min(keys - 1, rows * block))).map { $0 }, cuts = [cut(visual), cut(visual.reversed())]
    let queries = (0..<Int32(tokens)).filter { $0 % 3 != 2 }, threshold = 1 / Float(keys)
    return blocks(
      "block-statistics", [("heads", heads), ("tokens", tokens), ("keys", keys), ("head-dim", size), ("block", block)],
      { attentionBlockStatistics(q, k, scale: scale, queries: queries, cuts: cuts, below: threshold).joined },
      {
        Reference.attentionBlockStatistics(
          q, k, scale: Double(scale), queries: queries, cuts: cuts, below: threshold
        ).joined
      })
  }

  /// One value by its rank in each row.
  static func orderStatistic(_ rows: Int, _ count: Int, rank: Int) -> KernelCase {
    let x = caseTensor([rows, count], seed: 25)
    return blocks(
      "order-statistic", [("rows", rows), ("count", count), ("rank", rank)],
      { Kernels.orderStatistic(x, rank: rank) }, { Reference.orderStatistic(x, rank: rank) })
  }

  private static func blocks(
    _ operation: String, _ parameters: [(String, Int)], _ run: @escaping @Sendable () -> Tensor,
    _ reference: @escaping @Sendable () -> Tensor
  ) -> KernelCase {
    KernelCase(
      operation: operation, parameters: parameters.map { (name: $0.0, value: "\($0.1)") }, precision: .float32,
      operations: 0, tolerance: operation == "order-statistic" ? 0 : 2e-6, run: run, reference: reference)
  }

  static func blockCorrectnessCases() -> [KernelCase] {
    [
      .blockMeans(1, 1, 1, width: 1), .blockMeans(2, 301, 33, width: 19), .blockMeans(3, 256, 72, width: 32),
      .attentionProbabilities(1, 1, 1, 1), .attentionProbabilities(2, 33, 65, 72),
      .attentionProbabilities(3, 64, 7, 128),
      .blockStatistics(1, 2, 2, 1, block: 1), .blockStatistics(2, 131, 131, 24, block: 16),
      .blockStatistics(1, 100, 40, 72, block: 13),
      .orderStatistic(1, 1, rank: 0), .orderStatistic(3, 1000, rank: 0), .orderStatistic(3, 1000, rank: 749),
      .orderStatistic(2, 4097, rank: 4096),
    ]
  }

  /// A video of 8,192 tokens and 12 heads, whose draft costs next to nothing beside its attention.
  static func blockSpeedCases() -> [KernelCase] {
    [
      .blockMeans(12, 8192, 128, width: 64), .attentionProbabilities(12, 336, 336, 128),
      .orderStatistic(12, 336 * 336, rank: 336 * 336 * 3 / 4), .blockStatistics(4, 1025, 1025, 72, block: 64),
    ]
  }
}

extension BlockStatistics {
  fileprivate var joined: Tensor { .concatenated([sums, largest, below]) }
}
