import DiffusionPipelines
import Foundation
import TolerantJSON

/// Reads a spec's values; errors say where.
struct SpecReader {
  let source: String

  func error(_ key: String, _ expected: String) -> CommandError {
    .usage("\(source): expected \(expected) at '\(key)'")
  }

  func error(_ key: String, _ expected: String, found: JSONValue?) -> CommandError {
    let text = found.flatMap { try? RunRecord.encoder().encode([$0]) }.map { String(decoding: $0, as: UTF8.self) }
    let found = text.map { printable(String($0.dropFirst().dropLast().prefix(60))) } ?? "none"
    return .usage("\(source): \(key): expected \(expected), found \(found)")
  }

  func object(_ data: Data) throws -> [String: JSONValue] {
    do {
      return try TolerantJSON.decode([String: JSONValue].self, from: data, path: source, convertKeys: false)
    } catch let failure as TolerantJSON.Failure {
      throw CommandError.usage("\(source): expected a sweep's spec, found: \(failure.reason)")
    }
  }

  func check(_ object: [String: JSONValue], keys: [String], at place: String) throws {
    guard let unknown = object.keys.sorted().first(where: { !keys.contains($0) }) else { return }
    throw CommandError.usage(
      "\(source): unknown key '\(place)\(printable(unknown))'; known: \(keys.joined(separator: ", "))")
  }

  /// `nil` where the key is absent.
  func value<Value: Decodable>(_ object: [String: JSONValue], _ key: String) throws -> Value? {
    guard let found = object[key], found != .null else { return nil }
    do {
      let data = try RunRecord.encoder().encode([found])
      return try TolerantJSON.decode([Value].self, from: data, path: source)[0]
    } catch let failure as TolerantJSON.Failure {
      throw CommandError.usage("\(source): '\(key)': \(failure.reason)")
    }
  }

  /// A list of numbers, or text such as `0,3,7-9`.
  func seeds(_ value: JSONValue?) throws -> [UInt64]? {
    switch value ?? .null {
    case .null: return nil
    case .integer(let seed) where seed >= 0: return [UInt64(seed)]
    case .string(let text): return try parseSeeds(text)
    default: return try self.value(["seeds": value ?? .null], "seeds")
    }
  }
}
