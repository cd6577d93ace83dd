/// How much of what a caption promises a judge saw: by attribute, how often it was right and how often it was wanted.
/// Counts of several pictures add up, so that shares can be pooled.
public struct Adherence: Sendable, Hashable, Codable {
  public struct Count: Sendable, Hashable, Codable {
    public var right: Int, wanted: Int

    public init(right: Int, wanted: Int) { (self.right, self.wanted) = (right, wanted) }

    /// 0...1, NaN where nothing was wanted.
    public var share: Double { Double(right) / Double(wanted) }

    static func one(_ isRight: Bool) -> Count { Count(right: isRight ? 1 : 0, wanted: 1) }
  }

  /// By attribute, those that nothing was wanted of left out: ``attributes``, and for several at once, of pictures `both`
  /// (colour and shape) and `all` (with size), of clips `all three` (colour, shape and motion).
  public var counts: [String: Count]

  public init(counts: [String: Count]) { self.counts = counts }

  /// Plain attributes, in the order they are shown. `count` is whether there are as many things as wanted.
  public static let attributes = [
    "colour", "shape", "size", "motion", "count", "arrangement", "floor", "background", "camera",
  ]

  /// Of all plain attributes wanted, the share that is right, 0...1.
  public var share: Double {
    let plain = Self.attributes.compactMap { counts[$0] }
    return Count(right: plain.reduce(0) { $0 + $1.right }, wanted: plain.reduce(0) { $0 + $1.wanted }).share
  }

  /// All of them together.
  public static func pooled(_ parts: some Sequence<Adherence>) -> Adherence {
    parts.reduce(into: Adherence(counts: [:])) { sum, part in
      for (name, count) in part.counts {
        let old = sum.counts[name] ?? Count(right: 0, wanted: 0)
        sum.counts[name] = Count(right: old.right + count.right, wanted: old.wanted + count.wanted)
      }
    }
  }

  // MARK: Scoring

  /// Scores a picture as `judge.match` and `evaluate.arranged` of `pipelines/training` do: each thing wanted takes, of
  /// those seen and not taken yet, the one that agrees best in colour and shape, then in size. What is not said, such as
  /// a size, agrees with everything and counts as right wherever there is a thing.
  init(ofPicture expected: ExpectedScene, _ seen: Sighting) {
    var rest = seen.things, right = ["colour": 0, "shape": 0, "size": 0, "both": 0, "all": 0]
    for want in expected.things {
      func agreement(_ got: Sighting.Thing) -> (colour: Bool, shape: Bool, size: Bool) {
        (want.colour == got.colour, want.shape == got.shape, want.size == nil || want.size == got.size)
      }
      func score(_ got: Sighting.Thing) -> Int {
        let (colour, shape, size) = agreement(got)
        return (colour ? 10 : 0) + (shape ? 10 : 0) + (size ? 1 : 0)
      }
      guard let place = rest.indices.firstMaximum(by: { score(rest[$0]) }) else { continue }
      let (colour, shape, size) = agreement(rest[place])
      for (name, agrees) in [
        ("colour", colour), ("shape", shape), ("size", size), ("both", colour && shape),
        ("all", colour && shape && size),
      ] where agrees { right[name, default: 0] += 1 }
      if colour || shape { rest.remove(at: place) }
    }
    counts = right.mapValues { Count(right: $0, wanted: expected.things.count) }
    counts["count"] = .one(seen.things.count == expected.things.count)
    counts["arrangement"] = expected.arrangement.map { .one(Self.stands($0, expected, seen)) }
    addScene(expected, seen)
  }

  /// Whether the wanted things are seen in the wanted arrangement. One whose colour is not seen is in none.
  private static func stands(_ arrangement: ExpectedScene.Arrangement, _ expected: ExpectedScene, _ seen: Sighting)
    -> Bool
  {
    var rest = seen.things, found: [Sighting.Thing] = []
    for want in expected.things {
      let place = rest.indices.firstMaximum { index in
        (rest[index].colour == want.colour ? 2 : 0) + (rest[index].shape == want.shape ? 1 : 0)
      }
      guard let place, rest[place].colour == want.colour else { return false }
      found.append(rest.remove(at: place))
    }
    guard found.count >= arrangement.thingCount else { return false }
    return switch arrangement {
    case .left: found[0].x < found[1].x
    case .right: found[0].x > found[1].x
    case .front: found[0].y > found[1].y
    case .behind: found[0].y < found[1].y
    case .between: found[1].x < found[0].x && found[0].x < found[2].x
    case .row: found[0].x < found[1].x && found[1].x < found[2].x
    }
  }

  /// Scores a clip as `judge_video.match` of `pipelines/training` does, by the first thing wanted, which is the moving
  /// one: the thing meant is the one of the right colour, then of the right shape, then the surest, never that of the
  /// right motion. What is not said is not judged.
  init(ofClip expected: ExpectedScene, _ seen: Sighting) {
    counts = [:]
    if let want = expected.things.first {
      let place = seen.things.indices.firstMaximum { index in
        (seen.things[index].colour == want.colour ? 2 : 0) + (seen.things[index].shape == want.shape ? 1 : 0)
      }
      let got = place.map { seen.things[$0] }
      counts["colour"] = .one(got?.colour == want.colour)
      counts["shape"] = .one(got?.shape == want.shape)
      counts["motion"] = want.motion.map { .one(got?.motion == $0) }
      if counts["motion"] != nil { counts["all three"] = .one(counts.values.allSatisfy { $0.right == 1 }) }
    }
    counts["count"] = .one(seen.things.count == expected.things.count)
    addScene(expected, seen)
  }

  private mutating func addScene(_ expected: ExpectedScene, _ seen: Sighting) {
    counts["floor"] = expected.floor.map { .one(seen.floor == $0) }
    counts["background"] = expected.background.map { .one(seen.background == $0) }
    counts["camera"] = expected.camera.map { .one(seen.camera == $0) }
  }
}

extension Collection {
  /// The first of the elements with the largest value; `nil` where there is none.
  func firstMaximum(by value: (Element) -> some Comparable) -> Element? {
    self.max { value($0) < value($1) }
  }
}
