import Kernels
import Tensors

/// The one thing a model block calls for self-attention. Which keys each query reads is the engine's business.
public protocol AttentionEngine: AnyObject {
  /// - Parameters:
  ///   - q: `[B, h, N, d]` in model order, after normalisation and rotary embedding.
  ///   - k, v: `[B, h, M, d]`; `M` is `N` unless the site has a key grid.
  ///   - site: where in the run the call happens.
  /// - Returns: `[B, h, N, d]`.
  func callAsFunction(_ q: Tensor, _ k: Tensor, _ v: Tensor, at site: AttentionSite) throws -> Tensor
}

/// Plans with a method, keeps what the method says to keep, and computes with one executor. Without a method, and in the
/// first steps and layers that stay dense, every block is kept.
public final class PlannedAttention: AttentionEngine {
  public let method: (any AttentionMethod)?
  /// First denoising steps, and first layers, that stay dense.
  public let denseSteps: Int, denseLayers: Int
  private let executor: any AttentionExecutor
  private let cache = PlanCache()
  public private(set) var statistics = AttentionStatistics()
  /// Called with the plan of every sparse call, before it is computed.
  public var onPlan: ((AttentionSite, BlockPlan) -> Void)?

  /// - Parameters:
  ///   - method: `nil` is dense.
  ///   - denseSteps, denseLayers: what the user says; `nil` leaves it to the method.
  ///   - stepCount: denoising steps of the run.
  public init(
    _ method: (any AttentionMethod)?, executor: any AttentionExecutor, denseSteps: Int? = nil, denseLayers: Int? = nil,
    stepCount: Int
  ) {
    self.method = method
    self.executor = executor
    self.denseSteps = denseSteps ?? method?.defaultDenseSteps(of: stepCount) ?? 0
    self.denseLayers = denseLayers ?? method?.defaultDenseLayers ?? 0
  }

  /// Goes on with the statistics of an interrupted run.
  public func resume(with statistics: AttentionStatistics) { self.statistics = statistics }

  /// Dense attention.
  public convenience init(precision: Precision) {
    self.init(nil, executor: BlockSparseExecutor(precision), stepCount: 1)
  }

  public func callAsFunction(_ q: Tensor, _ k: Tensor, _ v: Tensor, at site: AttentionSite) throws -> Tensor {
    precondition(q.shape[2] == site.layout.count && k.shape[2] == site.keyCount, "\(q.shape), \(k.shape) at \(site)")
    // Each sample has a plan of its own where plans depend on content.
    if q.shape[0] > 1, method is any ContentPlanner {
      return Tensor.concatenated(
        try (0..<q.shape[0]).map { sample in
          try self(q.slice(sample..<sample + 1), k.slice(sample..<sample + 1), v.slice(sample..<sample + 1), at: site)
        })
    }
    let clock = ContinuousClock(), start = clock.now
    let plan = try plan(q, k, at: site)
    let planned = clock.now
    if let plan { onPlan?(site, plan) }
    let result = try executor.attend(q, k, v, plan: plan, scale: 1 / Float(q.shape[3]).squareRoot())
    statistics.add(
      AttentionRecord(
        site, plan, samples: q.shape[0], planSeconds: (planned - start) / .seconds(1),
        computeSeconds: (clock.now - planned) / .seconds(1)))
    return result
  }

  /// Whether a site stays dense whatever the method.
  public func staysDense(_ site: AttentionSite) -> Bool {
    method == nil || site.call.step < denseSteps || site.layer < denseLayers
  }

  /// The plan of a call; `nil` is dense, which a plan that keeps everything is too.
  private func plan(_ q: Tensor, _ k: Tensor, at site: AttentionSite) throws -> BlockPlan? {
    guard !staysDense(site) else { return nil }
    if let planner = method as? any GeometricPlanner { return try cache.plan(planner, site) }
    guard let planner = method as? any ContentPlanner else { return nil }
    let plan = try planner.plan(
      site, queries: q.reshaped(q.shape[1], q.shape[2], q.shape[3]),
      keys: k.reshaped(k.shape[1], k.shape[2], k.shape[3]))
    try plan.validate(for: site)
    return plan.keepsEverything ? nil : plan
  }

  /// The plan that a geometric method has for a site, without computing anything; `nil` where the site is dense or the
  /// plan depends on content.
  public func geometricPlan(_ site: AttentionSite) throws -> BlockPlan? {
    guard !staysDense(site), let planner = method as? any GeometricPlanner else { return nil }
    return try cache.plan(planner, site)
  }
}
