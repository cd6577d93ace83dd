/// What PARO's calibration chooses, apart from how the numbers it rests on are gathered.
///
/// The paper's full text and calibration code were not at hand; the rules follow third-party accounts of it, and where
/// those leave something open or contradict the purpose, this says what is done.
enum PAROSelection {
  /// The group of masks of each step.
  /// - Parameter groups: 0 for the paper's sharing: masks of their own for each step of the first half, one for all of
  ///   the second half. Otherwise as upstream's code: `floor(step / steps * groups)`.
  static func stepGroups(of steps: Int, groups: Int) -> [Int] {
    (0..<steps).map { groups == 0 ? min($0, steps / 2) : $0 * min(groups, steps) / steps }
  }

  /// How one head's map looks in one order.
  struct Shape: Hashable {
    /// Share of blocks that could be skipped: at least `sigma` of their entries are small. Higher is better.
    var sparse: Double
    /// Mean over blocks of largest over mean entry. Lower is better: such blocks lose little to one scale.
    var peakedness: Double
  }

  /// - Parameters:
  ///   - sums, largest, below: of each block, row by row.
  ///   - entries: how many entries each block has; blocks without any count for nothing.
  static func shape(
    sums: ArraySlice<Float>, largest: ArraySlice<Float>, below: ArraySlice<Float>, entries: [Int], sigma: Double
  ) -> Shape {
    var (sparse, peaks, count) = (0, 0.0, 0)
    for (block, size) in entries.enumerated() where size > 0 {
      let mean = Double(sums[sums.startIndex + block]) / Double(size)
      count += 1
      if Double(below[below.startIndex + block]) >= sigma * Double(size) - 1e-9 { sparse += 1 }
      // A block of zeros is as flat as can be.
      peaks += mean > 0 ? Double(largest[largest.startIndex + block]) / mean : 1
    }
    return Shape(sparse: Double(sparse) / Double(max(count, 1)), peakedness: peaks / Double(max(count, 1)))
  }

  /// The order with the least `alpha * (1 - sparse) / sum + (1 - alpha) * peakedness / sum`, sums over all candidates;
  /// the first of equals. The formula as printed has `sparse` itself in the first term, which would prefer maps with
  /// fewer blocks to skip: the sign is taken to be a slip.
  static func bestOrder(_ shapes: [Shape], alpha: Double) -> Int {
    let full = shapes.reduce(0) { $0 + 1 - $1.sparse }, peaks = shapes.reduce(0) { $0 + $1.peakedness }
    let costs = shapes.map {
      (full > 0 ? alpha * (1 - $0.sparse) / full : 0) + (peaks > 0 ? (1 - alpha) * $0.peakedness / peaks : 0)
    }
    return costs.indices.min { costs[$0] < costs[$1] } ?? 0
  }

  /// Which blocks are kept: in every row the one with the largest sum, then those with the largest sums of all until
  /// the share of token pairs asked for is reached.
  /// - Parameters:
  ///   - sums: of each head, row by row. The budget is one for all heads given, so a call a head keeps as much in each.
  ///   - lengths: tokens of each block.
  /// - Returns: by density and head.
  static func masks(sums: [[Float]], lengths: [Int], densities: [Double]) -> [[[Bool]]] {
    let side = lengths.count, tokens = Double(lengths.reduce(0, +))
    func area(_ index: Int) -> Double { Double(lengths[index / side] * lengths[index % side]) }
    var base = sums.map { $0.map { _ in false } }, kept = 0.0
    for (head, sums) in sums.enumerated() {
      for row in 0..<side {
        let best = (row * side..<(row + 1) * side).max { sums[$0] < sums[$1] }!
        base[head][best] = true
        kept += area(best)
      }
    }
    let ranking = sums.enumerated().flatMap { head, sums in sums.indices.map { (head: head, index: $0) } }
      .filter { !base[$0.head][$0.index] }
      .sorted {
        let (a, b) = (sums[$0.head][$0.index], sums[$1.head][$1.index])
        return a != b ? a > b : ($0.head, $0.index) < ($1.head, $1.index)
      }
    return densities.map { density in
      var masks = base, kept = kept, next = 0
      let target = density * tokens * tokens * Double(sums.count)
      while kept < target && next < ranking.count {
        let (head, index) = ranking[next]
        masks[head][index] = true
        kept += area(index)
        next += 1
      }
      return masks
    }
  }
}
