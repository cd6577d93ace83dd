import Foundation
import Kernels
import Tensors

/// The search of sliding tile attention for a window of each head (arXiv:2502.04507, Algorithm 1): at every call the
/// dense result and each candidate's are computed, and a head's loss is the mean squared difference over samples,
/// tokens and channels of what attention returns, before the output projection. The dense result is passed on, so
/// errors do not compound. Losses are averaged over all calls of a step and layer: both guidance branches, all prompts.
public final class SlidingTileCalibrator: AttentionCalibrator {
  private let context: MethodContext
  private let executor: any AttentionExecutor
  private let grid: TileGrid
  private let costWeight: Double
  private let candidates: [TileWindow]
  private let densities: [Double]
  private let planners: [SlidingTileAttention]
  private let caches: [PlanCache]
  /// By step, layer, head and candidate, the last fastest: summed losses.
  private var losses: [Double]
  /// Samples seen, by step and layer.
  private var samples: [Int]

  init(_ options: inout OptionReader, context: MethodContext, executor: any AttentionExecutor) throws {
    (self.context, self.executor) = (context, executor)
    grid = try SlidingTileAttention.tile(&options, context)
    costWeight = try options.number("cost-weight", default: 0, in: 0...1_000_000)
    let tile = [grid.tile.frames, grid.tile.height, grid.tile.width]
    if let text = options.text("candidates") {
      let windows = text.split(separator: "/", omittingEmptySubsequences: false).map { TileWindow($0) }
      guard windows.count <= SlidingTileTable.candidateLimit, Set(windows).count == windows.count,
        !windows.contains(nil)
      else {
        throw options.invalid(
          "candidates",
          expected: "at most \(SlidingTileTable.candidateLimit) different windows such as 3x1x10/1x5x7, each number "
            + "from \(TileWindow.range.lowerBound) to \(TileWindow.range.upperBound)")
      }
      guard options.text("density") == nil else {
        throw options.invalid("density", expected: "nothing beside candidates")
      }
      candidates = windows.compactMap { $0 }
    } else {
      let density = try options.number("density", default: 0.3, in: 0.001...1)
      candidates = TileWindow.candidates(density: density, context.layout, tile: tile)
    }
    densities = candidates.map { $0.density(context.layout, tile: tile) }
    planners = candidates.map { [grid] in SlidingTileAttention(grid: grid, window: $0) }
    caches = candidates.map { _ in PlanCache() }
    losses = Array(repeating: 0, count: context.stepCount * context.layerCount * context.heads * candidates.count)
    samples = Array(repeating: 0, count: context.stepCount * context.layerCount)
  }

  public func callAsFunction(_ q: Tensor, _ k: Tensor, _ v: Tensor, at site: AttentionSite) throws -> Tensor {
    guard site.layout == context.layout, site.heads == context.heads, site.layer < context.layerCount,
      site.call.stepCount == context.stepCount, site.call.step < context.stepCount
    else {
      throw AttentionError.unsuitable(
        method: SlidingTileAttention.information.name,
        reason: "calibrating for a grid of \(context.layout.gridName) and \(context.stepCount) steps, called for "
          + "\(site.layout.gridName) and \(site.call.stepCount)")
    }
    let scale = 1 / Float(q.shape[3]).squareRoot()
    let dense = try executor.attend(q, k, v, plan: nil, scale: scale)
    let cell = site.call.step * context.layerCount + site.layer
    samples[cell] += q.shape[0]
    for candidate in candidates.indices {
      // Nothing to compute where the window reaches everything.
      guard let plan = try caches[candidate].plan(planners[candidate], site) else { continue }
      let sparse = try executor.attend(q, k, v, plan: plan, scale: scale)
      for (head, loss) in Self.squaredDifference(sparse, dense).enumerated() {
        losses[(cell * context.heads + head) * candidates.count + candidate] += loss
      }
    }
    return dense
  }

  /// Mean over tokens and channels, summed over samples, by head.
  /// - Parameters: a, b: `[B, h, N, d]`.
  private static func squaredDifference(_ a: Tensor, _ b: Tensor) -> [Double] {
    let heads = a.shape[1], size = a.shape[2] * a.shape[3]
    let (a, b) = (a.elements, b.elements)
    var sums = [Double](repeating: 0, count: heads)
    for pair in 0..<a.count / size {
      var sum = 0.0
      for index in pair * size..<(pair + 1) * size {
        let difference = Double(a[index] - b[index])
        sum += difference * difference
      }
      sums[pair % heads] += sum / Double(size)
    }
    return sums
  }

  public func finish(prompts: [String]) throws -> CalibrationOutput {
    if let missing = samples.firstIndex(of: 0) {
      throw AttentionError.unsuitable(
        method: SlidingTileAttention.information.name,
        reason: "calibration never reached step \(missing / context.layerCount), layer \(missing % context.layerCount)")
    }
    var table = SlidingTileTable(
      header: CalibrationHeader(method: SlidingTileAttention.information.name, context: context, prompts: prompts),
      tile: TileWindow([grid.tile.frames, grid.tile.height, grid.tile.width]), candidates: candidates, choices: [],
      losses: [])
    var uses = [Int](repeating: 0, count: candidates.count)
    for step in 0..<context.stepCount {
      var choices: [[Int]] = [], stepLosses: [[[Float]]] = []
      for layer in 0..<context.layerCount {
        let cell = step * context.layerCount + layer
        let byHead = (0..<context.heads).map { head in
          let first = (cell * context.heads + head) * candidates.count
          return losses[first..<first + candidates.count].map { $0 / Double(samples[cell]) }
        }
        choices.append(byHead.map { choose($0) })
        for choice in choices[layer] { uses[choice] += 1 }
        stepLosses.append(byHead.map { $0.map(Float.init) })
      }
      table.choices.append(choices)
      table.losses?.append(stepLosses)
    }
    return CalibrationOutput(
      files: [
        (
          CalibrationHeader.fileName(method: SlidingTileAttention.information.name, layout: context.layout),
          try table.bytes()
        )
      ], summary: summary(uses))
  }

  /// The candidate with the least `loss / greatest loss + costWeight * density`; the cheapest of equals.
  private func choose(_ losses: [Double]) -> Int {
    let greatest = losses.max()!
    let costs = zip(losses, densities).map { (greatest > 0 ? $0 / greatest : 0) + costWeight * $1 }
    return costs.indices.min { (costs[$0], densities[$0]) < (costs[$1], densities[$1]) }!
  }

  private func summary(_ uses: [Int]) -> [String] {
    let total = Double(uses.reduce(0, +))
    return candidates.indices.map { candidate in
      let share = 100 * Double(uses[candidate]) / total
      return "window \(candidates[candidate]), density \(String(format: "%.3f", densities[candidate])): "
        + "\(String(format: "%.1f", share))% of steps, layers and heads"
    }
  }
}
