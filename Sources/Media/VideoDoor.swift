import CFFmpeg

/// The one place that calls FFmpeg's libraries, through `CFFmpeg`. Nothing unsafe leaves it.
enum VideoDoor {
  struct Limits {
    let pixels: Int, textBytes: Int
  }

  static func check(_ encoding: VideoEncoding) throws {
    guard unsafe cffmpeg_has_encoder(encoding.encoder) != 0 else { throw unavailable(encoding.encoder) }
    guard unsafe cffmpeg_has_container(encoding.container) != 0 else { throw unavailable(encoding.container) }
  }

  fileprivate static func unavailable(_ what: String) -> MediaError {
    .unavailable(reason: "FFmpeg's libraries on this machine have no \(what)")
  }

  fileprivate static var emptyMessage: [UInt8] { [UInt8](repeating: 0, count: Int(CFFMPEG_ERROR_SIZE)) }

  fileprivate static func string(_ message: [UInt8]) -> String {
    String(decoding: message.prefix { $0 != 0 }, as: UTF8.self)
  }
}

/// A file under construction. Not to be used from two threads at a time.
@safe final class VideoEncoder {
  let codedWidth: Int, codedHeight: Int
  /// `nil` once closed.
  private var handle: OpaquePointer?
  /// For messages.
  private let name: String

  /// - Parameters:
  ///   - path: a local file, made or emptied.
  ///   - name: what messages call it.
  ///   - text: checked by the caller: no zeros.
  init(path: String, name: String, encoding: VideoEncoding, width: Int, height: Int, settings: VideoSettings) throws {
    let rate = settings.frameRate
    guard let wide = Int32(exactly: width), let high = Int32(exactly: height),
      let numerator = Int32(exactly: rate.numerator), let denominator = Int32(exactly: rate.denominator)
    else { throw MediaError.cannotEncodeVideo(reason: "\(width)x\(height) at \(rate)") }
    // In one order, so that the same text gives the same bytes.
    var packed: [UInt8] = []
    for (key, value) in settings.text.sorted(by: { $0.key < $1.key }) {
      packed += Array(key.utf8) + [0] + Array(value.utf8) + [0]
    }
    let shape = CFFmpegShape(width: wide, height: high, rate_numerator: numerator, rate_denominator: denominator)
    var message = VideoDoor.emptyMessage
    var opened: OpaquePointer?
    let status = unsafe cffmpeg_open_writer(
      path, encoding.container, encoding.containerOptions.joined(separator: "\n"), encoding.encoder,
      encoding.encoderOptions.joined(separator: "\n"), encoding.pixelFormat, shape, packed, settings.text.count,
      &opened,
      &message)
    self.name = name
    unsafe handle = opened
    codedWidth = unsafe opened.map { unsafe Int(cffmpeg_coded_width($0)) } ?? 0
    codedHeight = unsafe opened.map { unsafe Int(cffmpeg_coded_height($0)) } ?? 0
    try check(status, message)
  }

  deinit { close() }

  func write(_ frame: Frame) throws {
    var message = VideoDoor.emptyMessage
    try check(unsafe cffmpeg_write_rgb(opened, frame.pixels, &message), message)
  }

  /// - Parameter picture: of the size this was opened with.
  func write(_ picture: IndexedPicture) throws {
    var message = VideoDoor.emptyMessage
    var palette = picture.palette.flatMap { [$0.x, $0.y, $0.z] }
    precondition(palette.count <= 255 * 3, "\(palette.count / 3) colours")
    palette += [UInt8](repeating: 0, count: 256 * 3 - palette.count)
    // FFmpeg (5.1) writes what has changed since the frame before, but looks for a changed palette in the first frame's:
    // where that one comes back after another, it mixes the two. The colour of the unused place makes it another.
    for byte in 0..<3 { palette[255 * 3 + byte] = UInt8(truncatingIfNeeded: picture.paletteNumber >> (8 * byte)) }
    try check(unsafe cffmpeg_write_indexed(opened, picture.indices, palette, &message), message)
  }

  func finish() throws {
    var message = VideoDoor.emptyMessage
    try check(unsafe cffmpeg_finish(opened, &message), message)
    close()
  }

  func close() {
    unsafe cffmpeg_close_writer(handle)
    unsafe handle = nil
  }

  private var opened: OpaquePointer {
    guard let handle = unsafe handle else { preconditionFailure("\(name) is closed") }
    return unsafe handle
  }

  private func check(_ status: Int32, _ message: [UInt8]) throws {
    let reason = VideoDoor.string(message)
    switch status {
    case CFFMPEG_DONE: return
    case CFFMPEG_UNAVAILABLE: throw VideoDoor.unavailable(reason)
    case CFFMPEG_IO_FAILED: throw MediaError.cannotWrite(path: name, reason: reason)
    default: throw MediaError.cannotEncodeVideo(reason: reason)
    }
  }
}

/// A file being read. Not to be used from two threads at a time.
@safe final class VideoDecoder {
  let info: VideoInfo
  private let handle: OpaquePointer
  private let path: String

  /// - Parameter textOnly: whether frames are of no interest, nor what is known of them.
  init(path: String, textOnly: Bool, limits: VideoDoor.Limits) throws {
    var message = VideoDoor.emptyMessage
    var opened: OpaquePointer?
    let status = unsafe cffmpeg_open_reader(
      path, textOnly ? 0 : 1, Int64(limits.pixels), limits.textBytes, &opened, &message)
    guard let handle = unsafe opened else { throw Self.error(status, message, path) }
    unsafe self.handle = handle
    self.path = path
    info = unsafe Self.info(cffmpeg_describe(handle))
  }

  deinit { unsafe cffmpeg_close_reader(handle) }

  func next() throws -> Frame? {
    var message = VideoDoor.emptyMessage
    var pixels = [UInt8](repeating: 0, count: info.width * info.height * 3)
    let status = unsafe cffmpeg_read_rgb(handle, &pixels, &message)
    if status == CFFMPEG_END { return nil }
    guard status == CFFMPEG_DONE else { throw Self.error(status, message, path) }
    return Frame(width: info.width, height: info.height, pixels: pixels)
  }

  private static func info(_ description: CFFmpegDescription) -> VideoInfo {
    let packed = unsafe Array(UnsafeBufferPointer(start: description.tags, count: description.tags_size))
    let shape = unsafe description.shape
    let strings = packed.split(separator: 0, omittingEmptySubsequences: false)
      .map { String(decoding: $0, as: UTF8.self) }
    var text: [String: String] = [:]
    for i in stride(from: 0, to: strings.count - 1, by: 2) { text[strings[i].lowercased()] = strings[i + 1] }
    return unsafe VideoInfo(
      container: String(cString: description.container), codec: String(cString: description.codec),
      pixelFormat: String(cString: description.pixel_format), primaries: String(cString: description.primaries),
      transfer: String(cString: description.transfer), matrix: String(cString: description.matrix),
      range: String(cString: description.range), width: Int(shape.width), height: Int(shape.height),
      frameRate: FrameRate(numerator: Int(shape.rate_numerator), denominator: Int(shape.rate_denominator)), text: text)
  }

  private static func error(_ status: Int32, _ message: [UInt8], _ path: String) -> MediaError {
    let reason = VideoDoor.string(message)
    return status == CFFMPEG_UNAVAILABLE ? VideoDoor.unavailable(reason) : .badVideo(path: path, reason: reason)
  }
}
