import DiffusionPipelines
import Evaluation

extension SweepSpec {
  /// A prompt, as text or with what it promises for a judge to look for:
  ///
  ///     {
  ///       "prompt": "a large red cube to the left of a ball on a grey floor",
  ///       "expect": {
  ///         "things": [{"shape": "cube", "colour": "red", "size": "large"}, {"shape": "sphere", "colour": "blue"}],
  ///         "arrangement": "left", "floor": "grey"
  ///       }
  ///     }
  ///
  /// Things have `shape` and `colour`, and may have `size` and, in clips, `motion`: of clips the first thing is judged.
  /// `floor`, `background`, `camera` (of clips) and `arrangement` (of pictures: left, right, front or behind the second
  /// thing, between the second and third, or three in a row) are left out where the prompt leaves them open.
  struct Prompt: Sendable, Hashable {
    var text: String
    var expected: ExpectedScene?
    /// Where it is in the spec, for errors.
    var place: String
  }

  /// `nil` where there are none.
  static func prompts(_ value: JSONValue?, _ reader: SpecReader) throws -> [Prompt]? {
    switch value ?? .null {
    case .null: return nil
    case .array(let entries):
      return try entries.enumerated().map { try prompt($1, reader, at: "prompts[\($0)]") }
    case let other: throw reader.error("prompts", "a list", found: other)
    }
  }

  private static func prompt(_ entry: JSONValue, _ reader: SpecReader, at place: String) throws -> Prompt {
    switch entry {
    case .string(let text): return Prompt(text: text, place: place)
    case .object(let object):
      try reader.check(object, keys: ["prompt", "expect"], at: place + ".")
      guard let text = try text(object, "prompt", reader, at: place) else {
        throw reader.error(place + ".prompt", "a text", found: nil)
      }
      let expected = object["expect"].flatMap { $0 == .null ? nil : $0 }
      return Prompt(
        text: text, expected: try expected.map { try scene($0, reader, at: place + ".expect") }, place: place)
    default: throw reader.error(place, "a text or an object with 'prompt' and 'expect'", found: entry)
    }
  }

  private static func scene(_ value: JSONValue, _ reader: SpecReader, at place: String) throws -> ExpectedScene {
    guard case .object(let object) = value else { throw reader.error(place, "an object with 'things'", found: value) }
    try reader.check(object, keys: ["things", "floor", "background", "camera", "arrangement"], at: place + ".")
    guard case .array(let entries)? = object["things"], (1...64).contains(entries.count) else {
      throw reader.error(place + ".things", "a list of 1 to 64 things", found: object["things"])
    }
    let things = try entries.enumerated().map { try thing($1, reader, at: "\(place).things[\($0)]") }
    let arrangement = try text(object, "arrangement", reader, at: place).map { text in
      guard let arrangement = ExpectedScene.Arrangement(rawValue: text) else {
        let names = ExpectedScene.Arrangement.allCases.map(\.rawValue).joined(separator: ", ")
        throw reader.error(place + ".arrangement", "one of " + names, found: .string(text))
      }
      guard things.count >= arrangement.thingCount else {
        throw reader.error(
          place + ".things", "\(arrangement.thingCount) things for arrangement '\(text)'",
          found: .integer(Int64(things.count)))
      }
      return arrangement
    }
    return ExpectedScene(
      things: things, floor: try text(object, "floor", reader, at: place),
      background: try text(object, "background", reader, at: place),
      camera: try text(object, "camera", reader, at: place), arrangement: arrangement)
  }

  private static func thing(
    _ value: JSONValue, _ reader: SpecReader, at place: String
  ) throws -> ExpectedScene.Thing {
    guard case .object(let object) = value else {
      throw reader.error(place, "an object with 'shape' and 'colour'", found: value)
    }
    try reader.check(object, keys: ["shape", "colour", "size", "motion"], at: place + ".")
    func required(_ key: String) throws -> String {
      guard let found = try text(object, key, reader, at: place) else {
        throw reader.error("\(place).\(key)", "a text", found: nil)
      }
      return found
    }
    return ExpectedScene.Thing(
      shape: try required("shape"), colour: try required("colour"), size: try text(object, "size", reader, at: place),
      motion: try text(object, "motion", reader, at: place))
  }

  /// `nil` where the key is absent.
  private static func text(
    _ object: [String: JSONValue], _ key: String, _ reader: SpecReader, at place: String
  ) throws -> String? {
    switch object[key] ?? .null {
    case .null: return nil
    case .string(let text): return text
    case let other: throw reader.error("\(place).\(key)", "a text", found: other)
    }
  }
}
