import Kernels

/// The mask of ``RadialAttention``: how far apart tokens of two frames may lie, and the blocks that follow from it.
///
/// Token `k` of frame `i` reads token `l` of frame `j` where `|k - l|` is at most the pair's half-width. Most of a
/// block must be kept for the block to be: see ``keeps(rows:of:columns:halfWidth:)``.
struct RadialBands {
  enum Rule: String, CaseIterable {
    /// The published code.
    case current
    /// The published code until 2025-11-11: neighbouring frames read half of each other to either side.
    case beforeNovember2025 = "before-2025-11"
    /// The paper's formula: about twice as wide, without decay or smallest width.
    case paper
  }

  /// Tokens of a frame, and number of frames.
  var size: Int, count: Int
  let rule: Rule
  let decay: Double
  /// Whether all read the whole of frame 0.
  let sink: Bool
  /// Tokens of a block.
  let block: Int
  /// Where the code's bands would be narrower than this, only some pairs of frames are left.
  let thinning: Int
  /// Whether a frame's tokens past `ceil(size / block)` blocks from the block of its first token count.
  let tails: Bool

  /// The largest `|k - l|` kept between two frames; `nil` where they do not read each other.
  func halfWidth(query: Int, key: Int) -> Int? {
    if sink && key == 0 { return size }
    let distance = abs(query - key)
    guard rule != .paper else { return paperHalfWidth(distance) }
    // A power of two above the frame's size, halved each time the distance doubles.
    let width = Double(sign: .plus, exponent: size.bitLength - distance.bitLength, significand: 1)
    if width < Double(thinning), distance % Int(Double(thinning) / width) != 0 { return nil }
    if distance == 1 && rule == .beforeNovember2025 { return size / 2 }
    return distance <= 1 ? size : Int(max(width * decay, Double(block)))
  }

  /// Section 4 of the paper: `|k - l| + 1 <= size / 2^r`, or the diagonal of every `ceil(2^r / size)`-th frame, where
  /// `r` is the distance's binary logarithm, rounded down.
  private func paperHalfWidth(_ distance: Int) -> Int? {
    let power = 1 << (max(distance, 1).bitLength - 1)
    if power <= size { return size / power - 1 }
    return distance % ((power + size - 1) / size) == 0 ? 0 : nil
  }

  /// Keeps the blocks of all pairs of frames, and every block with itself.
  /// - Parameter first: the pattern's block of the first visual token.
  func keep(in pattern: inout BlockPattern, from first: Int) {
    let tokens = size * count
    for index in 0..<(tokens + block - 1) / block { pattern[first + index, first + index] = true }
    for query in 0..<count {
      for key in 0..<count {
        guard let halfWidth = halfWidth(query: query, key: key) else { continue }
        for row in blocks(ofFrame: query) {
          let rows = part(of: row, inFrame: query)
          let touched = max(rows.lowerBound - halfWidth, 0)..<min(rows.upperBound + halfWidth, size)
          guard !touched.isEmpty else { continue }
          let columns = (key * size + touched.lowerBound) / block..<(key * size + touched.upperBound - 1) / block + 1
          for column in columns.clamped(to: blocks(ofFrame: key)) where !pattern[first + row, first + column] {
            pattern[first + row, first + column] = Self.keeps(
              rows: rows, of: min(block, tokens - row * block), columns: part(of: column, inFrame: key),
              halfWidth: halfWidth)
          }
        }
      }
    }
  }

  /// The blocks that hold a frame's tokens.
  private func blocks(ofFrame frame: Int) -> Range<Int> {
    let first = frame * size / block, last = ((frame + 1) * size - 1) / block
    return first..<(tails ? last + 1 : min(last + 1, first + (size + block - 1) / block))
  }

  /// The tokens of a frame, counted from its first, that lie in a block.
  private func part(of index: Int, inFrame frame: Int) -> Range<Int> {
    max(index * block - frame * size, 0)..<min((index + 1) * block - frame * size, size)
  }

  /// Whether a block is kept: of its columns that any row reads, more than 0.6 must be read by more than a third of the
  /// block's rows. Columns that at least `n` of the rows read form one interval, so nothing is counted one by one.
  /// - Parameters:
  ///   - rows: the rows of the block that belong to the pair of frames.
  ///   - length: all rows of the block.
  static func keeps(rows: Range<Int>, of length: Int, columns: Range<Int>, halfWidth: Int) -> Bool {
    func columnsRead(byAtLeast n: Int) -> Int {
      guard n <= rows.count, n <= 2 * halfWidth + 1 else { return 0 }
      let low = rows.lowerBound + n - 1 - halfWidth, high = rows.upperBound + halfWidth - n
      return max(min(columns.upperBound, high + 1) - max(columns.lowerBound, low), 0)
    }
    return 5 * columnsRead(byAtLeast: length / 3 + 1) > 3 * columnsRead(byAtLeast: 1)
  }
}

extension Int {
  /// Binary digits of a number that is not negative: 0 for 0, 3 for 4.
  var bitLength: Int { Int.bitWidth - leadingZeroBitCount }
}
