import Foundation

/// Encodes frames into a video file as they come. Not to be used from two threads at a time.
///
/// The file grows under a hidden name beside its own and takes its own in `finish`; until then, what was there stays.
/// After an error, `abort` or the writer's end, no trace is left. The same frames and settings give the same bytes.
public final class VideoWriter {
  public let url: URL
  public let format: VideoFormat
  /// Of the frames to come, in pixels.
  public let width: Int
  public let height: Int
  /// Of the frames in the file, in pixels: one more where the codec wants even sizes. The last column or row is
  /// repeated there.
  public let codedWidth: Int
  public let codedHeight: Int
  public private(set) var frameCount = 0

  /// `nil` once finished or aborted.
  private var work: (draft: DraftFile, encoder: VideoEncoder)?
  /// Colours of frames are kept in palettes in GIF alone.
  private var quantizer: ColorQuantizer?

  /// Opens encoder and file. Missing folders are made.
  public init(to url: URL, format: VideoFormat, width: Int, height: Int, settings: VideoSettings) throws {
    guard format.extents.contains(width), format.extents.contains(height) else {
      throw MediaError.badFormat(
        reason: "video size: expected \(format.extents) each way for \(format.codec.rawValue), found \(width)x\(height)"
      )
    }
    let encoding = try format.encoding(settings)
    try Self.check(settings.text, format)
    try VideoDoor.check(encoding)
    let draft = try DraftFile(for: url)
    let encoder: VideoEncoder
    do {
      encoder = try VideoEncoder(
        path: draft.path, name: url.path, encoding: encoding, width: width, height: height, settings: settings)
    } catch {
      draft.discard()
      throw error
    }
    work = (draft, encoder)
    codedWidth = encoder.codedWidth
    codedHeight = encoder.codedHeight
    if format.codec == .gif { quantizer = ColorQuantizer() }
    self.url = url
    self.format = format
    self.width = width
    self.height = height
  }

  deinit { abort() }

  /// Throws what making a video would, leaving nothing behind: for the time before hours of work.
  /// - Returns: ``paddingNotice``.
  @discardableResult
  public static func prove(
    _ url: URL, format: VideoFormat, width: Int, height: Int, settings: VideoSettings
  ) throws -> String? {
    try AtomicFile.proveWritable(url)
    let writer = try VideoWriter(to: url, format: format, width: width, height: height, settings: settings)
    writer.abort()
    return writer.paddingNotice
  }

  /// What to tell the user of the size; `nil` when it is as asked for.
  public var paddingNotice: String? {
    guard codedWidth != width || codedHeight != height else { return nil }
    return "\(width)x\(height) padded to \(codedWidth)x\(codedHeight): \(format.codec.rawValue) wants even sizes"
  }

  /// Adds a frame of the size given at the start. An error ends the writer: nothing is left of the file.
  public func append(_ frame: Frame) throws {
    precondition(
      frame.width == width && frame.height == height,
      "frame of \(frame.width)x\(frame.height) for a video of \(width)x\(height)")
    guard let encoder = work?.encoder else { preconditionFailure("frame for a closed video \(url.path)") }
    do {
      if let picture = quantizer?.quantize(frame) {
        try encoder.write(picture)
      } else {
        try encoder.write(frame)
      }
    } catch {
      abort()
      throw error
    }
    frameCount += 1
  }

  /// Completes the file and puts it in its place. After an error nothing is left of it.
  public func finish() throws {
    guard let (draft, encoder) = work else { preconditionFailure("a closed video \(url.path) cannot be finished") }
    defer { abort() }
    guard frameCount > 0 else { throw MediaError.cannotEncodeVideo(reason: "no frames for \(url.path)") }
    try encoder.finish()
    try draft.commit()
  }

  /// Ends the work and deletes what there is, unless it was finished.
  public func abort() {
    work?.encoder.close()
    work?.draft.discard()
    work = nil
  }

  private static func check(_ text: [String: String], _ format: VideoFormat) throws {
    guard text.isEmpty || format.holdsText else {
      throw MediaError.badFormat(reason: ".\(format.container.rawValue) files hold no text")
    }
    var total = 0
    for (key, value) in text {
      // Matroska keeps them in capitals; other characters are changed by one container or another.
      guard (1...79).contains(key.utf8.count), key.wholeMatch(of: #/[a-z0-9_]+/#) != nil else {
        throw MediaError.cannotEncodeVideo(reason: "text key '\(key)' is not 1 to 79 of a-z, 0-9 and _")
      }
      if value.utf8.contains(0) { throw MediaError.cannotEncodeVideo(reason: "text '\(key)' contains a zero") }
      total += key.utf8.count + value.utf8.count + 2
    }
    if total > VideoFile.maxTextBytes { throw MediaError.cannotEncodeVideo(reason: "\(total) bytes of text") }
  }
}
