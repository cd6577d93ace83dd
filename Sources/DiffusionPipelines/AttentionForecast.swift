import SparseAttention

/// Densities of a run that is yet to be made, from plans that depend on geometry alone.
public struct AttentionForecast: Sendable, Hashable {
  /// Share of query-key pairs kept by the calls that a plan makes sparse, and by all calls of the run. `nil` where
  /// plans depend on content.
  public let density: Double?, runDensity: Double?

  /// Plans every self-attention call of a run and computes none.
  public init(_ attention: ResolvedAttention, _ request: GenerationRequest) throws {
    let engine = attention.engine(request.precision), context = attention.context
    let tokens = Double(context.layout.count), densePairs = Double(context.heads) * tokens * tokens
    let keyGrids = try (0..<context.layerCount).map {
      try attention.compression?.keyGrid(layer: $0, of: context.layout)
    }
    var known: [AttentionSite: Double?] = [:]
    var sparse = (kept: 0.0, all: 0.0), run = (kept: 0.0, all: 0.0)
    for step in 0..<context.stepCount {
      for branch in 0..<(request.usesGuidance ? 2 : 1) {
        for layer in 0..<context.layerCount {
          let site = AttentionSite(
            layout: context.layout, layer: layer, layerCount: context.layerCount,
            call: DenoisingCall(step: step, of: context.stepCount, branch: branch), heads: context.heads,
            keyGrid: keyGrids[layer])
          let allKeys = Double(context.heads) * tokens * Double(site.keyCount)
          run.all += densePairs
          guard !engine.staysDense(site) else {
            run.kept += allKeys
            continue
          }
          guard let planner = attention.method as? any GeometricPlanner else {
            (density, runDensity) = (nil, nil)
            return
          }
          let key = planner.planKey(site)
          let kept = try known[key] ?? engine.geometricPlan(site)?.keptPairs
          known[key] = .some(kept)
          run.kept += kept ?? allKeys
          if let kept { sparse = (sparse.kept + kept, sparse.all + densePairs) }
        }
      }
    }
    runDensity = run.kept / run.all
    density = sparse.all > 0 ? sparse.kept / sparse.all : runDensity
  }
}
