import Foundation
import SparseAttention
import TolerantJSON

/// What self-attention reads, as it is asked for: the method's name, its options, and what stays dense whatever the
/// method. Whether there is such a method with such options, ``AttentionResolver`` finds out.
public struct AttentionChoice: Sendable, Hashable {
  public var method: String
  /// Numbers, texts, and true or false.
  public var options: [String: JSONValue]
  /// First steps kept dense; `nil` leaves it to the method.
  public var denseSteps: Int?
  /// First layers kept dense; `nil` leaves it to the method.
  public var denseLayers: Int?

  public init(
    method: String = AttentionMethods.dense, options: [String: JSONValue] = [:], denseSteps: Int? = nil,
    denseLayers: Int? = nil
  ) {
    self.method = method
    self.options = options
    self.denseSteps = denseSteps
    self.denseLayers = denseLayers
  }

  /// Every key block, always.
  public static let dense = AttentionChoice()
  /// The methods there are.
  public static let knownMethods = AttentionMethods.standard.names
}

/// As text: `radial`, `radial:decay=0.5,dense-steps=4`, an object of JSON, or `@` and the path of a file with one.
extension AttentionChoice {
  static let denseStepsName = "dense-steps", denseLayersName = "dense-layers"

  /// Reads any of the spellings; `dense-steps` and `dense-layers` among the options are those of the choice.
  public init(parsing text: String) throws {
    if text.hasPrefix("@") {
      let path = String(text.dropFirst())
      let data = try TolerantJSON.read(URL(fileURLWithPath: path), limit: 1 << 20)
      try self.init(json: data, source: path)
    } else if text.hasPrefix("{") {
      try self.init(json: Data(text.utf8), source: "attention")
    } else {
      try self.init(flag: text)
    }
  }

  private init(flag text: String) throws {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    var options: [String: JSONValue] = [:]
    for pair in parts.dropFirst().first?.split(separator: ",") ?? [] {
      let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard sides.count == 2, !sides[0].isEmpty else {
        throw PipelineError.badRequest("attention: expected key=value, found '\(printable(String(pair)))'")
      }
      guard options.updateValue(JSONValue(plainText: String(sides[1])), forKey: String(sides[0])) == nil else {
        throw PipelineError.badRequest("attention: option '\(printable(String(sides[0])))' is given twice")
      }
    }
    self.init(method: String(parts[0]))
    try take(options)
  }

  /// Reads `{"method": ..., "options": {...}, "dense_steps": ..., "dense_layers": ...}`.
  private init(json: Data, source: String) throws {
    let object = try TolerantJSON.decode([String: JSONValue].self, from: json, path: source, convertKeys: false)
    guard case .string(let method)? = object["method"] else {
      throw PipelineError.badRequest("\(source): expected a method's name at 'method', found none")
    }
    let names = ["method", "options", "dense_steps", "dense_layers"]
    if let unknown = object.keys.sorted().first(where: { !names.contains($0.replacing("-", with: "_")) }) {
      throw PipelineError.badRequest(
        "\(source): unknown key '\(printable(unknown))'; known: " + names.joined(separator: ", "))
    }
    self.init(method: method)
    switch object["options"] ?? .null {
    case .object(let options): try take(options)
    case .null: break
    default: throw PipelineError.badRequest("\(source): expected an object at 'options'")
    }
    try take(object.filter { $0.key.hasPrefix("dense") })
  }

  /// Adds options; those about dense steps and layers go to their own places.
  private mutating func take(_ options: [String: JSONValue]) throws {
    for (key, value) in options where value != .null {
      switch key.replacing("_", with: "-") {
      case Self.denseStepsName: denseSteps = try Self.count(value, Self.denseStepsName)
      case Self.denseLayersName: denseLayers = try Self.count(value, Self.denseLayersName)
      default: self.options[key] = value
      }
    }
  }

  private static func count(_ value: JSONValue, _ name: String) throws -> Int {
    let text = value.plainText ?? "a list"
    guard let count = Int(text), count >= 0 else {
      throw PipelineError.badRequest(
        "attention option \(name): expected a whole number from 0, found '\(printable(text))'")
    }
    return count
  }

  /// The choice as one text, from which ``init(parsing:)`` makes an equal one.
  public var text: String {
    var options = options
    options[Self.denseStepsName] = denseSteps.map { .integer(Int64($0)) }
    options[Self.denseLayersName] = denseLayers.map { .integer(Int64($0)) }
    let pairs = options.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value.plainText) }
    guard pairs.allSatisfy({ $0.value != nil && $0.value?.contains(",") == false }) else {
      let object: [String: JSONValue] = ["method": .string(method), "options": .object(options)]
      return (try? RunRecord.encoder().encode(object)).map { String(decoding: $0, as: UTF8.self) } ?? method
    }
    return pairs.isEmpty ? method : "\(method):" + pairs.map { "\($0.name)=\($0.value ?? "")" }.joined(separator: ",")
  }

  /// The options as methods read them.
  package func optionTexts() throws -> [String: String] {
    try Dictionary(
      uniqueKeysWithValues: options.map { name, value in
        guard let text = value.plainText else {
          throw PipelineError.badRequest(
            "attention option \(method):\(printable(name)): expected a number, a text, true or false")
        }
        return (name, text)
      })
  }
}

extension JSONValue {
  /// A number, a text or a truth value as a user writes it in a flag; `nil` for anything else.
  package var plainText: String? {
    switch self {
    case .bool(let value): "\(value)"
    case .integer(let value): "\(value)"
    case .unsigned(let value): "\(value)"
    case .number(let value): "\(value)"
    case .string(let value): value
    case .null, .array, .object: nil
    }
  }

  /// The reverse: a number or a truth value where its text would come back the same, else a text.
  package init(plainText text: String) {
    if text == "true" || text == "false" {
      self = .bool(text == "true")
    } else if let value = Int64(text), "\(value)" == text {
      self = .integer(value)
    } else if let value = Double(text), value.isFinite, "\(value)" == text {
      self = .number(value)
    } else {
      self = .string(text)
    }
  }
}
