import Foundation
import Tensors
import TolerantJSON

/// One safetensors file, memory-mapped. The header comes from a stranger: every size in it is checked against the file
/// before anything is made of it.
///
/// Format: 8 bytes little-endian header length, a JSON object of that length mapping names to type, shape and byte
/// range, then the bytes. (huggingface/safetensors, README "Format".)
public struct SafetensorsFile: Sendable {
  /// The largest header accepted, as in the reference implementation.
  static let headerLimit = 100_000_000

  public let path: String
  /// Tensors by name.
  public let tensors: [String: StoredTensor]
  /// The free-form strings under `__metadata__`.
  public let metadata: [String: String]

  public init(_ url: URL) throws {
    path = url.path
    let file: MappedFile
    do {
      file = try MappedFile(path: url.path)
    } catch let failure as MappedFile.Failure where !failure.isOutOfMemory {
      throw CheckpointError.missing(path: url.path, reason: failure.isMissing ? "no such file" : failure.reason)
    }
    let path = url.path
    func malformed(_ reason: String) -> CheckpointError { .malformed(path: path, reason: reason) }
    guard file.count >= 8 else { throw malformed("\(file.count) bytes are too few for a safetensors file") }
    let declared = file.bytes(0..<8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard declared <= UInt64(min(Self.headerLimit, file.count - 8)) else {
      throw malformed(
        "header of \(declared) bytes declared in a file of \(file.count) bytes: truncated or not safetensors")
    }
    let dataStart = 8 + Int(declared)
    let header: Header
    do {
      header = try TolerantJSON.decode(
        Header.self, from: Data(file.bytes(8..<dataStart)), path: path, convertKeys: false)
    } catch let failure as TolerantJSON.Failure {
      throw malformed("header: " + failure.reason)
    }
    metadata = header.metadata
    tensors = try Self.place(header.entries, in: file, from: dataStart, malformed)
  }

  private static func place(
    _ entries: [String: Header.Entry], in file: MappedFile, from dataStart: Int,
    _ malformed: (String) -> CheckpointError
  ) throws -> [String: StoredTensor] {
    var tensors: [String: StoredTensor] = [:]
    var end = 0
    let available = file.count - dataStart
    for (name, entry) in entries.sorted(by: { ($0.value.start, $0.value.end) < ($1.value.start, $1.value.end) }) {
      guard let type = ScalarType(rawValue: entry.type) else {
        throw malformed("tensor '\(name)' has unknown type '\(entry.type)'")
      }
      var size = type.size
      for extent in entry.shape {
        let (product, overflow) = size.multipliedReportingOverflow(by: extent)
        guard extent >= 0, !overflow else { throw malformed("tensor '\(name)' has impossible shape \(entry.shape)") }
        size = product
      }
      guard entry.start >= 0, entry.end >= entry.start, entry.end <= available else {
        throw malformed(
          "tensor '\(name)' lies at bytes \(entry.start)..<\(entry.end) of \(available) in the file: truncated?")
      }
      guard entry.end - entry.start == size else {
        throw malformed(
          "tensor '\(name)' of type \(type.rawValue) and shape \(entry.shape) needs \(size) bytes, "
            + "found \(entry.end - entry.start)")
      }
      guard entry.start == end else {
        throw malformed(
          "tensor '\(name)' starts at byte \(entry.start), expected \(end): tensors overlap or leave a hole")
      }
      end = entry.end
      tensors[name] = StoredTensor(
        type: type, shape: entry.shape, file: file, range: dataStart + entry.start..<dataStart + entry.end)
    }
    guard end == available else { throw malformed("\(available - end) bytes belong to no tensor") }
    return tensors
  }
}

/// The JSON header.
private struct Header: Decodable {
  struct Entry: Decodable {
    var type: String, shape: [Int], start: Int, end: Int
    enum CodingKeys: String, CodingKey { case dtype, shape, data_offsets }
    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      type = try container.decode(String.self, forKey: .dtype)
      shape = try container.decode([Int].self, forKey: .shape)
      let offsets = try container.decode([Int].self, forKey: .data_offsets)
      guard offsets.count == 2 else {
        throw DecodingError.dataCorruptedError(
          forKey: .data_offsets, in: container, debugDescription: "expected two offsets")
      }
      (start, end) = (offsets[0], offsets[1])
    }
  }
  struct Name: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
  var entries: [String: Entry] = [:]
  var metadata: [String: String] = [:]

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Name.self)
    for key in container.allKeys {
      if key.stringValue == "__metadata__" {
        metadata = try container.decode([String: String].self, forKey: key)
      } else {
        entries[key.stringValue] = try container.decode(Entry.self, forKey: key)
      }
    }
  }
}
