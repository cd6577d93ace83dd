import Foundation
import Testing

@testable import Media

/// What goes wrong with videos, and that nothing is left of it.
struct VideoFailureTests {
  private let folder: TestFolder
  private let settings: VideoSettings
  init() throws {
    folder = try TestFolder()
    settings = VideoSettings(frameRate: try FrameRate(16))
  }
  private func file(_ name: String) -> URL { folder.url.appending(path: name) }

  private func writer(_ name: String, frames: Int = 2) throws -> VideoWriter {
    let writer = try VideoWriter(
      to: file(name), format: VideoFormat(path: name), width: 16, height: 16, settings: settings)
    for frame in clip(16, 16, frames: frames) { try writer.append(frame) }
    return writer
  }

  @Test(arguments: VideoFormat.extensions)
  func abortLeavesNothing(ending: String) throws {
    guard try isAvailable(VideoFormat(path: "a.\(ending)")) else { return }
    let name = "a.\(ending)"
    try writer(name).abort()
    _ = try writer(name)
    #expect(try folder.contents.isEmpty)
    // What was there stays until the very end.
    try AtomicFile.write([1, 2, 3], to: file(name))
    let second = try writer(name)
    #expect(try folder.contents.count == 2)
    #expect(try Array(Data(contentsOf: file(name))) == [1, 2, 3])
    second.abort()
    second.abort()
    #expect(try Array(Data(contentsOf: file(name))) == [1, 2, 3])
    try writer(name).finish()
    #expect(try folder.contents == [name])
    #expect(try Data(contentsOf: file(name)).count > 30)
  }

  @Test func noFrames() throws {
    #expect(throws: MediaError.self) { try writer("a.mp4", frames: 0).finish() }
    #expect(try folder.contents.isEmpty)
  }

