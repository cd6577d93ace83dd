/// Plans by what they depend on. Holds at most a fixed number of bytes, the oldest go first.
final class PlanCache {
  private struct Entry {
    /// `nil` where the plan keeps everything.
    var plan: BlockPlan?
    var bytes: Int
  }
  private var entries: [AttentionSite: Entry] = [:]
  private var ages: [AttentionSite] = []
  private var bytes = 0
  private let limit: Int

  init(limit: Int = 256 << 20) { self.limit = limit }

  /// The plan for a site, made if there is none; `nil` where it keeps everything.
  func plan(_ planner: any GeometricPlanner, _ site: AttentionSite) throws -> BlockPlan? {
    let key = planner.planKey(site)
    if let entry = entries[key] { return entry.plan }
    var full = site
    full.keyGrid = nil
    var plan = try planner.plan(full)
    try plan.validate(for: full)
    if let grid = site.keyGrid {
      plan = plan.shortened(to: grid, of: site.layout)
      try plan.validate(for: site)
    }
    let kept = plan.keepsEverything ? nil : plan
    let entry = Entry(plan: kept, bytes: kept?.byteCount ?? 0)
    while bytes + entry.bytes > limit, let oldest = ages.first {
      ages.removeFirst()
      bytes -= entries.removeValue(forKey: oldest)?.bytes ?? 0
    }
    entries[key] = entry
    ages.append(key)
    bytes += entry.bytes
    return kept
  }
}
