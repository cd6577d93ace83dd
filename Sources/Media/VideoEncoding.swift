/// What FFmpeg is asked for: its names of things, and options as `name=value`.
struct VideoEncoding: Sendable, Hashable {
  let container: String
  var containerOptions: [String] = []
  let encoder: String
  var encoderOptions: [String] = []
  /// What the encoder is fed.
  let pixelFormat: String
}

extension VideoFormat {
  /// With the codec's defaults.
  var encoding: VideoEncoding { encoding(crf: defaultCRF, preset: .medium) }

  /// Refuses dials that the codec does not have.
  func encoding(_ settings: VideoSettings) throws -> VideoEncoding {
    if let crf = settings.crf {
      guard let range = crfRange else {
        throw MediaError.badFormat(reason: "crf \(crf): \(codec.rawValue) has no rate factor")
      }
      guard range.contains(crf) else {
        throw MediaError.badFormat(reason: "crf: expected \(range) for \(codec.rawValue), found \(crf)")
      }
    }
    if let preset = settings.preset, crfRange == nil {
      throw MediaError.badFormat(reason: "preset \(preset.rawValue): \(codec.rawValue) has no presets")
    }
    // Browsers slow down what is faster, and delays are kept in hundredths of a second.
    if container == .gif, settings.frameRate.framesPerSecond > 50 {
      throw MediaError.badFormat(reason: "frame rate: expected at most 50 for .gif, found \(settings.frameRate)")
    }
    return encoding(crf: settings.crf ?? defaultCRF, preset: settings.preset ?? .medium)
  }

  private func encoding(crf: Int?, preset: VideoPreset) -> VideoEncoding {
    var encoding = codecEncoding(crf: crf ?? 0, preset: preset)
    switch container {
    case .mp4: encoding.containerOptions = ["movflags=+faststart+use_metadata_tags"]
    case .gif, .webp: encoding.containerOptions = ["loop=0"]
    case .webm, .mkv: break
    }
    return encoding
  }

  private func codecEncoding(crf: Int, preset: VideoPreset) -> VideoEncoding {
    func encoding(_ encoder: String, _ options: [String], pixels: String = "yuv420p") -> VideoEncoding {
      let name = container == .mkv ? "matroska" : container.rawValue
      return VideoEncoding(container: name, encoder: encoder, encoderOptions: options, pixelFormat: pixels)
    }
    switch codec {
    case .h264: return encoding("libx264", ["crf=\(crf)", "preset=\(preset.rawValue)"])
    case .h265:
      // It writes to standard error by itself, and takes all threads, with other bytes for other counts.
      let parameters = "x265-params=log-level=none:pools=none:frame-threads=1"
      return encoding("libx265", ["crf=\(crf)", "preset=\(preset.rawValue)", parameters])
    case .vp9:
      return encoding("libvpx-vp9", ["crf=\(crf)", "b=0", "deadline=good", "cpu-used=\(preset.vp9Speed)", "row-mt=0"])
    case .av1: return encoding("libaom-av1", ["crf=\(crf)", "b=0", "cpu-used=\(preset.av1Speed)", "row-mt=0"])
    case .ffv1: return encoding("ffv1", ["level=3", "g=1", "slicecrc=1", "coder=range_def"], pixels: "bgr0")
    case .gif: return encoding("gif", [], pixels: "pal8")
    case .webp: return encoding("libwebp_anim", ["lossless=0", "quality=90"], pixels: "bgra")
    }
  }
}

extension VideoPreset {
  /// `cpu-used` of libvpx, whose good-quality mode knows 0 to 5.
  fileprivate var vp9Speed: Int {
    switch self {
    case .ultrafast, .superfast, .veryfast: 5
    case .faster: 4
    case .fast: 3
    case .medium: 2
    case .slow: 1
    case .slower, .veryslow: 0
    }
  }

  /// `cpu-used` of libaom, whose good-quality mode knows 0 to 6. The fastest takes about as long as x264's slowest, so
  /// that is what most get.
  fileprivate var av1Speed: Int {
    switch self {
    case .ultrafast, .superfast, .veryfast, .faster, .fast, .medium: 6
    case .slow: 5
    case .slower: 4
    case .veryslow: 3
    }
  }
}
