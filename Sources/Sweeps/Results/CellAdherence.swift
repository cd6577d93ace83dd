import Evaluation

extension CellResult {
  /// How much of what its prompt promises a judge saw in a result.
  public struct Judgement: Sendable, Hashable, Codable {
    /// Names the judge's weights: what was judged by others is judged anew.
    public var judge: String
    public var expected: ExpectedScene
    public var seen: Sighting
    /// By attribute, how often it was right and how often it was wanted.
    public var counts: [String: Adherence.Count]

    public init(judge: String, expected: ExpectedScene, seen: Sighting, counts: [String: Adherence.Count]) {
      (self.judge, self.expected, self.seen, self.counts) = (judge, expected, seen, counts)
    }

    public var adherence: Adherence { Adherence(counts: counts) }
  }
}
