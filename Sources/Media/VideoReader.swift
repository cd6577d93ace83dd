/// What a video file says of itself, in FFmpeg's words.
public struct VideoInfo: Sendable, Hashable {
  /// Such as `mov,mp4,m4a,3gp,3g2,mj2`.
  public let container: String
  /// Such as `h264`.
  public let codec: String
  /// Such as `yuv420p`.
  public let pixelFormat: String
  /// How colours are to be shown, such as `bt709`; `unknown` where the file does not say.
  public let primaries: String, transfer: String, matrix: String
  /// `tv` for the limited range, `pc` for the full one.
  public let range: String
  public let width: Int
  public let height: Int
  public let frameRate: FrameRate
  /// By lower-case key; Matroska keeps keys in capitals.
  public let text: [String: String]
}

/// Reads MP4, Matroska, WebM and GIF files frame by frame. Not to be used from two threads at a time.
///
/// No other kind of file is opened, nor anything that a file refers to. Damage is an error, not a guess.
public final class VideoReader {
  public let info: VideoInfo
  private let decoder: VideoDecoder

  public init(_ path: String) throws {
    decoder = try VideoDecoder(path: path, textOnly: false, limits: VideoFile.limits)
    info = decoder.info
  }

  /// The next frame, or `nil` behind the last.
  public func next() throws -> Frame? { try decoder.next() }
}

/// Whole video files.
public enum VideoFile {
  /// Frames above this are refused, in pixels.
  public static let maxPixels = 1 << 28
  /// Text above this is refused, in bytes of one file.
  public static let maxTextBytes = 8 << 20

  static let limits = VideoDoor.Limits(pixels: maxPixels, textBytes: maxTextBytes)

  /// The text kept in a file, by lower-case key. Frames are not looked at.
  public static func metadata(_ path: String) throws -> [String: String] {
    try VideoDecoder(path: path, textOnly: true, limits: limits).info.text
  }
}
