/// Segments words into the pieces whose log probabilities have the greatest sum (Kudo 2018, arXiv:1804.10959), the way
/// the `tokenizers` library of transformers 5 does: sums in Float64, the first of equal paths wins, neighbouring
/// unknown characters become one unknown piece, and every vocabulary entry may match, the special ones too.
struct UnigramModel: Sendable {
  /// How much worse than the worst piece an unknown character is.
  static let unknownPenalty = 10.0

  let pieces: [[UInt8]]
  let unknownID: Int
  private let scores: [Double]
  private let trie: ByteTrie
  private let unknownScore: Double

  init(pieces: [[UInt8]], scores: [Double], unknownID: Int) {
    precondition(pieces.count == scores.count && pieces.indices.contains(unknownID), "\(pieces.count) pieces")
    self.pieces = pieces
    self.scores = scores
    self.unknownID = unknownID
    trie = ByteTrie(pieces)
    unknownScore = (scores.min() ?? 0) - Self.unknownPenalty
  }

  /// The id of a whole piece.
  func id(of piece: some Sequence<UInt8>) -> Int? { trie.number(of: piece) }

  /// The ids of one word.
  /// - Parameter word: valid UTF-8.
  /// - Complexity: linear in the word's length times the length of the longest piece.
  func encode(_ word: [UInt8]) -> [Int] {
    struct Node { var id = 0, score = 0.0, start = -1 }
    var best = [Node](repeating: Node(), count: word.count + 1)
    var start = 0
    while start < word.count {
      let scoreHere = best[start].score
      let width = Self.width(of: word[start])
      var foundCharacter = false
      func offer(_ id: Int, _ score: Double, _ end: Int) {
        if best[end].start < 0 || score > best[end].score { best[end] = Node(id: id, score: score, start: start) }
      }
      trie.forEachPrefix(of: word, from: start) { end, id in
        offer(id, scores[id] + scoreHere, end)
        if end - start == width { foundCharacter = true }
      }
      if !foundCharacter { offer(unknownID, unknownScore + scoreHere, start + width) }
      start += width
    }
    var ids: [Int] = []
    var end = word.count
    while end > 0 {
      let node = best[end]
      if node.id != unknownID {
        ids.append(node.id)
        end = node.start
      } else {
        var runStart = node.start
        while runStart > 0, best[runStart].id == unknownID { runStart = best[runStart].start }
        // What was unknown bit by bit may be a piece as a whole.
        ids.append(trie.number(of: word[runStart..<end]) ?? unknownID)
        end = runStart
      }
    }
    return ids.reversed()
  }

  /// How many bytes the UTF-8 character with this first byte has.
  static func width(of first: UInt8) -> Int { first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4 }
}
