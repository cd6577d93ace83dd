/// Key/value token compression as a user chooses it: in some layers each `ratio` x `ratio` area of visual tokens shares
/// one key and one value, and self-attention costs `ratio * ratio` times less there. Queries stay as they are.
/// (PixArt-Sigma, arXiv:2403.04692, section 2.3; upstream `AttentionKVCompress` in PixArt_blocks.py at 1ce521a.)
///
/// For the command line: `try KeyValueCompression(parsing: text)` reads the value of `--kv-compression`, and
/// ``description`` spells it again. `nil` for a `KeyValueCompression?` is the checkpoint's own choice, while ``off``
/// compresses nothing. `ModelGeometry.compressedLayers(of: request)` checks a request and names the layers before anything
/// is loaded. Every ``KeyValueCompressionError`` is a usage error (exit status 64).
public struct KeyValueCompression: Sendable, Hashable, CustomStringConvertible {
  /// How an area's tokens become one.
  public enum Mode: String, Sendable, Hashable, CaseIterable, Codable {
    /// No compression.
    case off = "none"
    /// Depthwise convolution and layer norm with the checkpoint's weights. Grids are rounded down: rows and columns that
    /// fill no whole area are not read.
    case conv
    /// The mean, without training. Areas at the far borders average the tokens they have.
    case average
    /// The token at the top left: every `ratio`-th row and column. Grids are rounded up.
    case uniform
    /// The same on a grid rounded down: what upstream's `ave` does, which resizes without smoothing.
    case nearest
  }

  public var mode: Mode
  /// Rows and columns of tokens that share a key. `nil` is 2; for `conv`, what the checkpoint was trained with.
  public var ratio: Int?
  /// Layers that compress. `nil` is the deeper half; for `conv`, those that the checkpoint was trained with.
  public var layers: ClosedRange<Int>?

  public init(_ mode: Mode, ratio: Int? = nil, layers: ClosedRange<Int>? = nil) {
    (self.mode, self.ratio, self.layers) = (mode, ratio, layers)
  }

  /// Compresses nothing, whatever the checkpoint says.
  public static let off = KeyValueCompression(.off)
  /// Ratios that there are.
  public static let ratios = 2...8
  static let defaultRatio = 2

  /// Reads `none`, `conv`, or a mode with options: `average:ratio=2,layers=4-7`. One layer may stand alone: `layers=5`.
  public init(parsing text: String) throws {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard let mode = Mode(rawValue: parts[0]) else { throw KeyValueCompressionError.unknownMode(parts[0]) }
    self.init(mode)
    guard parts.count == 2 else { return }
    guard mode != .off else { throw KeyValueCompressionError.unknownOption(mode, parts[1]) }
    for pair in parts[1].split(separator: ",", omittingEmptySubsequences: false).map(String.init) {
      let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      let name = sides[0], value = sides.count == 2 ? sides[1] : ""
      func invalid(_ expected: String) -> KeyValueCompressionError {
        .badOption(mode, option: name, found: value, expected: expected)
      }
      switch name {
      case "ratio":
        guard ratio == nil else { throw invalid("it once") }
        guard let number = Int(value), Self.ratios.contains(number) else {
          throw invalid("a whole number from \(Self.ratios.lowerBound) to \(Self.ratios.upperBound)")
        }
        ratio = number
      case "layers":
        guard layers == nil else { throw invalid("it once") }
        let ends = value.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1], 0 <= first,
          first <= last
        else { throw invalid("layers counted from 0, such as 4-7") }
        layers = first...last
      default: throw KeyValueCompressionError.unknownOption(mode, name)
      }
    }
  }

  /// The spelling that ``init(parsing:)`` reads.
  public var description: String {
    let options = [ratio.map { "ratio=\($0)" }, layers.map { "layers=\($0.lowerBound)-\($0.upperBound)" }]
    let list = options.compactMap { $0 }.joined(separator: ",")
    return mode.rawValue + (list.isEmpty ? "" : ":" + list)
  }
}

/// What can be wrong with a choice of key/value compression, in one line: always the request, never the model's files.
public enum KeyValueCompressionError: Error, Hashable, Sendable, CustomStringConvertible {
  case unknownMode(String)
  case unknownOption(KeyValueCompression.Mode, String)
  case badOption(KeyValueCompression.Mode, option: String, found: String, expected: String)
  /// The model has fewer layers.
  case layersOutside(ClosedRange<Int>, layerCount: Int)
  /// `conv` asks for weights that the checkpoint does not say it has.
  case untrained(reason: String)
  /// There is no whole area in the grid.
  case gridTooSmall(height: Int, width: Int, mode: KeyValueCompression.Mode, ratio: Int)
  /// The model's class has no such compression.
  case unsupportedModel

  public var description: String {
    switch self {
    case .unknownMode(let name):
      "unknown key/value compression '\(Self.shown(name))'; known: "
        + KeyValueCompression.Mode.allCases.map(\.rawValue).joined(separator: ", ")
    case .unknownOption(let mode, let name):
      "key/value compression '\(mode.rawValue)' has no option '\(Self.shown(name))'; known: "
        + (mode == .off ? "no options" : "ratio, layers")
    case .badOption(let mode, let option, let found, let expected):
      "key/value compression \(mode.rawValue):\(option): expected \(expected), found '\(Self.shown(found))'"
    case .layersOutside(let layers, let count):
      "key/value compression: layers \(layers.lowerBound)-\(layers.upperBound): this model has layers 0-\(count - 1)"
    case .untrained(let reason): "key/value compression 'conv': \(reason)"
    case .gridTooSmall(let height, let width, let mode, let ratio):
      "key/value compression \(mode.rawValue):ratio=\(ratio): a grid of \(height)x\(width) tokens has no whole area of "
        + "\(ratio)x\(ratio)"
    case .unsupportedModel: "key/value compression: this pipeline's transformer has none"
    }
  }

  /// A user's text, short enough for one line.
  private static func shown(_ text: String) -> String { text.count > 80 ? text.prefix(80) + "..." : text }
}
