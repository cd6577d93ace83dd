/// Density targets: options that keep a share of query-key pairs, whichever method they are for.
extension AttentionMethods {
  /// How the options of a method name a target.
  public static let densityOption = "density"
  /// A density that is off by no more than this share of the target meets it.
  public static let densityTolerance = 0.1

  /// Solves for the options of a method that keep a share of the query-key pairs, text included.
  /// - Parameters:
  ///   - options: as the user wrote them; they stay as they are, so what sets the density must not be among them.
  ///   - density: above 0 and at most 1.
  /// - Returns: every option with the value in force, and the density that sparse calls will have: the mean over the
  ///   layers of the last step, on keys that no layer shortens; `nil` where content decides. It may miss the target
  ///   where no options come nearer.
  public func solve(
    _ name: String, options: [String: String], density: Double, context: MethodContext
  ) throws -> (options: [String: String], density: Double?) {
    guard density > 0, density <= 1 else { throw Self.impossible(name, "\(density)") }
    guard let type = types.first(where: { $0.information.name == name }) else {
      _ = try information(name)
      throw AttentionError.unsuitable(method: name, reason: "it keeps every pair, so its density cannot be set")
    }
    _ = try OptionReader(options, for: type.information)
    let solved = try type.options(forDensity: density, given: options, context: context)
    let (method, resolved) = try make(name, options: solved, context: context)
    return (resolved, try method.flatMap { try $0.plannedDensity(context) })
  }

  /// The same where the target is one of the options, as in `radial:density=0.3`, whether or not the method has an
  /// option of that name; without it the options are taken as they are.
  public func solve(
    _ name: String, options: [String: String], context: MethodContext
  ) throws -> (options: [String: String], target: Double?, density: Double?) {
    var options = options
    if let text = options.removeValue(forKey: Self.densityOption) {
      guard let target = Double(text) else { throw Self.impossible(name, text) }
      let solved = try solve(name, options: options, density: target, context: context)
      return (solved.options, target, solved.density)
    }
    let (method, resolved) = try make(name, options: options, context: context)
    guard let method else { return (resolved, nil, 1) }
    return (resolved, nil, try method.plannedDensity(context))
  }

  private static func impossible(_ name: String, _ found: String) -> AttentionError {
    .badOption(method: name, option: densityOption, found: found, expected: "a number above 0 and at most 1")
  }
}

extension AttentionMethod {
  /// Share of pairs kept by the plans of the last step, which is sparse if any is; `nil` where content decides.
  func plannedDensity(_ context: MethodContext) throws -> Double? {
    guard let planner = self as? any GeometricPlanner else { return nil }
    var known: [AttentionSite: Double] = [:], mean = 0.0
    for layer in 0..<context.layerCount {
      let site = AttentionSite(
        layout: context.layout, layer: layer, layerCount: context.layerCount,
        call: DenoisingCall(step: context.stepCount - 1, of: context.stepCount), heads: context.heads)
      let key = planner.planKey(site)
      let density = try known[key] ?? planner.plan(site).density
      known[key] = density
      mean += (density - mean) / Double(layer + 1)
    }
    return mean
  }

  /// Throws where the user set an option that a density target sets.
  static func leaveToTarget(_ names: [String], _ given: [String: String]) throws {
    for name in names {
      guard let found = given[name] else { continue }
      throw AttentionError.badOption(
        method: information.name, option: name, found: found, expected: "nothing beside a target density, which sets it"
      )
    }
  }
}

extension TokenLayout {
  /// Share of all query-key pairs that are of two visual tokens.
  private var visualPairs: Double {
    let share = Double(visualCount) / Double(count)
    return share * share
  }

  /// Share of all pairs kept where text keeps all of its own, and visual tokens a share of theirs.
  func density(keptOfVisual share: Double) -> Double { 1 - (1 - share) * visualPairs }
  /// The reverse; 0 where text alone keeps more.
  func keptOfVisual(density: Double) -> Double { max(1 - (1 - density) / visualPairs, 0) }
}
