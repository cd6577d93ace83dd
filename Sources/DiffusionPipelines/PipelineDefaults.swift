import Foundation
import TolerantJSON

/// What a pipeline uses where a request says nothing. `nil` leaves the value to the model's configuration.
public struct PipelineDefaults: Sendable, Hashable, Codable {
  public var steps: Int?
  public var guidanceScale: Double?
  /// Width and height in pixels, as `128x128`.
  public var size: String?
  public var maxSequenceLength: Int?
  public var resolutionBinning: ResolutionBinning?
  public var cleanCaption: Bool?
  public var negativePrompt: String?
  /// Of clips.
  public var numFrames: Int?
  public var fps: Double?

  public init() {}

  /// The values diffusers gives the class.
  public static func of(_ kind: PipelineKind) -> PipelineDefaults {
    var defaults = PipelineDefaults()
    switch kind {
    case .pixArtSigma, .pixArtAlpha:
      defaults.steps = 20
      defaults.guidanceScale = 4.5
      defaults.maxSequenceLength = kind == .pixArtSigma ? 300 : 120
      defaults.resolutionBinning = .auto
      defaults.cleanCaption = true
      defaults.negativePrompt = ""
    case .diT:
      defaults.steps = 50
      defaults.guidanceScale = 4
      defaults.resolutionBinning = .off
    case .wan:
      defaults.steps = 50
      defaults.guidanceScale = 5
      defaults.size = "832x480"
      defaults.numFrames = 81
      defaults.fps = 16
      defaults.maxSequenceLength = 512
      defaults.resolutionBinning = .off
      defaults.negativePrompt = ""
    }
    return defaults
  }

  /// These values where `own` has none.
  func overridden(by own: PipelineDefaults) -> PipelineDefaults {
    var result = self
    result.steps = own.steps ?? steps
    result.guidanceScale = own.guidanceScale ?? guidanceScale
    result.size = own.size ?? size
    result.maxSequenceLength = own.maxSequenceLength ?? maxSequenceLength
    result.resolutionBinning = own.resolutionBinning ?? resolutionBinning
    result.cleanCaption = own.cleanCaption ?? cleanCaption
    result.negativePrompt = own.negativePrompt ?? negativePrompt
    result.numFrames = own.numFrames ?? numFrames
    result.fps = own.fps ?? fps
    return result
  }

  private struct Keys: Decodable { let defaults: [String: JSONValue]? }
  private struct Values: Decodable { let defaults: PipelineDefaults? }
  private static let known = [
    "steps", "guidance_scale", "size", "max_sequence_length", "resolution_binning", "clean_caption", "negative_prompt",
    "num_frames", "fps",
  ]

  /// Reads `tessera.json`; no file means no defaults of its own.
  static func read(from file: URL) throws -> PipelineDefaults {
    guard FileManager.default.fileExists(atPath: file.path) else { return PipelineDefaults() }
    let data = try TolerantJSON.read(file, limit: 1 << 20)
    let keys = try TolerantJSON.decode(Keys.self, from: data, path: file.path, convertKeys: false).defaults ?? [:]
    if let unknown = keys.keys.sorted().first(where: { !known.contains($0) }) {
      throw PipelineError.badData(
        path: file.path,
        reason: "unknown key 'defaults.\(printable(unknown))'; known: " + known.joined(separator: ", "))
    }
    return try TolerantJSON.decode(Values.self, from: data, path: file.path).defaults ?? PipelineDefaults()
  }
}
