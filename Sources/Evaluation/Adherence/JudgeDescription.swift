/// What a judge's file says of it in its metadata; `pipelines/training/export_judge.py` writes it.
struct JudgeDescription: Sendable {
  /// Rows of the map that features are averaged over: the upper quarter, the lower quarter, all.
  enum Pooling: String, Sendable { case top, bottom, all }

  let kind: Judge.Kind
  /// Frames looked at, and their height and width in pixels.
  let frames: Int, side: Int
  /// Of the convolutions, as many of both.
  let strides: [Int], dilations: [Int]
  let pooling: [Pooling]
  /// Attributes in the order of the outputs, and what each may be.
  let things: [SceneAttribute], scene: [SceneAttribute]
  let names: [SceneAttribute: [String]]
  /// How sure a thing must be to count, 0...1.
  let least: Double

  /// - Parameter path: names the file in errors.
  init(_ metadata: [String: String], path: String) throws {
    func error(_ key: String, _ expected: String) -> EvaluationError {
      let found = metadata[key].map { "'\($0.prefix(60))'" } ?? "none"
      return .weights(path: path, reason: "not a judge: expected \(expected) as metadata '\(key)', found \(found)")
    }
    func list(_ key: String, _ expected: String) throws -> [String] {
      let words = (metadata[key] ?? "").split(separator: ",", omittingEmptySubsequences: false).map(String.init)
      guard (1...256).contains(words.count), !words.contains("") else { throw error(key, expected) }
      return words
    }
    func numbers(_ key: String, _ range: ClosedRange<Int>, count: ClosedRange<Int>) throws -> [Int] {
      let expected =
        (count.upperBound == 1 ? "a number" : "\(count.lowerBound) to \(count.upperBound) numbers") + " of "
        + "\(range.lowerBound) to \(range.upperBound)"
      let found = try list(key, expected).map { Int($0) ?? -1 }
      guard count.contains(found.count), found.allSatisfy(range.contains) else { throw error(key, expected) }
      return found
    }
    func attributes(_ key: String, _ expected: [SceneAttribute]) throws -> [SceneAttribute] {
      let text = expected.map(\.rawValue).joined(separator: ", ") + " in any order"
      let found = try list(key, text).compactMap(SceneAttribute.init)
      guard found.count == expected.count, Set(found) == Set(expected) else { throw error(key, text) }
      return found
    }
    guard let kind = Judge.Kind(rawValue: metadata["kind"] ?? "") else { throw error("kind", "image or clip") }
    self.kind = kind
    frames = try numbers("frames", kind == .image ? 1...1 : 1...64, count: 1...1)[0]
    side = try numbers("side", 16...512, count: 1...1)[0]
    strides = try numbers("strides", 1...2, count: 1...32)
    dilations = try numbers("dilations", 1...8, count: strides.count...strides.count)
    guard strides.reduce(side, { ($0 - 1) / $1 + 1 }) >= 4 else {
      throw error("strides", "a map of at least 4 rows left")
    }
    pooling = try list("pooling", "top, bottom or all").map { word in
      guard let pooling = Pooling(rawValue: word) else { throw error("pooling", "top, bottom or all") }
      return pooling
    }
    things = try attributes("things", [.shape, .colour, .size] + (kind == .clip ? [.motion] : []))
    scene = try attributes("scene", [.floor, .background] + (kind == .clip ? [.camera] : []))
    var names: [SceneAttribute: [String]] = [:]
    for attribute in things + scene {
      let words = try list(attribute.rawValue, "names")
      guard Set(words).count == words.count else { throw error(attribute.rawValue, "different names") }
      names[attribute] = words
    }
    self.names = names
    guard let least = Double(metadata["least"] ?? ""), (0...1).contains(least) else {
      throw error("least", "a number of 0 to 1")
    }
    self.least = least
  }
}
