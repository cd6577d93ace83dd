import Checkpoints
import Foundation
import Kernels
import Media
import Tensors

/// A small detector that says what things are in a tabletop picture or clip, to measure how well a model obeys prompts.
///
/// The same as `pipelines/training/judge.py` and `judge_video.py` to Float32 accuracy, with the weights that
/// `export_judge.py` writes beside a pipeline: a safetensors file with batch norms folded into convolutions and the
/// names of all attributes in its metadata. Judges know rendered scenes only; of other pictures they say nothing sensible.
public struct Judge: Sendable {
  /// What it looks at.
  public enum Kind: String, Sendable, Hashable {
    case image, clip
  }

  public var kind: Kind { description.kind }
  let description: JudgeDescription
  private let network: JudgeNetwork

  /// One clear error where the file is missing, broken or no judge.
  public init(file: URL) throws {
    let store = try WeightStore(file: file)
    description = try JudgeDescription(store.metadata, path: file.path)
    network = try JudgeNetwork(store, description)
  }

  /// What an attribute may be; `nil` where the judge does not tell it.
  public func names(of attribute: SceneAttribute) -> [String]? { description.names[attribute] }

  // MARK: Looking

  /// What is seen in a picture, or in a clip by some frames evenly over it.
  /// - Parameter frames: at least one, of one size, any.
  public func look(_ frames: [Frame]) throws -> Sighting {
    let (map, scene) = try logits(frames)
    let (rows, columns, channels) = (map.shape[1], map.shape[2], map.shape[3]), values = map.elements
    let there = (0..<rows * columns).map { 1 / (1 + exp(-values[$0 * channels])) }
    func isPeak(_ x: Int, _ y: Int) -> Bool {
      let own = there[y * columns + x]
      return (max(0, y - 1)...min(rows - 1, y + 1)).allSatisfy { row in
        (max(0, x - 1)...min(columns - 1, x + 1)).allSatisfy { there[row * columns + $0] <= own }
      }
    }
    var things: [Sighting.Thing] = []
    for y in 0..<rows {
      for x in 0..<columns where Double(there[y * columns + x]) > description.least && isPeak(x, y) {
        let start = (y * columns + x) * channels
        let told = tell(description.things, values[(start + 1)..<(start + channels)])
        let sure = (Double(there[y * columns + x]) * 1000).rounded(.toNearestOrEven) / 1000
        things.append(
          Sighting.Thing(
            shape: told[.shape] ?? "", colour: told[.colour] ?? "", size: told[.size] ?? "", motion: told[.motion],
            x: x, y: y, sure: sure))
      }
    }
    things.sort { a, b in
      kind == .image ? (a.x, a.y) < (b.x, b.y) : (-a.sure, a.y, a.x) < (-b.sure, b.y, b.x)
    }
    let told = tell(description.scene, scene[...])
    return Sighting(
      things: things, floor: told[.floor] ?? "", background: told[.background] ?? "", camera: told[.camera])
  }

  /// The likeliest name of each attribute.
  private func tell(_ attributes: [SceneAttribute], _ logits: ArraySlice<Float>) -> [SceneAttribute: String] {
    var rest = logits, told: [SceneAttribute: String] = [:]
    for attribute in attributes {
      let names = description.names[attribute] ?? [], own = rest.prefix(names.count)
      told[attribute] = own.indices.firstMaximum { own[$0] }.map { names[$0 - own.startIndex] }
      rest = rest.dropFirst(names.count)
    }
    return told
  }

  /// The map `[1, rows, columns, 1 + attributes]` and the scene `[scene attributes]`.
  func logits(_ frames: [Frame]) throws -> (map: Tensor, scene: [Float]) {
    guard !frames.isEmpty else { throw EvaluationError.tooShort(metric: "judge", minimum: 1, found: 0) }
    let side = description.side, channels = 3 * description.frames
    var values = [Float](repeating: 0, count: side * side * channels)
    for (place, index) in Self.shown(description.frames, of: frames.count).enumerated() {
      for (number, value) in frames[index].areaResampled(width: side, height: side).enumerated() {
        values[number / 3 * channels + 3 * place + number % 3] = value / 255 * 2 - 1
      }
    }
    return network(Tensor([1, side, side, channels], values))
  }

  /// Which of `total` frames are looked at: `count` evenly from the first to the last, halves to the even one, as torch's
  /// `linspace` and `round` have it.
  static func shown(_ count: Int, of total: Int) -> [Int] {
    guard count > 1 else { return [0] }
    let last = Float(total - 1), step = last / Float(count - 1)
    return (0..<count).map { index in
      let place = index < count / 2 ? step * Float(index) : last - step * Float(count - 1 - index)
      return Int(place.rounded(.toNearestOrEven))
    }
  }

  // MARK: Scoring

  /// How much of what a caption promises was seen.
  public func match(_ expected: ExpectedScene, _ seen: Sighting) -> Adherence {
    switch kind {
    case .image: Adherence(ofPicture: expected, seen)
    case .clip: Adherence(ofClip: expected, seen)
    }
  }

  /// Throws ``EvaluationError/expectation(place:expected:found:)`` where a judge cannot tell what is expected.
  public func check(_ expected: ExpectedScene) throws {
    func check(_ attribute: SceneAttribute, _ value: String?, at place: String) throws {
      guard let value else { return }
      guard let names = names(of: attribute) else {
        throw EvaluationError.expectation(
          place: place, expected: "nothing, since the judge of \(kind.rawValue)s does not tell it", found: value)
      }
      guard names.contains(value) else {
        throw EvaluationError.expectation(
          place: place, expected: "one of " + names.joined(separator: ", "), found: value)
      }
    }
    for (index, thing) in expected.things.enumerated() {
      try check(.shape, thing.shape, at: "things[\(index)].shape")
      try check(.colour, thing.colour, at: "things[\(index)].colour")
      try check(.size, thing.size, at: "things[\(index)].size")
      try check(.motion, thing.motion, at: "things[\(index)].motion")
    }
    try check(.floor, expected.floor, at: "floor")
    try check(.background, expected.background, at: "background")
    try check(.camera, expected.camera, at: "camera")
    if kind == .clip, let arrangement = expected.arrangement {
      throw EvaluationError.expectation(
        place: "arrangement", expected: "nothing, since the judge of clips does not tell it",
        found: arrangement.rawValue)
    }
  }
}
