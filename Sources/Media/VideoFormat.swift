import Foundation

/// A container and the codec of the video in it.
public struct VideoFormat: Sendable, Hashable, CustomStringConvertible {
  /// Kinds of files; raw values are extensions.
  public enum Container: String, Sendable, CaseIterable {
    case mp4, webm, mkv, gif, webp

    /// What it can hold, the usual one first.
    public var codecs: [Codec] {
      switch self {
      case .mp4: [.h264, .h265, .av1]
      case .webm: [.vp9, .av1]
      case .mkv: [.ffv1, .h264, .h265, .av1, .vp9]
      case .gif: [.gif]
      case .webp: [.webp]
      }
    }
  }

  /// Codecs; raw values are the names users give.
  public enum Codec: String, Sendable, CaseIterable {
    case h264, h265, av1, vp9, ffv1, gif, webp
  }

  public let container: Container
  public let codec: Codec

  /// Extensions of all containers, without dots, the usual one first.
  public static let extensions = Container.allCases.map(\.rawValue)

  /// - Parameters:
  ///   - path: its extension chooses the container.
  ///   - codec: a codec's name; `nil` for the container's usual one.
  public init(path: String, codec: String? = nil) throws {
    let ending = (path as NSString).pathExtension
    guard let container = Container(rawValue: ending.lowercased()) else {
      let found = ending.isEmpty ? "none" : "'.\(ending)'"
      throw MediaError.badFormat(
        reason: "video '\(path)': expected the extension \(Self.list(Self.extensions.map { "." + $0 })), found \(found)"
      )
    }
    try self.init(container, codec: codec)
  }

  /// - Parameter codec: a codec's name; `nil` for the container's usual one.
  public init(_ container: Container, codec name: String? = nil) throws {
    let names = container.codecs.map(\.rawValue)
    guard let codec = Codec(rawValue: name ?? names[0]), container.codecs.contains(codec) else {
      throw MediaError.badFormat(
        reason: "codec: expected \(Self.list(names)) for .\(container.rawValue), found '\(name ?? "")'")
    }
    self.container = container
    self.codec = codec
  }

  private static func list(_ names: [String]) -> String { names.joined(separator: ", ") }

  /// Such as `h264 in .mp4`.
  public var description: String { "\(codec.rawValue) in .\(container.rawValue)" }

  /// Whether frames come back bit for bit.
  public var isLossless: Bool { codec == .ffv1 }

  /// Whether files have room for text (`VideoSettings.text`).
  public var holdsText: Bool { container != .gif && container != .webp }

  /// Accepted widths and heights, in pixels.
  ///
  /// Below, encoders fail or worse: FFV1 loses pixels where slices are one wide, and x265 (3.5) writes past its buffers
  /// where frames are less than four coding units of 16 wide.
  public var extents: ClosedRange<Int> { (codec == .h265 ? 64 : 16)...16_383 }

  /// Accepted `VideoSettings.crf`, best first; `nil` where the codec has no such dial.
  public var crfRange: ClosedRange<Int>? {
    switch codec {
    case .h264, .h265: 0...51
    case .vp9, .av1: 0...63
    case .ffv1, .gif, .webp: nil
    }
  }

  /// Used when `VideoSettings.crf` is `nil`. All look alike: what x264 gives at 18, hard to tell from the frames.
  public var defaultCRF: Int? {
    switch codec {
    case .h264: 18
    case .h265: 20
    case .vp9, .av1: 24
    case .ffv1, .gif, .webp: nil
    }
  }

  /// Throws `MediaError.unavailable` unless the FFmpeg at hand has the encoder and the container.
  public func checkAvailable() throws { try VideoDoor.check(encoding) }

  /// Throws what `VideoWriter` would for such a video, leaving nothing behind: for the time before hours of work.
  public static func check(path: String, codec: String? = nil, width: Int, height: Int, settings: VideoSettings) throws
    -> VideoFormat
  {
    let format = try VideoFormat(path: path, codec: codec)
    try VideoWriter.prove(URL(fileURLWithPath: path), format: format, width: width, height: height, settings: settings)
    return format
  }
}

/// How a video is encoded, and what is written into its file.
public struct VideoSettings: Sendable, Hashable {
  /// Frames a second.
  public var frameRate: FrameRate
  /// Constant rate factor: lower is better and larger. `nil` for the format's default.
  public var crf: Int?
  /// Encoding effort; `nil` for `medium`.
  public var preset: VideoPreset?
  /// Text kept in the file, by lower-case key.
  public var text: [String: String]

  public init(frameRate: FrameRate, crf: Int? = nil, preset: VideoPreset? = nil, text: [String: String] = [:]) {
    self.frameRate = frameRate
    self.crf = crf
    self.preset = preset
    self.text = text
  }
}

/// Effort, by the names x264 gave it; slower makes smaller files of the same look.
public enum VideoPreset: String, Sendable, CaseIterable {
  case ultrafast, superfast, veryfast, faster, fast, medium, slow, slower, veryslow

  /// - Parameter name: one of the cases.
  public init(name: String) throws {
    guard let preset = Self(rawValue: name) else {
      let known = Self.allCases.map(\.rawValue).joined(separator: ", ")
      throw MediaError.badFormat(reason: "preset: expected \(known), found '\(name)'")
    }
    self = preset
  }
}
