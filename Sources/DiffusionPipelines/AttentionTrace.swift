import Kernels
import SparseAttention

/// What the self-attention of a run did.
public struct AttentionTrace: Sendable {
  public var statistics: AttentionStatistics
  /// Plans of a few layers and heads; empty unless the request wants them.
  public var samples: [PatternSample]

  public init(_ statistics: AttentionStatistics = AttentionStatistics(), samples: [PatternSample] = []) {
    self.statistics = statistics
    self.samples = samples
  }
}

/// What one head of one layer kept at the last step that was sparse, with the condition.
public struct PatternSample: Sendable, Hashable {
  public var step: Int, layer: Int, head: Int
  /// In plan order.
  public var pattern: BlockPattern
  /// For each visual token in model order, whether the token in the middle of the grid reads its key.
  public var reach: [Bool]
}

/// Keeps, of all plans of a run, only what pictures of it show.
final class PatternSampler {
  private static let layerCount = 4, headCount = 6

  private let layers: Set<Int>, heads: [Int]
  private var byLayer: [Int: [PatternSample]] = [:]

  /// - Parameter context: says how many layers and heads there are.
  init(watching engine: PlannedAttention, of context: MethodContext) {
    layers = Set(Self.spread(Self.layerCount, over: min(engine.denseLayers, context.layerCount)..<context.layerCount))
    heads = Self.spread(Self.headCount, over: 0..<context.heads)
    engine.onPlan = { [weak self] site, plan in self?.add(site, plan) }
  }

  /// By layer, then head.
  var samples: [PatternSample] { byLayer.sorted { $0.key < $1.key }.flatMap(\.value) }

  private func add(_ site: AttentionSite, _ plan: BlockPlan) {
    guard site.call.branch == 0, layers.contains(site.layer) else { return }
    byLayer[site.layer] = heads.map { head in
      PatternSample(
        step: site.call.step, layer: site.layer, head: head, pattern: plan.patterns[plan.heads[head].pattern],
        reach: plan.reach(ofMiddle: site, head: head))
    }
  }

  /// At most `count` numbers of a range, evenly spread, its ends among them.
  static func spread(_ count: Int, over range: Range<Int>) -> [Int] {
    guard range.count > count else { return Array(range) }
    return (0..<count).map { range.lowerBound + ($0 * (range.count - 1) + (count - 1) / 2) / (count - 1) }
  }
}

extension BlockPlan {
  /// For each visual token in model order, whether the token in the middle of the grid reads its key; where keys are
  /// fewer than tokens, the key that stands for it.
  func reach(ofMiddle site: AttentionSite, head index: Int) -> [Bool] {
    let layout = site.layout, head = heads[index], pattern = patterns[head.pattern]
    let middle = layout.token(frame: layout.frames / 2, row: layout.height / 2, column: layout.width / 2)
    let position = orders[head.queryOrder].inverse[middle]
    let row = pattern.queryStarts.lastIndex { $0 <= position } ?? 0
    var isRead = [Bool](repeating: false, count: pattern.keys)
    for column in pattern.keptColumns(row) {
      for position in pattern.keyStarts[column]..<pattern.keyStarts[column + 1] {
        isRead[Int(orders[head.keyOrder].tokens[Int(position)])] = true
      }
    }
    return (layout.prefix..<layout.prefix + layout.visualCount).map { token in
      isRead[site.keyGrid?.key(nearest: token, of: layout) ?? token]
    }
  }
}
