/// An order to take tokens in: plan position to model token.
public struct TokenOrder: Hashable, Sendable {
  /// The model token at each position.
  public let tokens: [Int32]

  /// - Parameter tokens: every token once.
  public init(_ tokens: [Int32]) {
    precondition(Self.isPermutation(tokens), "an order must name every token once")
    self.tokens = tokens
  }

  /// Tokens as the model has them.
  public static func model(_ count: Int) -> TokenOrder { TokenOrder((0..<Int32(count)).map { $0 }) }

  /// The axes of a grid from slowest to fastest.
  public struct Axes: Hashable, Sendable {
    /// 0 for frames, 1 for rows, 2 for columns.
    public let order: [Int]
    public init(_ order: [Int]) {
      precondition(order.sorted() == [0, 1, 2], "axes \(order)")
      self.order = order
    }
  }

  /// Visual tokens taken along the axes; text stays where it is.
  public init(_ layout: TokenLayout, axes: Axes) {
    let extents = [layout.frames, layout.height, layout.width]
    let (a, b, c) = (axes.order[0], axes.order[1], axes.order[2])
    var result = (0..<Int32(layout.prefix)).map { $0 }
    result.reserveCapacity(layout.count)
    var at = [0, 0, 0]
    for i in 0..<extents[a] {
      at[a] = i
      for j in 0..<extents[b] {
        at[b] = j
        for k in 0..<extents[c] {
          at[c] = k
          result.append(Int32(layout.token(frame: at[0], row: at[1], column: at[2])))
        }
      }
    }
    self.init(result + (Int32(layout.count - layout.suffix)..<Int32(layout.count)).map { $0 })
  }

  public var count: Int { tokens.count }
  /// Whether every token is at its own place.
  public var isModelOrder: Bool { tokens.indices.allSatisfy { tokens[$0] == $0 } }

  /// Model token to plan position.
  public var inverse: [Int32] {
    var result = [Int32](repeating: 0, count: tokens.count)
    for (position, token) in tokens.enumerated() { result[Int(token)] = Int32(position) }
    return result
  }

  private static func isPermutation(_ tokens: [Int32]) -> Bool {
    var seen = [Bool](repeating: false, count: tokens.count)
    for token in tokens {
      guard token >= 0, token < tokens.count, !seen[Int(token)] else { return false }
      seen[Int(token)] = true
    }
    return true
  }
}
