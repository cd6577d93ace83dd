import Foundation
import Testing

@testable import Media

/// A folder that lives as long as a test's suite.
final class TestFolder {
  let url = FileManager.default.temporaryDirectory.appending(path: "video-\(UUID().uuidString)")
  init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(at: url) }
  var contents: [String] {
    get throws { try FileManager.default.contentsOfDirectory(atPath: url.path).sorted() }
  }
}

/// Smooth colours that move.
func clip(_ width: Int, _ height: Int, frames: Int) -> [Frame] {
  (0..<frames).map { time in
    var pixels: [UInt8] = []
    for y in 0..<height {
      for x in 0..<width {
        let u = Double(x) / 32 + Double(time) / 16, v = Double(y) / 32
        for phase in [0.0, 2.1, 4.2] { pixels.append(UInt8(127.5 + 100 * sin(u * 2 + phase) * cos(v * 2 - phase))) }
      }
    }
    return Frame(width: width, height: height, pixels: pixels)
  }
}

func meanPSNR(_ frames: [Frame], _ others: [Frame]) -> Double {
  let decibels = zip(frames, others).map { a, b in
    let squares = zip(a.pixels, b.pixels).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
    return 10 * log10(255 * 255 * Double(a.pixels.count) / max(squares, 1e-9))
  }
  return decibels.reduce(0, +) / Double(decibels.count)
}

func write(
  _ frames: [Frame], to url: URL, codec: String? = nil, framesPerSecond: Double = 16, text: [String: String] = [:]
) throws {
  let settings = VideoSettings(frameRate: try FrameRate(framesPerSecond), text: text)
  let writer = try VideoWriter(
    to: url, format: VideoFormat(path: url.path, codec: codec), width: frames[0].width, height: frames[0].height,
    settings: settings)
  for frame in frames { try writer.append(frame) }
  try writer.finish()
}

func read(_ url: URL) throws -> (info: VideoInfo, frames: [Frame]) {
  let reader = try VideoReader(url.path)
  var frames: [Frame] = []
  while let frame = try reader.next() { frames.append(frame) }
  return (reader.info, frames)
}

/// Whether this machine's FFmpeg can make such a file. Where not, it must say so and nothing else.
func isAvailable(_ format: VideoFormat) throws -> Bool {
  do {
    try format.checkAvailable()
    return true
  } catch MediaError.unavailable { return false }
}

struct VideoTests {
  private let folder: TestFolder
  init() throws { folder = try TestFolder() }
  private func file(_ name: String) -> URL { folder.url.appending(path: name) }

  /// All but animated WebP, which FFmpeg writes but does not read.
  static let readable: [(VideoFormat.Container, VideoFormat.Codec)] = VideoFormat.Container.allCases.flatMap { kind in
    kind == .webp ? [] : kind.codecs.map { (kind, $0) }
  }