  @Test(arguments: ["a.avi", "a", "", "a.png", "mp4"])
  func unknownExtensions(path: String) {
    #expect {
      try VideoFormat(path: path)
    } throws: { error in
      guard case MediaError.badFormat = error else { return false }
      return "\(error)".contains(".mp4, .webm, .mkv, .gif, .webp")
    }
  }

  @Test(arguments: [(15, 64), (64, 15), (1, 1), (0, 16), (16, 16_384), (-16, 16)])
  func wrongSizes(width: Int, height: Int) throws {
    #expect {
      try VideoFormat.check(path: file("a.mkv").path, width: width, height: height, settings: settings)
    } throws: { error in
      guard case MediaError.badFormat = error else { return false }
      return "\(error)".contains("\(width)x\(height)")
    }
    #expect(try folder.contents.isEmpty)
  }

  @Test(arguments: [("a.mp4", "vp9"), ("a.webm", "h264"), ("a.gif", "h264"), ("a.mp4", "xyz"), ("a.mkv", "gif")])
  func wrongCodecs(path: String, codec: String) throws {
    #expect {
      try VideoFormat(path: path, codec: codec)
    } throws: { error in
      guard case MediaError.badFormat = error else { return false }
      let usual = try VideoFormat(path: path).codec.rawValue
      return "\(error)".contains("'\(codec)'") && "\(error)".contains(usual)
    }
  }

  @Test(
    arguments: [
      ("a.mp4", 52), ("a.mp4", -1), ("a.webm", 64), ("a.mkv", 18), ("a.gif", 1), ("a.webp", nil), ("a.mkv", nil),
    ] as [(String, Int?)])
  func wrongDials(path: String, crf: Int?) throws {
    let settings = VideoSettings(frameRate: try FrameRate(16), crf: crf, preset: crf == nil ? .slow : nil)
    #expect {
      try VideoFormat.check(path: file(path).path, width: 16, height: 16, settings: settings)
    } throws: { error in
      guard case MediaError.badFormat = error else { return false }
      return true
    }
    #expect(try folder.contents.isEmpty)
    #expect(throws: MediaError.self) { try VideoPreset(name: "glacial") }
  }

  @Test func everyDialIsTaken() throws {
    for name in ["h264", "h265", "av1", "ffv1", "vp9"] {
      let format = try VideoFormat(.mkv, codec: name)
      guard try isAvailable(format), let range = format.crfRange else { continue }
      for preset in [VideoPreset.ultrafast, .veryslow] {
        let settings = VideoSettings(frameRate: try FrameRate(16), crf: range.upperBound, preset: preset)
        try VideoWriter.prove(file("a.mkv"), format: format, width: 64, height: 64, settings: settings)
      }
    }
    #expect(try folder.contents.isEmpty)
  }

  @Test func wrongText() throws {
    for (name, text) in [
      ("a.mp4", ["Upper": "x"]), ("a.mkv", ["a b": "x"]), ("a.mp4", ["": "x"]), ("a.mp4", ["k": "a\0b"]),
      ("a.gif", ["k": "v"]), ("a.mp4", ["k": String(repeating: "x", count: VideoFile.maxTextBytes)]),
    ] {
      let settings = VideoSettings(frameRate: try FrameRate(16), text: text)
      #expect(throws: MediaError.self) {
        try VideoWriter(to: file(name), format: VideoFormat(path: name), width: 16, height: 16, settings: settings)
      }
    }
    #expect(try folder.contents.isEmpty)
  }

  /// Neither known here nor in any build of FFmpeg.
  @Test func missingEncoder() throws {
    for encoding in [
      VideoEncoding(container: "mp4", encoder: "no-such-encoder", pixelFormat: "yuv420p"),
      VideoEncoding(container: "no-such-container", encoder: "ffv1", pixelFormat: "bgr0"),
    ] {
      let expected = encoding.encoder == "ffv1" ? encoding.container : encoding.encoder
      for attempt in [
        { try VideoDoor.check(encoding) },
        {
          _ = try VideoEncoder(
            path: file("a").path, name: "a", encoding: encoding, width: 16, height: 16, settings: settings)
        },
      ] {
        #expect(throws: MediaError.unavailable(reason: "FFmpeg's libraries on this machine have no \(expected)")) {
          try attempt()
        }
      }
    }
    #expect(try folder.contents.isEmpty)
  }

  @Test func unknownOptionsAreErrors() throws {
    var encoding = try VideoFormat(.mkv).encoding
    encoding.encoderOptions.append("no_such_option=1")
    #expect {
      try VideoEncoder(path: file("a").path, name: "a", encoding: encoding, width: 16, height: 16, settings: settings)
    } throws: {
      $0 as? MediaError == .cannotEncodeVideo(reason: "no option 'no_such_option'")
    }
  }

  @Test(arguments: ["file/x.mp4", "/proc/nowhere/x.mp4", "/proc/x.mp4", String(repeating: "n", count: 300) + ".mp4"])
  func unwritablePlaces(path: String) throws {
    try AtomicFile.write([1], to: file("file"))
    let path = path.hasPrefix("/") ? path : file(path).path
    #expect {
      try VideoFormat.check(path: path, width: 16, height: 16, settings: settings)
    } throws: { error in
      guard case MediaError.cannotWrite(path, let reason) = error else { return false }
      return !reason.isEmpty
    }
    #expect(throws: MediaError.self) {
      try VideoWriter(
        to: URL(filePath: path), format: VideoFormat(.mp4), width: 16, height: 16, settings: settings)
    }
    #expect(try folder.contents == ["file"])
  }

  @Test func folderInTheWay() throws {
    try FileManager.default.createDirectory(at: file("a.mp4"), withIntermediateDirectories: true)
    #expect(throws: MediaError.cannotWrite(path: file("a.mp4").path, reason: "it is a folder")) { try writer("a.mp4") }
    #expect(try folder.contents == ["a.mp4"])
  }

  @Test func provingChangesNothing() throws {
    let path = file("new/a.mp4").path
    let format = try VideoFormat.check(path: path, width: 31, height: 17, settings: settings)
    #expect(format == (try VideoFormat(.mp4)))
    #expect(try FileManager.default.contentsOfDirectory(atPath: file("new").path).isEmpty)
  }

  /// Every write to this device finds the disk full.
  @Test(.enabled(if: FileManager.default.fileExists(atPath: "/dev/full")), arguments: VideoFormat.extensions)
  func fullDisk(ending: String) throws {
    let format = try VideoFormat(path: "a.\(ending)")
    guard try isAvailable(format) else { return }
    #expect {
      let encoder = try VideoEncoder(
        path: "/dev/full", name: "a.\(ending)", encoding: format.encoding, width: 64, height: 64, settings: settings)
      for shift in 0..<4 {
        var frame = pattern(64, 64)
        for i in frame.pixels.indices { frame.pixels[i] &*= UInt8(2 * shift + 1) }
        if format.codec == .gif {
          var quantizer = ColorQuantizer()
          try encoder.write(quantizer.quantize(frame))
        } else {
          try encoder.write(frame)
        }
      }
      try encoder.finish()
    } throws: {
      $0 as? MediaError == .cannotWrite(path: "a.\(ending)", reason: "No space left on device")
    }
  }

  // MARK: reading

  private func expectRefusal(_ bytes: [UInt8], _ comment: Comment) throws {
    let url = file("bad")
    try AtomicFile.write(bytes, to: url)
    #expect(throws: MediaError.self, comment) { try read(url).frames.count }
  }

  @Test func notVideos() throws {
    try expectRefusal([], "empty")
    try expectRefusal(Array("Some text, with a video's name.\n".utf8), "text")
    try expectRefusal([UInt8](repeating: 0, count: 5000), "zeros")
    try expectRefusal(try PNGFile.encode(pattern(9, 9)), "PNG")
    // Lists that would have other files opened.
    try write(clip(16, 16, frames: 1), to: file("real.mp4"))
    try expectRefusal(Array("ffconcat version 1.0\nfile real.mp4\n".utf8), "concat")
    let list = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nreal.mp4\n#EXT-X-ENDLIST\n"
    try expectRefusal(Array(list.utf8), "playlist")
    for path in [file("absent").path, folder.url.path, "http://localhost/a.mp4", "concat:\(file("real.mp4").path)"] {
      #expect(throws: MediaError.self, "\(path)") { try VideoReader(path) }
      #expect(throws: MediaError.self, "\(path)") { try VideoFile.metadata(path) }
    }
    #expect(try VideoFile.metadata(file("real.mp4").path)["tessera"] == nil)
  }

  /// A file that ends early is an error, unless it is only the index behind the frames that suffers.
  @Test(arguments: ["a.mp4", "a.mkv"])
  func truncation(name: String) throws {
    try write(clip(32, 32, frames: 6), to: file(name), text: ["tessera": "{}"])
    let bytes = try Array(Data(contentsOf: file(name)))
    let whole = try read(file(name)).frames
    var refusals = 0, attempts = 0
    for count in stride(from: 0, to: bytes.count - 1, by: max(1, bytes.count / 60)) {
      try Data(bytes[..<count]).write(to: file("bad"))
      attempts += 1
      do {
        let isWhole = try read(file("bad")).frames == whole
        #expect(isWhole, "\(count) of \(bytes.count) bytes")
      } catch is MediaError { refusals += 1 }
    }
    #expect(refusals >= attempts - 2)
  }

  /// Any answer will do but a crash.
  @Test(arguments: ["a.mp4", "a.mkv", "a.webm", "a.gif"])
  func damage(name: String) throws {
    guard try isAvailable(VideoFormat(path: name)) else { return }
    let format = try VideoFormat(path: name)
    try write(clip(16, 16, frames: 3), to: file(name), text: format.holdsText ? ["tessera": "{}"] : [:])
    let bytes = try Array(Data(contentsOf: file(name)))
    for position in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 150)) {
      var damaged = bytes
      damaged[position] ^= [0xff, 0x01, 0x80][position % 3]
      try Data(damaged).write(to: file("damaged"))
      _ = try? read(file("damaged"))
      _ = try? VideoFile.metadata(file("damaged").path)
    }
  }
}
