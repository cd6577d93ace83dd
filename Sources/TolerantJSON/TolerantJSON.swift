import Foundation

/// Reads JSON as model folders really contain it: `NaN`, `Infinity` and `-Infinity` are accepted as numbers (the
/// published PixArt-Sigma scheduler file holds one). Size and depth are bounded, since the files come from strangers.
public enum TolerantJSON {
  /// What is wrong with a JSON file.
  public struct Failure: Error, CustomStringConvertible {
    public let path: String, reason: String
    public var isMissing = false
    public var description: String { "\(path): \(reason)" }
  }

  /// The largest file read, in bytes.
  public static let defaultLimit = 64 << 20

  /// Decodes a file. Keys in snake case match properties in camel case.
  public static func decode<T: Decodable>(_ type: T.Type, from file: URL, limit: Int = defaultLimit) throws -> T {
    try decode(type, from: read(file, limit: limit), path: file.path)
  }

  /// Decodes bytes; `path` names them in errors.
  public static func decode<T: Decodable>(
    _ type: T.Type, from data: Data, path: String, convertKeys: Bool = true
  ) throws -> T {
    let decoder = JSONDecoder()
    if convertKeys { decoder.keyDecodingStrategy = .convertFromSnakeCase }
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    do {
      return try decoder.decode(type, from: strict(data))
    } catch let error as DecodingError {
      throw Failure(path: path, reason: explain(error))
    }
  }

  /// The bytes of a file of at most `limit` bytes.
  /// - Parameter allowsPipes: whether the file may also be a pipe or a device, which can make a reader wait for ever.
  public static func read(_ file: URL, limit: Int = defaultLimit, allowsPipes: Bool = false) throws -> Data {
    guard allowsPipes || isRegular(file) || !FileManager.default.fileExists(atPath: file.path) else {
      throw Failure(path: file.path, reason: "not a regular file")
    }
    let handle: FileHandle
    do {
      handle = try FileHandle(forReadingFrom: file)
    } catch {
      let missing = !FileManager.default.fileExists(atPath: file.path)
      throw Failure(path: file.path, reason: missing ? "no such file" : "cannot be read", isMissing: missing)
    }
    defer { try? handle.close() }
    let data: Data
    do {
      data = try handle.read(upToCount: limit + 1) ?? Data()
    } catch {
      throw Failure(path: file.path, reason: "cannot be read")
    }
    guard data.count <= limit else {
      throw Failure(path: file.path, reason: "larger than the limit of \(limit) bytes for a JSON file")
    }
    return data
  }

  /// Whether a path leads to a regular file, and not to a folder, a pipe or a device.
  public static func isRegular(_ file: URL) -> Bool {
    let attributes = try? FileManager.default.attributesOfItem(atPath: file.resolvingSymlinksInPath().path)
    return attributes?[.type] as? FileAttributeType == .typeRegular
  }

  /// The same JSON with bare non-finite numbers put in quotes.
  static func strict(_ data: Data) -> Data {
    let bytes = [UInt8](data)
    guard bytes.contains(UInt8(ascii: "N")) || bytes.contains(UInt8(ascii: "I")) else { return data }
    let words = ["-Infinity", "Infinity", "NaN"].map { Array($0.utf8) }
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count + 16)
    var index = 0, inString = false
    while index < bytes.count {
      let byte = bytes[index]
      if inString {
        result.append(byte)
        if byte == UInt8(ascii: "\\"), index + 1 < bytes.count {
          index += 1
          result.append(bytes[index])
        } else if byte == UInt8(ascii: "\"") {
          inString = false
        }
      } else if let word = words.first(where: { bytes[index...].starts(with: $0) }) {
        result.append(UInt8(ascii: "\""))
        result += word
        result.append(UInt8(ascii: "\""))
        index += word.count - 1
      } else {
        inString = byte == UInt8(ascii: "\"")
        result.append(byte)
      }
      index += 1
    }
    return Data(result)
  }

  private static func explain(_ error: DecodingError) -> String {
    func path(_ context: DecodingError.Context) -> String {
      context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
    }
    func at(_ context: DecodingError.Context) -> String { context.codingPath.isEmpty ? "" : " at \(path(context))" }
    switch error {
    case .keyNotFound(let key, let context): return "missing field '\(key.stringValue)'" + at(context)
    case .typeMismatch(let type, let context): return "expected \(type)" + at(context)
    case .valueNotFound(let type, let context): return "expected \(type), found null" + at(context)
    case .dataCorrupted(let context): return (context.codingPath.isEmpty ? "not valid JSON" : "bad value" + at(context))
    @unknown default: return "not valid JSON"
    }
  }
}
