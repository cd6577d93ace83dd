import ArgumentParser
import DiffusionPipelines
import Tensors

/// A seed as it is asked for: a 64-bit number, or `-1` to draw one.
public enum SeedChoice: Sendable, Hashable, Codable, ExpressibleByArgument {
  case drawn
  case fixed(UInt64)

  public init?(argument: String) {
    if argument == "-1" {
      self = .drawn
    } else if let value = UInt64(argument) {
      self = .fixed(value)
    } else {
      return nil
    }
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let value = try? container.decode(UInt64.self) {
      self = .fixed(value)
      return
    }
    let text = (try? container.decode(Int64.self)).map(String.init) ?? (try? container.decode(String.self)) ?? ""
    guard let choice = SeedChoice(argument: text) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected a 64-bit seed or -1")
    }
    self = choice
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .drawn: try container.encode(-1)
    case .fixed(let value): try container.encode(value)
    }
  }

  /// The seed of the result at `index` of a batch that starts at `first`; counts on through the 64-bit range's end.
  static func seed(_ first: UInt64, at index: Int) -> UInt64 { first &+ UInt64(index) }
}

/// The arithmetic asked for.
public enum DtypeChoice: String, Sendable, Hashable, CaseIterable, Codable, ExpressibleByArgument {
  /// bfloat16 where the processor multiplies it in hardware, float32 elsewhere.
  case auto
  case float32, bfloat16, int8
}

/// Text that JSON may also give as a number: class labels, memory sizes.
public struct LooseText: Sendable, Hashable, Codable, ExpressibleByArgument {
  public var text: String

  public init(_ text: String) { self.text = text }
  public init?(argument: String) { text = argument }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    text = try (try? container.decode(Int64.self)).map(String.init) ?? container.decode(String.self)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }
}

/// A size in pixels, written `832x480`: width, then height.
struct PixelSize: Sendable, Hashable {
  var width, height: Int

  init?(_ text: String) {
    let parts = text.lowercased().split(separator: "x", omittingEmptySubsequences: false)
    guard parts.count == 2, let width = Int(parts[0]), let height = Int(parts[1]), width > 0, height > 0 else {
      return nil
    }
    self.width = width
    self.height = height
  }
}

/// An amount of memory: a number of bytes, or with a unit (`6G`, `512M`, `1.5GiB`, `800 kB`). All units are powers of
/// 1024, as memory is counted.
public func parseMemorySize(_ text: String) throws -> Int {
  let trimmed = text.filter { $0 != " " && $0 != "_" }.lowercased()
  let number = trimmed.prefix { $0.isNumber || $0 == "." }
  let units: [String: Double] = [
    "": 0, "b": 0, "k": 1, "kb": 1, "kib": 1, "m": 2, "mb": 2, "mib": 2, "g": 3, "gb": 3, "gib": 3, "t": 4, "tb": 4,
    "tib": 4,
  ]
  let unit = units[String(trimmed.dropFirst(number.count))]
  guard let unit, let value = Double(number), value > 0 else {
    throw CommandError.usage("memory limit '\(printable(text))': expected an amount such as 6G, 512M or 1.5GiB")
  }
  let bytes = (0..<Int(unit)).reduce(value) { product, _ in product * 1024 }
  guard bytes >= 1, bytes < 9e18 else {
    throw CommandError.usage("memory limit '\(printable(text))': expected between 1 byte and 8 EiB")
  }
  return Int(bytes)
}

/// `bytes` in the largest binary unit that keeps it above one.
func formatBytes(_ bytes: Int) -> String {
  var value = Double(bytes), unit = 0
  let units = ["B", "KiB", "MiB", "GiB", "TiB"]
  while value >= 1024, unit < units.count - 1 {
    value /= 1024
    unit += 1
  }
  return unit == 0 ? "\(bytes) B" : "\(fixed(value, value < 10 ? 2 : 1)) \(units[unit])"
}

/// `value` with a fixed number of decimals.
func fixed(_ value: Double, _ decimals: Int) -> String {
  guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
  let scale = (0..<decimals).reduce(1) { product, _ in product * 10 }
  let scaled = Int64((abs(value) * Double(scale)).rounded())
  let sign = value < 0 && scaled > 0 ? "-" : ""
  guard decimals > 0 else { return "\(sign)\(scaled)" }
  let fraction = String(scaled % Int64(scale))
  return "\(sign)\(scaled / Int64(scale))." + String(repeating: "0", count: decimals - fraction.count) + fraction
}

extension ResolutionBinning: ExpressibleByArgument {}
extension NoiseGenerator: ExpressibleByArgument {}
extension AutoencoderTiling: ExpressibleByArgument {}
