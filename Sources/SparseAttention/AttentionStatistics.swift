/// One self-attention call.
public struct AttentionRecord: Sendable, Hashable, Codable {
  public var step: Int, branch: Int, layer: Int
  /// Whether a plan dropped anything.
  public var isSparse: Bool
  /// Query-key pairs computed, and pairs of dense attention over all tokens.
  public var keptPairs: Double, densePairs: Double
  /// Blocks computed over all heads, and blocks of the plan; 0 where dense.
  public var keptBlocks: Int, blocks: Int
  /// Share of pairs kept by each head; empty where dense.
  public var densityByHead: [Double]
  public var planSeconds: Double, computeSeconds: Double

  /// - Parameter plan: `nil` is dense.
  init(_ site: AttentionSite, _ plan: BlockPlan?, samples: Int, planSeconds: Double, computeSeconds: Double) {
    (step, branch, layer) = (site.call.step, site.call.branch, site.layer)
    isSparse = plan != nil
    let tokens = Double(site.layout.count), heads = Double(site.heads * samples)
    densePairs = heads * tokens * tokens
    keptPairs = plan.map { $0.keptPairs * Double(samples) } ?? heads * tokens * Double(site.keyCount)
    let byPattern = plan?.patterns.map { ($0.keptBlocks, $0.rows * $0.columns, $0.keptPairs / (tokens * tokens)) } ?? []
    let byHead = plan?.heads.map { byPattern[$0.pattern] } ?? []
    keptBlocks = byHead.reduce(0) { $0 + $1.0 }
    blocks = byHead.reduce(0) { $0 + $1.1 }
    densityByHead = byHead.map(\.2)
    (self.planSeconds, self.computeSeconds) = (planSeconds, computeSeconds)
  }

  public var density: Double { densePairs == 0 ? 1 : keptPairs / densePairs }
}

/// All self-attention calls of a run.
public struct AttentionStatistics: Sendable, Hashable {
  public private(set) var records: [AttentionRecord] = []

  /// - Parameter records: of an interrupted run.
  public init(_ records: [AttentionRecord] = []) { self.records = records }
  mutating func add(_ record: AttentionRecord) { records.append(record) }

  /// Share of query-key pairs kept over records; `nil` for none.
  public static func density(_ records: some Sequence<AttentionRecord>) -> Double? {
    let sums = records.reduce((0.0, 0.0)) { ($0.0 + $1.keptPairs, $0.1 + $1.densePairs) }
    return sums.1 == 0 ? nil : sums.0 / sums.1
  }

  /// Share of query-key pairs kept over all calls of the run.
  public var runDensity: Double { Self.density(records) ?? 1 }
  /// The same over the calls that a plan made sparse; `nil` where there were none.
  public var sparseDensity: Double? { Self.density(records.filter(\.isSparse)) }
  /// Seconds of planning and of computing.
  public var planSeconds: Double { records.reduce(0) { $0 + $1.planSeconds } }
  public var computeSeconds: Double { records.reduce(0) { $0 + $1.computeSeconds } }
}