  @Test(arguments: readable)
  func everyFormat(container: VideoFormat.Container, codec: VideoFormat.Codec) throws {
    let format = try VideoFormat(container, codec: codec.rawValue)
    guard try isAvailable(format) else { return }
    let url = file("ü: 100% clip.\(container.rawValue)")
    // H.265 is the one that wants more than 16 pixels.
    let width = codec == .h265 ? 64 : 48, height = codec == .h265 ? 64 : 32
    let frames = clip(width, height, frames: 7)
    let json = #"{"prompt":"a \"red\" cube\n日本 ✓","list":[1,2]}"#
    let text = format.holdsText ? ["parameters": "two\nlines, ü", "tessera": json] : [:]
    try write(frames, to: url, codec: codec.rawValue, text: text)
    let (info, decoded) = try read(url)
    let names: [VideoFormat.Codec: String] = [.h265: "hevc"]
    #expect(info.codec == names[codec] ?? codec.rawValue)
    #expect(info.width == width && info.height == height && decoded.count == 7)
    // GIF counts hundredths of a second.
    #expect(abs(info.frameRate.framesPerSecond - 16) < (codec == .gif ? 0.5 : 1e-9))
    #expect(meanPSNR(frames, decoded) > (codec == .gif ? 30 : 35))
    let isSame = decoded == frames
    #expect(isSame == format.isLossless)
    switch codec {
    case .gif, .webp: #expect(info.pixelFormat == "bgra")
    case .ffv1:
      #expect(
        [info.pixelFormat, info.primaries, info.transfer, info.matrix, info.range]
          == ["bgr0", "bt709", "iec61966-2-1", "gbr", "pc"])
    case .h264, .h265, .vp9, .av1:
      #expect(
        [info.pixelFormat, info.primaries, info.transfer, info.matrix, info.range]
          == ["yuv420p", "bt709", "bt709", "bt709", "tv"])
    }
    #expect(text.allSatisfy { info.text[$0.key] == $0.value })
    #expect(try VideoFile.metadata(url.path) == info.text)
    #expect(try folder.contents == [url.lastPathComponent])
  }

  /// RIFF chunks: the canvas and the frames.
  @Test func animatedWebP() throws {
    guard try isAvailable(VideoFormat(.webp)) else { return }
    try write(clip(33, 17, frames: 5), to: file("a.webp"), framesPerSecond: 12.5)
    let bytes = try Array(Data(contentsOf: file("a.webp")))
    func number(_ place: Int, _ count: Int) -> Int { (0..<count).reduce(0) { $0 | Int(bytes[place + $1]) << (8 * $1) } }
    #expect(bytes[..<4] == Array("RIFF".utf8)[...] && bytes[8..<12] == Array("WEBP".utf8)[...])
    #expect(number(4, 4) == bytes.count - 8)
    var durations: [Int] = [], loops = -1
    var place = 12
    while place + 8 <= bytes.count {
      let name = String(decoding: bytes[place..<place + 4], as: UTF8.self)
      if name == "VP8X" { #expect(number(place + 12, 3) == 32 && number(place + 15, 3) == 16) }
      if name == "ANIM" { loops = number(place + 12, 2) }
      if name == "ANMF" { durations.append(number(place + 20, 3)) }
      place += 8 + (number(place + 4, 4) + 1) & ~1
    }
    #expect(durations == [80, 80, 80, 80, 80])
    #expect(loops == 0)
  }

  /// Noise, sizes that are no multiple of anything, and rows shorter than a vector.
  @Test(arguments: [(16, 16), (33, 17), (257, 16), (16, 401)])
  func losslessIsLossless(width: Int, height: Int) throws {
    let frames = (0..<3).map { shift in
      var frame = pattern(width, height)
      for i in frame.pixels.indices { frame.pixels[i] &*= UInt8(2 * shift + 1) }
      return frame
    }
    try write(frames, to: file("a.mkv"))
    // Not within the macro, which would print them.
    let isSame = try read(file("a.mkv")).frames == frames
    #expect(isSame)
  }

  /// Made elsewhere, with chroma computed from BT.709's definition: holds the reader, and by it the writer, to it.
  @Test func coloursAreRight() throws {
    let colors: [[UInt8]] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]]
    func worst(_ frame: Frame) -> Int {
      colors.indices.flatMap { quarter in
        // Away from borders, where chroma runs over.
        let place = ((quarter / 2 * 16 + 8) * 32 + quarter % 2 * 16 + 8) * 3
        return (0..<3).map { abs(Int(frame.pixels[place + $0]) - Int(colors[quarter][$0])) }
      }.max() ?? 0
    }
    let fixture = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/colours.mp4")
    let fromElsewhere = try read(fixture)
    #expect(fromElsewhere.frames.count == 1)
    #expect(worst(fromElsewhere.frames[0]) <= 2)
    var own = Frame(width: 32, height: 32, red: 0, green: 0, blue: 0)
    for i in 0..<32 * 32 { own.pixels.replaceSubrange(i * 3..<i * 3 + 3, with: colors[i / 512 * 2 + i % 32 / 16]) }
    for name in ["a.mp4", "a.webm", "a.mkv", "a.gif"] where try isAvailable(VideoFormat(path: name)) {
      try write([own], to: file(name))
      #expect(try worst(read(file(name)).frames[0]) <= 3, "\(name)")
    }
  }

  @Test(arguments: ["a.mp4", "a.webm", "a.gif", "a.webp"])
  func oddSizesAndSingleFrames(name: String) throws {
    let format = try VideoFormat(path: name)
    guard try isAvailable(format) else { return }
    let frame = clip(33, 17, frames: 1)[0]
    let writer = try VideoWriter(
      to: file(name), format: format, width: 33, height: 17, settings: VideoSettings(frameRate: try FrameRate(24)))
    let isPadded = format.codec == .h264 || format.codec == .vp9
    #expect(writer.codedWidth == (isPadded ? 34 : 33) && writer.codedHeight == (isPadded ? 18 : 17))
    #expect((writer.paddingNotice != nil) == isPadded)
    try writer.append(frame)
    try writer.finish()
    #expect(writer.frameCount == 1)
    guard format.codec != .webp else { return }
    let (info, decoded) = try read(file(name))
    #expect(info.width == writer.codedWidth && info.height == writer.codedHeight && decoded.count == 1)
    // What was added is the neighbour again.
    var padded: [UInt8] = []
    for y in 0..<info.height {
      for x in 0..<info.width {
        let pixel = (min(y, 16) * 33 + min(x, 32)) * 3
        padded += frame.pixels[pixel..<pixel + 3]
      }
    }
    #expect(meanPSNR([Frame(width: info.width, height: info.height, pixels: padded)], decoded) > 30)
  }

  @Test(arguments: [23.976, 24, 29.97, 7.5])
  func frameRates(framesPerSecond: Double) throws {
    let rate = try FrameRate(framesPerSecond)
    try write(clip(16, 16, frames: 4), to: file("a.mp4"), framesPerSecond: framesPerSecond)
    #expect(try read(file("a.mp4")).info.frameRate == rate)
    try write(clip(16, 16, frames: 4), to: file("a.mkv"), framesPerSecond: framesPerSecond)
    #expect(abs(try read(file("a.mkv")).info.frameRate.framesPerSecond - rate.framesPerSecond) < 0.01)
  }

  /// No clock and no random identifiers in the file, and nothing that depends on threads.
  @Test(arguments: VideoFormat.Container.allCases.flatMap { kind in kind.codecs.map { (kind, $0) } })
  func sameFramesGiveSameBytes(container: VideoFormat.Container, codec: VideoFormat.Codec) throws {
    let format = try VideoFormat(container, codec: codec.rawValue)
    guard try isAvailable(format) else { return }
    let text = format.holdsText ? ["tessera": "{}", "parameters": "p", "comment": "c"] : [:]
    var files: [Data] = []
    for name in ["a", "b"] {
      let url = file("\(name).\(container.rawValue)")
      try write(clip(68, 64, frames: 5), to: url, codec: codec.rawValue, text: text)
      files.append(try Data(contentsOf: url))
    }
    #expect(files[0] == files[1])
    // The version of the library, which would change the bytes from one machine to the next.
    for digit in 0...9 { #expect(files[0].range(of: Data("Lavf\(digit)".utf8)) == nil) }
  }

  @Test func longTextReturns() throws {
    let long = String(repeating: "layer 17: ü, ", count: 80_000)
    for name in ["a.mp4", "a.mkv"] {
      try write(clip(16, 16, frames: 1), to: file(name), text: ["tessera": long, "parameters": ""])
      let text = try VideoFile.metadata(file(name).path)
      #expect(text["tessera"] == long)
      #expect(text["parameters"] ?? "" == "")
    }
  }
}
