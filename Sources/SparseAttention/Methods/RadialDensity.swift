/// Density targets of ``RadialAttention``: `decay` is solved for, and other options only where it cannot meet them.
extension RadialAttention {
  /// Options are tried in this order, and the first that meet the target are taken; where none do, the nearest.
  ///
  /// 1. `decay`, by bisection.
  /// 2. `thinning`, by bisection, then `decay` with the largest that keeps more than the target.
  /// 3. `block`: half of the default, a quarter and so on down to 16 tokens, then twice and so on up to a whole
  ///    frame, for each steps 1 and 2.
  /// 4. `sink=false`, for which steps 1 to 3.
  /// 5. `along=rows` in videos, for which steps 1 to 4.
  /// 6. Blocks of 8 and of 4 tokens, which the kernel is slow with, for which steps 1, 2, 4 and 5.
  ///
  /// What the user set is not tried otherwise; `decay` must be left out, and `rule=paper`, which has no decay.
  public static func options(
    forDensity density: Double, given: [String: String], context: MethodContext
  ) throws -> [String: String] {
    try leaveToTarget(["decay"], given)
    if let rule = given["rule"], rule == RadialBands.Rule.paper.rawValue {
      throw AttentionError.badOption(
        method: information.name, option: "rule", found: rule,
        expected: "a rule with decay beside a target density, which sets that")
    }
    var search = RadialSearch(target: density, given: given, context: context)
    try search.run()
    return search.nearest!.options
  }
}

/// The search for ``RadialAttention``'s options.
private struct RadialSearch {
  let target: Double
  let given: [String: String]
  private var context: MethodContext
  /// Of all options tried the first with the least miss.
  private(set) var nearest: (options: [String: String], miss: Double)?
  private var known: [[String: String]: Double] = [:]

  init(target: Double, given: [String: String], context: MethodContext) {
    (self.target, self.given, self.context) = (target, given, context)
    // One pattern serves all heads.
    self.context.heads = 1
    self.context.layerCount = 1
  }

  private var isMet: Bool { nearest.map { $0.miss <= AttentionMethods.densityTolerance } ?? false }

  mutating func run() throws {
    let isFree = given["along"] == nil && context.layout.frames > 1
    for blocks in given["block"] == nil ? [usualBlocks, smallBlocks] : [{ _ in [nil] }] {
      for along in isFree ? [RadialAttention.Along.frames, .rows] : [try along()] {
        for sink in given["sink"] == nil ? [nil, "false"] : [nil] {
          for block in blocks(along) {
            var dials: [String: String] = [:]
            dials["along"] = isFree && along == .rows ? along.rawValue : nil
            dials["sink"] = sink
            dials["block"] = block.map { "\($0)" }
            try search(dials, along)
            if isMet { return }
          }
        }
      }
    }
  }

  /// What the user's `along` comes to.
  private func along() throws -> RadialAttention.Along {
    var reader = try OptionReader(given, for: RadialAttention.information)
    let along = try reader.choice("along", default: RadialAttention.Along.auto)
    return along == .auto ? context.layout.frames > 1 ? .frames : .rows : along
  }

  /// Blocks to try, those that suit the kernel; `nil` is the default.
  private func usualBlocks(_ along: RadialAttention.Along) -> [Int?] {
    let suited = suitedBlock(along), size = RadialAttention.frames(context.layout, along).size
    let larger = sequence(first: suited * 2) { $0 * 2 }.prefix { $0 / 2 < size }
    return [nil] + halves(suited).filter { $0 >= 16 } + larger
  }

  /// And those that do not.
  private func smallBlocks(_ along: RadialAttention.Along) -> [Int?] { halves(suitedBlock(along)).filter { $0 < 16 } }

  /// A block halved again and again, down to 4 tokens or to 4096 blocks in all, which the search still has done soon.
  private func halves(_ block: Int) -> [Int] {
    sequence(first: block / 2) { $0 / 2 }.prefix { $0 >= 4 && context.layout.visualCount / $0 <= 4096 }
  }

  private func suitedBlock(_ along: RadialAttention.Along) -> Int {
    RadialAttention.block(size: RadialAttention.frames(context.layout, along).size, along)
  }

  /// Searches `decay`, then `thinning`, with the other options as they are.
  private mutating func search(_ dials: [String: String], _ along: RadialAttention.Along) throws {
    let wide = try density(dials)
    try bisectDecay(dials)
    guard !isMet, given["thinning"] == nil else { return }
    let size = RadialAttention.frames(context.layout, along).size
    let block = dials["block"].flatMap { Int($0) } ?? given["block"].flatMap { Int($0) }
    let suited = suitedBlock(along), standard = along == .rows ? block ?? suited : suited
    // Beyond a power of two above the frame's size, no two frames are left that read each other.
    var (low, high) = target > wide ? (1, standard) : (standard, max(1 << size.bitLength, standard))
    func thinned(_ thinning: Int) -> [String: String] { dials.merging(["thinning": "\(thinning)"]) { $1 } }
    guard try density(thinned(low)) >= target, try density(thinned(high)) <= target else { return }
    while high - low > 1 {
      let middle = (low + high) / 2
      if try density(thinned(middle)) > target { low = middle } else { high = middle }
    }
    if !isMet { try bisectDecay(thinned(low)) }
  }

  private mutating func bisectDecay(_ dials: [String: String]) throws {
    func decaying(_ decay: Double) -> [String: String] { dials.merging(["decay": "\(decay)"]) { $1 } }
    guard try density(decaying(0)) < target, try density(dials) > target else { return }
    var low = 0.0, high = 1.0
    for _ in 0..<10 {
      let middle = (low + high) / 2
      if try density(decaying(middle)) < target { low = middle } else { high = middle }
    }
  }

  /// The density with some options, which are kept if they are the nearest yet.
  private mutating func density(_ dials: [String: String]) throws -> Double {
    let options = given.merging(dials) { $1 }
    if let known = known[options] { return known }
    var reader = try OptionReader(options, for: RadialAttention.information)
    let found = try RadialAttention(&reader, context: context).plannedDensity(context)!
    let miss = abs(found - target) / target
    if miss < nearest?.miss ?? .infinity { nearest = (options, miss) }
    known[options] = found
    return found
  }
}
