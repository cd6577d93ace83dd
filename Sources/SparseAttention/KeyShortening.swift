import Kernels

/// The blocks of an order over all tokens, as far as a layer that shortens its keys fills them: a key takes the place of
/// the token it stands for, in that token's block, and blocks left without a key go.
struct KeyBlocks {
  /// Plan position to key.
  let order: TokenOrder
  /// Position where each block that is left begins, and where the last one ends.
  let starts: [Int32]
  /// For each block of tokens, the block that its keys are in; `nil` where none is left.
  let blockOf: [Int?]

  /// - Parameters:
  ///   - tokens: the order that blocks are cut from.
  ///   - starts: position where each block begins, and where the last one ends.
  ///   - keyOf: the key that stands for each token, `-1` where none does.
  init(_ tokens: TokenOrder, starts whole: [Int32], keyOf: [Int32]) {
    var keys: [Int32] = [], starts: [Int32] = [0], blockOf: [Int?] = []
    for (start, end) in zip(whole, whole.dropFirst()) {
      for token in tokens.tokens[Int(start)..<Int(end)] where keyOf[Int(token)] >= 0 { keys.append(keyOf[Int(token)]) }
      let isFilled = keys.count > Int(starts[starts.count - 1])
      blockOf.append(isFilled ? starts.count - 1 : nil)
      if isFilled { starts.append(Int32(keys.count)) }
    }
    (order, self.starts, self.blockOf) = (TokenOrder(keys), starts, blockOf)
  }
}

extension BlockPlan {
  /// The plan for a layer that shortens its keys. Queries left without a key read the one that stands for their own
  /// place. So key compression composes with any method.
  public func shortened(to grid: KeyGrid, of layout: TokenLayout) -> BlockPlan {
    /// What the keys of a plan are cut from: heads that agree in it share their keys' order.
    struct Cut: Hashable {
      var order: Int, starts: [Int32]
    }
    let keyOf = grid.keys(of: layout)
    var result = BlockPlan(orders: orders, patterns: [], heads: [])
    var cuts: [Cut: (order: Int, blocks: KeyBlocks, positions: [Int32])] = [:], made: [Head: Head] = [:]
    for head in heads {
      if let same = made[head] {
        result.heads.append(same)
        continue
      }
      let old = patterns[head.pattern], cut = Cut(order: head.keyOrder, starts: old.keyStarts)
      if cuts[cut] == nil {
        let blocks = KeyBlocks(orders[cut.order], starts: cut.starts, keyOf: keyOf)
        cuts[cut] = (result.orders.count, blocks, blocks.order.inverse)
        result.orders.append(blocks.order)
      }
      let (order, blocks, positions) = cuts[cut]!
      var pattern = BlockPattern(queryStarts: old.queryStarts, keyStarts: blocks.starts)
      for row in 0..<old.rows {
        for column in old.keptColumns(row) {
          if let block = blocks.blockOf[column] { pattern[row, block] = true }
        }
        if pattern.keptCount(row: row) == 0 {
          let first = Int(orders[head.queryOrder].tokens[Int(old.queryStarts[row])])
          let position = positions[grid.key(nearest: first, of: layout)]
          pattern[row, blocks.starts.lastIndex { $0 <= position }!] = true
        }
      }
      let short = Head(queryOrder: head.queryOrder, keyOrder: order, pattern: result.patterns.count)
      result.patterns.append(pattern)
      result.heads.append(short)
      made[head] = short
    }
    return result
  }
}

extension KeyGrid {
  /// The key that stands for each token, `-1` where none does.
  func keys(of layout: TokenLayout) -> [Int32] {
    var result = [Int32](repeating: -1, count: layout.count)
    for (key, token) in representatives(of: layout).enumerated() { result[Int(token)] = Int32(key) }
    return result
  }

  /// The key that stands for the area a token lies in.
  public func key(nearest token: Int, of layout: TokenLayout) -> Int {
    let visual = token - layout.prefix
    guard visual >= 0 else { return token }
    guard visual < layout.visualCount else {
      return layout.prefix + layout.frames * height * width + visual - layout.visualCount
    }
    let frame = visual / layout.frameCount, place = visual % layout.frameCount
    let row = min(place / layout.width / rowStep, height - 1)
    let column = min(place % layout.width / columnStep, width - 1)
    return layout.prefix + (frame * height + row) * width + column
  }
}
