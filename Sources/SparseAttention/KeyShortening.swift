import Kernels

extension BlockPlan {
  /// The plan for a layer that shortens its keys: a key takes the place of the token it stands for, in that token's
  /// block. Blocks left without a key go; queries left without one read the key that stands for their own place. So
  /// key compression composes with any method.
  public func shortened(to grid: KeyGrid, of layout: TokenLayout) -> BlockPlan {
    let representatives = grid.representatives(of: layout)
    var keyOf = [Int32](repeating: -1, count: layout.count)
    for (key, token) in representatives.enumerated() { keyOf[Int(token)] = Int32(key) }

    var result = BlockPlan(orders: orders, patterns: [], heads: [])
    var keyOrders: [Int: Int] = [:], made: [Head: Head] = [:]
    for head in heads {
      if let same = made[head] {
        result.heads.append(same)
        continue
      }
      let old = patterns[head.pattern], tokens = orders[head.keyOrder].tokens
      if keyOrders[head.keyOrder] == nil {
        keyOrders[head.keyOrder] = result.orders.count
        result.orders.append(TokenOrder(tokens.compactMap { keyOf[Int($0)] >= 0 ? keyOf[Int($0)] : nil }))
      }
      let order = keyOrders[head.keyOrder]!
      // Keys of each old block, and the new block that holds them.
      var starts: [Int32] = [0], blockOf: [Int?] = []
      for column in 0..<old.columns {
        let block = tokens[Int(old.keyStarts[column])..<Int(old.keyStarts[column + 1])]
        let count = block.count { keyOf[Int($0)] >= 0 }
        blockOf.append(count > 0 ? starts.count - 1 : nil)
        if count > 0 { starts.append(starts[starts.count - 1] + Int32(count)) }
      }
      var pattern = BlockPattern(queryStarts: old.queryStarts, keyStarts: starts)
      let positions = result.orders[order].inverse
      for row in 0..<old.rows {
        for column in old.keptColumns(row) {
          if let block = blockOf[column] { pattern[row, block] = true }
        }
        if pattern.keptCount(row: row) == 0 {
          let first = Int(orders[head.queryOrder].tokens[Int(old.queryStarts[row])])
          let position = positions[Int(grid.key(nearest: first, of: layout))]
          pattern[row, starts.lastIndex { $0 <= position }!] = true
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
