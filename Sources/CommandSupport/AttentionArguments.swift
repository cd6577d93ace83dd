import ArgumentParser
import DiffusionPipelines
import Foundation
import TolerantJSON

/// Flags that say what self-attention reads.
public struct AttentionArguments: ParsableArguments {
  @Option(
    name: [.long, .customLong("attention-backend")],
    help: ArgumentHelp(
      "Attention method with options, or @file.json. Known: \(AttentionChoice.knownMethods.joined(separator: ", ")).",
      valueName: "method"))
  public var attention: String?

  @Option(help: ArgumentHelp("First steps kept dense, whatever the method.", valueName: "count"))
  public var denseSteps: Int?

  @Option(help: ArgumentHelp("First layers kept dense, whatever the method.", valueName: "count"))
  public var denseLayers: Int?

  @Option(help: ArgumentHelp("Compression of keys and values. Known: none. (default: none)", valueName: "method"))
  public var kvCompression: String?

  @Option(help: ArgumentHelp("Write kept blocks and density by layer as JSON.", valueName: "file"))
  public var attentionReport: String?

  public init() {}
}

extension AttentionChoice {
  private struct File: Decodable {
    var method: String
    var options: [String: JSONValue]?
    var denseSteps, denseLayers: Int?
  }

  /// Reads `name`, `name:key=value,...` or `@file.json`.
  init(parsing text: String) throws {
    if text.hasPrefix("@") {
      let url = URL(fileURLWithPath: String(text.dropFirst()))
      let file = try TolerantJSON.decode(File.self, from: url, limit: 1 << 20)
      self.init(
        method: file.method, options: file.options ?? [:], denseSteps: file.denseSteps, denseLayers: file.denseLayers)
    } else {
      let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      var options: [String: JSONValue] = [:]
      for pair in parts.dropFirst().first?.split(separator: ",") ?? [] {
        let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard sides.count == 2, !sides[0].isEmpty else {
          throw CommandError.usage("--attention: expected key=value, found '\(printable(String(pair)))'")
        }
        options[String(sides[0])] = .string(String(sides[1]))
      }
      self.init(method: String(parts[0]), options: options)
    }
    guard Self.knownMethods.contains(method) else {
      throw CommandError.usage(
        "unknown attention method '\(printable(method))'; known: " + Self.knownMethods.joined(separator: ", "))
    }
    if let option = options.keys.sorted().first {
      throw CommandError.usage("attention method '\(method)' has no option '\(printable(option))'")
    }
  }
}
