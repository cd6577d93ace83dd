import Kernels

/// What one self-attention call computes: for each head an order of the tokens and the blocks that are kept. Heads
/// share orders and patterns.
public struct BlockPlan: Hashable, Sendable {
  public struct Head: Hashable, Sendable {
    /// Indices into ``BlockPlan/orders`` and ``BlockPlan/patterns``.
    public var queryOrder: Int, keyOrder: Int, pattern: Int
    public init(queryOrder: Int, keyOrder: Int, pattern: Int) {
      (self.queryOrder, self.keyOrder, self.pattern) = (queryOrder, keyOrder, pattern)
    }
    /// Queries and keys in the same order.
    public init(order: Int, pattern: Int) { self.init(queryOrder: order, keyOrder: order, pattern: pattern) }
  }
  /// The most blocks that a method may cut all tokens into: one pattern of as many takes 32 MiB.
  public static let blockLimit = 16_384

  public var orders: [TokenOrder]
  public var patterns: [BlockPattern]
  public var heads: [Head]

  public init(orders: [TokenOrder], patterns: [BlockPattern], heads: [Head]) {
    (self.orders, self.patterns, self.heads) = (orders, patterns, heads)
  }

  /// One order and one pattern for all heads.
  public init(order: TokenOrder, pattern: BlockPattern, heads: Int) {
    self.init(orders: [order], patterns: [pattern], heads: Array(repeating: Head(order: 0, pattern: 0), count: heads))
  }

  /// Every block kept, in model order.
  public static func dense(_ layout: TokenLayout, heads: Int) -> BlockPlan {
    let starts = BlockPattern.uniformStarts(layout.count, block: 128)
    return BlockPlan(
      order: .model(layout.count),
      pattern: BlockPattern(queryStarts: starts, keyStarts: starts, keepsAll: true), heads: heads)
  }

  /// Whether no block is dropped. Such a plan is dense attention, and the engine computes it as that.
  public var keepsEverything: Bool { heads.allSatisfy { patterns[$0.pattern].keepsEverything } }

  /// Kept query-key pairs over all heads, and how many there are.
  public var keptPairs: Double {
    let byPattern = patterns.map(\.keptPairs)
    return heads.reduce(0) { $0 + byPattern[$1.pattern] }
  }
  public var densePairs: Double {
    heads.reduce(0) { $0 + Double(patterns[$1.pattern].queries) * Double(patterns[$1.pattern].keys) }
  }
  /// Share of query-key pairs kept.
  public var density: Double { keptPairs / densePairs }
  /// The same of one head.
  public func density(head: Int) -> Double { patterns[heads[head].pattern].density }
  /// Bytes held.
  public var byteCount: Int { orders.reduce(0) { $0 + $1.count * 4 } + patterns.reduce(0) { $0 + $1.byteCount } }

  /// Throws unless the plan is sound for a site: one entry a head, orders and blocks over all its tokens, no query
  /// block without a key.
  public func validate(for site: AttentionSite) throws {
    func require(_ condition: Bool, _ text: @autoclosure () -> String) throws {
      guard condition else { throw AttentionError.invalidPlan(text()) }
    }
    try require(heads.count == site.heads, "\(heads.count) heads for \(site.heads)")
    for (index, head) in heads.enumerated() {
      try require(
        orders.indices.contains(head.queryOrder) && orders.indices.contains(head.keyOrder)
          && patterns.indices.contains(head.pattern), "head \(index) names an order or pattern that is not there")
      let pattern = patterns[head.pattern]
      try require(
        orders[head.queryOrder].count == site.layout.count && pattern.queries == site.layout.count,
        "head \(index) orders \(orders[head.queryOrder].count) and blocks \(pattern.queries) of "
          + "\(site.layout.count) queries")
      try require(
        orders[head.keyOrder].count == site.keyCount && pattern.keys == site.keyCount,
        "head \(index) orders \(orders[head.keyOrder].count) and blocks \(pattern.keys) of \(site.keyCount) keys")
    }
    for (index, pattern) in patterns.enumerated() {
      for row in 0..<pattern.rows {
        try require(pattern.keptCount(row: row) > 0, "pattern \(index) has no key for query block \(row)")
      }
    }
  }

  /// The patterns as the kernel takes them.
  public var headPatterns: [HeadPattern] {
    let orders = self.orders.map { $0.isModelOrder ? nil : $0.tokens }
    return heads.map {
      HeadPattern(queryOrder: orders[$0.queryOrder], keyOrder: orders[$0.keyOrder], pattern: patterns[$0.pattern])
    }
  }
}
