import Foundation
import Tensors

extension Reference {
  /// See ``blockMeans(_:order:starts:)``.
  public static func blockMeans(_ x: Tensor, order: [Int32], starts: [Int32]) -> Tensor {
    let (heads, tokens, size) = (x.shape[0], x.shape[1], x.shape[2]), values = x.elements
    var result: [Float] = []
    for head in 0..<heads {
      for (start, end) in zip(starts, starts.dropFirst()) {
        for channel in 0..<size {
          let sum = order[Int(start)..<Int(end)].reduce(0.0) {
            $0 + Double(values[(head * tokens + Int($1)) * size + channel])
          }
          result.append(Float(sum / Double(end - start)))
        }
      }
    }
    return Tensor([heads, starts.count - 1, size], result)
  }

  /// See ``attentionProbabilities(_:_:scale:)``.
  public static func attentionProbabilities(_ q: Tensor, _ k: Tensor, scale: Double) -> Tensor {
    let (heads, queries, size, keys) = (q.shape[0], q.shape[1], q.shape[2], k.shape[1])
    let (a, b) = (q.elements, k.elements)
    var result: [Float] = []
    for row in 0..<heads * queries {
      var scores = (0..<keys).map { key in
        (0..<size).reduce(0.0) {
          $0 + Double(a[row * size + $1]) * Double(b[(row / queries * keys + key) * size + $1])
        } * scale
      }
      let largest = scores.max() ?? 0
      scores = scores.map { exp($0 - largest) }
      let total = scores.reduce(0, +)
      result += scores.map { Float($0 / total) }
    }
    return Tensor([heads, queries, keys], result)
  }

  /// See ``attentionBlockStatistics(_:_:scale:queries:cuts:below:)``: the whole map, cut up.
  public static func attentionBlockStatistics(
    _ q: Tensor, _ k: Tensor, scale: Double, queries: [Int32], cuts: [BlockCut], below threshold: Float
  ) -> BlockStatistics {
    let (heads, tokens, keys) = (q.shape[0], q.shape[1], k.shape[1])
    let map = attentionProbabilities(q, k, scale: scale).elements
    let (rows, columns) = (cuts[0].rows, cuts[0].columns), shape = [heads, cuts.count, rows, columns]
    var sums = [Double](repeating: 0, count: shape.reduce(1, *)), below = sums
    var largest = [Float](repeating: 0, count: sums.count)
    for head in 0..<heads {
      for (index, cut) in cuts.enumerated() {
        for token in queries where cut.queryBlocks[Int(token)] >= 0 {
          for column in 0..<columns {
            let at = ((head * cuts.count + index) * rows + Int(cut.queryBlocks[Int(token)])) * columns + column
            for position in cut.keyStarts[column]..<cut.keyStarts[column + 1] {
              let entry = map[(head * tokens + Int(token)) * keys + Int(cut.keyOrder[Int(position)])]
              sums[at] += Double(entry)
              largest[at] = max(largest[at], entry)
              below[at] += entry < threshold ? 1 : 0
            }
          }
        }
      }
    }
    return BlockStatistics(
      sums: Tensor(shape, sums.map(Float.init)), largest: Tensor(shape, largest),
      below: Tensor(shape, below.map(Float.init)))
  }

  /// See ``orderStatistic(_:rank:)``.
  public static func orderStatistic(_ x: Tensor, rank: Int) -> Tensor {
    let count = x.shape[x.shape.count - 1], values = x.elements
    return Tensor(
      Array(x.shape.dropLast()),
      stride(from: 0, to: values.count, by: count).map { values[$0..<$0 + count].sorted()[rank] })
  }
}
