import Checkpoints
import Foundation
import TolerantJSON

/// The pipeline classes this project runs, spelled as in `model_index.json`.
public enum PipelineKind: String, Sendable, Hashable, CaseIterable, Codable {
  case pixArtSigma = "PixArtSigmaPipeline"
  case pixArtAlpha = "PixArtAlphaPipeline"
  case diT = "DiTPipeline"
  case wan = "WanPipeline"

  /// Whether a result is asked for by a class label and not by a prompt.
  public var takesClassLabel: Bool { self == .diT }
  /// Whether results are clips.
  public var isVideo: Bool { self == .wan }

  /// The component classes each folder of the pipeline may hold; an empty list leaves the check to the loader.
  var componentClasses: [String: [String]] {
    let autoencoders = ["AutoencoderKL", "AutoencoderTiny"]
    switch self {
    case .pixArtSigma, .pixArtAlpha:
      return [
        "text_encoder": ["T5EncoderModel"], "tokenizer": ["T5Tokenizer", "T5TokenizerFast"],
        "transformer": ["PixArtTransformer2DModel", "Transformer2DModel"], "vae": autoencoders, "scheduler": [],
      ]
    case .diT:
      return [
        "transformer": ["DiTTransformer2DModel", "Transformer2DModel"], "vae": autoencoders, "scheduler": [],
      ]
    case .wan:
      return [
        "text_encoder": ["UMT5EncoderModel", "T5EncoderModel"], "tokenizer": ["T5Tokenizer", "T5TokenizerFast"],
        "transformer": ["WanTransformer3DModel"], "vae": ["AutoencoderKLWan"], "scheduler": [],
      ]
    }
  }
}

/// A model folder in the diffusers layout: what `model_index.json` says, and where each component's files are.
///
/// Opening one reads JSON only; weights are found, not read. Names inside the folder's files come from strangers, so
/// none of them may lead out of the folder.
public struct PipelineFolder: Sendable {
  /// Library and class of a component, as `model_index.json` names them.
  public struct Component: Sendable, Hashable {
    public let library, className: String
  }

  /// The path as it was given.
  public let path: String
  public let kind: PipelineKind
  /// Components present, by name. Those the index gives as `[null, null]` are absent.
  public let components: [String: Component]
  /// Class names by label id; empty for pipelines without labels. A name may list variants, separated by commas.
  public let labels: [Int: String]
  /// The index's other values, such as `requires_safety_checker`.
  public let extras: [String: JSONValue]
  /// What the folder uses where a request says nothing: its own `tessera.json` over its class's values.
  public let defaults: PipelineDefaults

  /// The folder's last path component: the model's name in metadata.
  public var name: String { url.standardizedFileURL.lastPathComponent }
  public var url: URL { URL(fileURLWithPath: path, isDirectory: true) }

  private static let configLimit = 8 << 20

  /// Opens the folder at `path`, and checks that every component its class needs is there.
  public init(path: String) throws {
    self.path = path
    let url = URL(fileURLWithPath: path, isDirectory: true)
    guard FileManager.default.fileExists(atPath: path) else {
      throw PipelineError.missing(what: "pipeline folder", path: path)
    }
    guard isFolder(path) else {
      throw PipelineError.badData(path: path, reason: "expected a folder in diffusers layout, found a file")
    }
    let file = url.appendingPathComponent("model_index.json").path
    guard FileManager.default.fileExists(atPath: file) else {
      throw PipelineError.missing(what: "model_index.json", path: file)
    }
    let index = try Self.rawJSON(URL(fileURLWithPath: file))
    guard case .string(let className)? = index["_class_name"] else {
      throw PipelineError.badData(path: file, reason: "expected a class name at _class_name, found none")
    }
    guard let kind = PipelineKind(rawValue: className) else {
      throw PipelineError.unsupported(
        path: file, what: "pipeline class '\(printable(className))'", known: PipelineKind.allCases.map(\.rawValue))
    }
    self.kind = kind
    (components, extras) = try Self.entries(of: index, path: file)
    labels = try Self.labels(of: index["id2label"], path: file)
    defaults = try PipelineDefaults.of(kind).overridden(by: .read(from: url.appendingPathComponent("tessera.json")))
    try checkComponents(index: file)
  }

