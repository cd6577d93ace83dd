import DiffusionPipelines
import Foundation
import Media

/// How a clip is kept: one file, or a PNG file a frame.
enum ClipOutput: Sendable, Hashable {
  case file(VideoFormat, VideoSettings)
  case frames(FrameSequence)
}

/// Where clips go, as `--output` says: a video file by its extension, or for a folder or a `%04d.png` pattern a PNG
/// file a frame. Names are decided before anything is made.
struct ClipPath {
  private enum Form {
    case file(OutputPath)
    /// Without the slash at its end.
    case folder(String)
    case pattern(String)
  }
  private let form: Form

  /// - Parameter text: `nil` for a file in the folder `outputs`.
  init(_ text: String?) throws {
    let path = try OutputPath(text, kind: "video", extensions: VideoFormat.extensions + ["png"])
    guard let text else {
      form = .file(path)
      return
    }
    if path.givesFolder {
      form = .folder(text.count > 1 && text.hasSuffix("/") ? String(text.dropLast()) : text)
    } else if text.lowercased().hasSuffix(".png") {
      _ = try FrameSequence(pattern: text)
      form = .pattern(text)
    } else {
      form = .file(path)
    }
  }

  /// Whether several results under this path get names that differ from the one given.
  var changesWithSeveral: Bool {
    if case .file(let path) = form { return path.isPlainFile }
    return true
  }

  /// The path of one clip: its file, its folder with a slash at the end, or its pattern.
  /// - Parameters:
  ///   - index: the result's place in the run, from 0.
  ///   - isOnly: whether the run makes no other result.
  ///   - claim: makes a path unlike all others.
  func path(index: Int, seed: UInt64, isOnly: Bool, claim: (String) -> String) -> String {
    switch form {
    case .file(let path): claim(path.path(index: index, seed: seed, isOnly: isOnly))
    case .folder(let folder): claim(isOnly ? folder : folder + "/video-\(seed)") + "/"
    case .pattern(let pattern): claim(isOnly ? pattern : OutputPath.inserting("-\(seed)", into: pattern))
    }
  }

  /// How the clip at `path`, one of this value's own, is kept. Throws for flags that its format does not have.
  func output(at path: String, _ flags: FlagValues, framesPerSecond: Double) throws -> ClipOutput {
    let rate = try FrameRate(framesPerSecond)
    switch form {
    case .file:
      let settings = VideoSettings(
        frameRate: rate, crf: flags.crf, preset: try flags.preset.map { try VideoPreset(name: $0) })
      return .file(try VideoFormat(path: path, codec: flags.codec), settings)
    case .folder, .pattern:
      guard flags.codec == nil, flags.crf == nil, flags.preset == nil else {
        throw CommandError.usage("--codec, --crf and --preset are for video files; '\(path)' is for frames as PNG")
      }
      return .frames(
        try path.hasSuffix("/")
          ? FrameSequence(folder: URL(fileURLWithPath: path)) : FrameSequence(pattern: path))
    }
  }
}
