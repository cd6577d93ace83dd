/// Which blocks of keys each block of queries reads: the format that the block-sparse kernel computes from.
///
/// Blocks are runs of tokens in plan order and may have any lengths; queries and keys may be cut differently, and there
/// may be fewer keys than queries. One bit a pair of blocks: 32 KiB for 512 by 512 blocks.
public struct BlockPattern: Hashable, Sendable {
  /// Position where each block begins, and where the last one ends: one more than there are blocks.
  public let queryStarts: [Int32], keyStarts: [Int32]
  /// `wordsPerRow` words a block of queries, the lowest bit of the first one for the first block of keys.
  public private(set) var words: [UInt64]
  public let wordsPerRow: Int

  /// Nothing is kept, or everything.
  public init(queryStarts: [Int32], keyStarts: [Int32], keepsAll: Bool = false) {
    precondition(Self.areStarts(queryStarts) && Self.areStarts(keyStarts), "block starts must ascend from 0")
    (self.queryStarts, self.keyStarts) = (queryStarts, keyStarts)
    wordsPerRow = (keyStarts.count - 1 + 63) / 64
    words = Array(repeating: 0, count: wordsPerRow * (queryStarts.count - 1))
    if keepsAll { for row in 0..<rows { keepAll(row: row) } }
  }

  /// Blocks of `block` tokens, the last one shorter.
  public static func uniformStarts(_ count: Int, block: Int) -> [Int32] {
    stride(from: 0, to: count, by: block).map(Int32.init) + [Int32(count)]
  }

  private static func areStarts(_ starts: [Int32]) -> Bool {
    starts.count > 1 && starts[0] == 0 && zip(starts, starts.dropFirst()).allSatisfy { $0 < $1 }
  }

  /// Blocks of queries, and of keys.
  public var rows: Int { queryStarts.count - 1 }
  public var columns: Int { keyStarts.count - 1 }
  /// Tokens.
  public var queries: Int { Int(queryStarts[rows]) }
  public var keys: Int { Int(keyStarts[columns]) }

  public func queryLength(_ row: Int) -> Int { Int(queryStarts[row + 1] - queryStarts[row]) }
  public func keyLength(_ column: Int) -> Int { Int(keyStarts[column + 1] - keyStarts[column]) }

  /// Whether the queries of block `row` read the keys of block `column`.
  public subscript(row: Int, column: Int) -> Bool {
    get { words[row * wordsPerRow + column / 64] >> (column % 64) & 1 == 1 }
    set {
      let bit = UInt64(1) << (column % 64), index = row * wordsPerRow + column / 64
      if newValue { words[index] |= bit } else { words[index] &= ~bit }
    }
  }

  public mutating func keep(row: Int, columns range: Range<Int>) {
    for column in range { self[row, column] = true }
  }
  public mutating func keepAll(row: Int) {
    for word in 0..<wordsPerRow {
      let bits = min(columns - word * 64, 64)
      words[row * wordsPerRow + word] = bits == 64 ? .max : (1 << bits) - 1
    }
  }
  public mutating func keepAll(column: Int) {
    for row in 0..<rows { self[row, column] = true }
  }

  /// Kept blocks of keys of a row, ascending.
  public func keptColumns(_ row: Int) -> [Int] {
    var result: [Int] = []
    for word in 0..<wordsPerRow {
      var bits = words[row * wordsPerRow + word]
      while bits != 0 {
        result.append(word * 64 + bits.trailingZeroBitCount)
        bits &= bits - 1
      }
    }
    return result
  }

  public func keptCount(row: Int) -> Int {
    (0..<wordsPerRow).reduce(0) { $0 + words[row * wordsPerRow + $1].nonzeroBitCount }
  }
  /// Kept pairs of blocks.
  public var keptBlocks: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }
  public var keepsEverything: Bool { keptBlocks == rows * columns }

  /// Kept query-key pairs of tokens.
  public var keptPairs: Double {
    (0..<rows).reduce(0.0) { sum, row in
      sum + Double(queryLength(row)) * Double(keptColumns(row).reduce(0) { $0 + keyLength($1) })
    }
  }
  /// Share of query-key pairs kept.
  public var density: Double { keptPairs / (Double(queries) * Double(keys)) }
  /// Bytes held.
  public var byteCount: Int { words.count * 8 + (queryStarts.count + keyStarts.count) * 4 }
}