  private static func rawJSON(_ file: URL) throws -> [String: JSONValue] {
    try TolerantJSON.decode(
      [String: JSONValue].self, from: TolerantJSON.read(file, limit: configLimit), path: file.path,
      convertKeys: false)
  }

  private static func entries(
    of index: [String: JSONValue], path: String
  ) throws -> (components: [String: Component], extras: [String: JSONValue]) {
    var components: [String: Component] = [:], extras: [String: JSONValue] = [:]
    for (key, value) in index where !key.hasPrefix("_") && key != "id2label" {
      guard case .array(let pair) = value else {
        extras[key] = value
        continue
      }
      guard isPlainName(key) else {
        throw PipelineError.badData(path: path, reason: "component name '\(printable(key))' is not a plain folder name")
      }
      switch (pair.count, pair.first, pair.last) {
      case (2, .string(let library)?, .string(let name)?):
        components[key] = Component(library: library, className: name)
      case (2, .null?, .null?): break
      default: throw PipelineError.badData(path: path, reason: "expected [library, class] at \(printable(key))")
      }
    }
    return (components, extras)
  }

  private static func labels(of value: JSONValue?, path: String) throws -> [Int: String] {
    guard let value, value != .null else { return [:] }
    guard case .object(let entries) = value else {
      throw PipelineError.badData(path: path, reason: "expected an object at id2label")
    }
    var labels: [Int: String] = [:]
    for (key, value) in entries {
      guard let id = Int(key), id >= 0, case .string(let name) = value else {
        throw PipelineError.badData(path: path, reason: "expected \"id\": \"name\" at id2label.\(printable(key))")
      }
      labels[id] = name
    }
    return labels
  }

  private func checkComponents(index: String) throws {
    for (component, classes) in kind.componentClasses.sorted(by: { $0.key < $1.key }) {
      guard let found = components[component] else {
        throw PipelineError.badData(
          path: index, reason: "\(kind.rawValue) needs a component '\(component)', found none")
      }
      guard classes.isEmpty || classes.contains(found.className) else {
        throw PipelineError.unsupported(
          path: index, what: "\(component) class '\(printable(found.className))'", known: classes)
      }
      _ = try folder(of: component)
    }
  }

  /// The folder of a component.
  public func folder(of component: String) throws -> URL {
    guard components[component] != nil else {
      throw PipelineError.missing(what: "component '\(printable(component))'", path: path)
    }
    let folder = url.appendingPathComponent(component, isDirectory: true)
    guard isFolder(folder.path) else {
      throw PipelineError.missing(what: "folder of component '\(component)'", path: folder.path)
    }
    return folder
  }

  /// The configuration file of a component: `scheduler_config.json`, `tokenizer_config.json` or `config.json`.
  public func configFile(of component: String) throws -> URL {
    let name: String
    if component.hasPrefix("scheduler") {
      name = "scheduler_config.json"
    } else if component.hasPrefix("tokenizer") {
      name = "tokenizer_config.json"
    } else {
      name = "config.json"
    }
    return try folder(of: component).appendingPathComponent(name)
  }

  /// A component's configuration. Keys in snake case match properties in camel case.
  public func config<T: Decodable>(_ type: T.Type = T.self, of component: String) throws -> T {
    try TolerantJSON.decode(type, from: configFile(of: component), limit: Self.configLimit)
  }

  /// A component's configuration with its keys as they are, for run records.
  public func rawConfig(of component: String) throws -> [String: JSONValue] {
    try Self.rawJSON(configFile(of: component))
  }

  /// A component's safetensors files, in order of name: one file, or the shards that its index names.
  public func weightFiles(of component: String) throws -> [URL] {
    try WeightFiles(folder: folder(of: component)).files
  }
}

/// Whether `path` is a folder, or a link to one.
package func isFolder(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path + "/.") }

/// Whether `name`, read from a file, names something directly inside a folder.
func isPlainName(_ name: String) -> Bool {
  !name.isEmpty && name.utf8.count <= 255 && name != "." && name != ".."
    && name.unicodeScalars.allSatisfy { $0 != "/" && $0 != "\\" && $0.value >= 0x20 && $0.value != 0x7f }
}
