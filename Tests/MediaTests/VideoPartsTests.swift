import Foundation
import Testing

@testable import Media

struct FrameRateTests {
  @Test(
    arguments: [
      (16, 16, 1), (24, 24, 1), (23.976, 24000, 1001), (23.98, 24000, 1001), (29.97, 30000, 1001),
      (59.94, 60000, 1001), (12.5, 25, 2), (0.1, 1, 10), (1000, 1000, 1), (24000.0 / 1001, 24000, 1001),
      (10.0 / 3, 10, 3), (14.985, 2997, 200),
    ] as [(Double, Int, Int)])
  func fractions(framesPerSecond: Double, numerator: Int, denominator: Int) throws {
    let rate = try FrameRate(framesPerSecond)
    #expect(rate.numerator == numerator && rate.denominator == denominator, "\(rate)")
  }

  @Test(arguments: [0, -1, .nan, .infinity, 1001, 0.01] as [Double])
  func refused(framesPerSecond: Double) {
    #expect(throws: MediaError.self) { try FrameRate(framesPerSecond) }
  }
}

struct ColorQuantizerTests {
  private func restore(_ picture: IndexedPicture, _ width: Int, _ height: Int) -> Frame {
    let pixels = picture.indices.flatMap { index -> [UInt8] in
      let color = picture.palette[Int(index)]
      return [color.x, color.y, color.z]
    }
    return Frame(width: width, height: height, pixels: pixels)
  }

  /// Colours 8 and more apart come back exactly, as many as there are places.
  @Test(arguments: [1, 2, 17, 255])
  func fewColorsAreKept(count: Int) {
    var quantizer = ColorQuantizer()
    var pixels: [UInt8] = []
    for i in 0..<32 * 32 {
      let color = i * 7 % count
      pixels += [UInt8(color % 8 * 36), UInt8(color / 8 % 8 * 35), UInt8(color / 64 * 80)]
    }
    let frame = Frame(width: 32, height: 32, pixels: pixels)
    let picture = quantizer.quantize(frame)
    #expect(picture.palette.count == count)
    let isSame = restore(picture, 32, 32) == frame
    #expect(isSame)
  }

  @Test func smoothColorsAreNear() {
    var quantizer = ColorQuantizer()
    let frame = clip(64, 64, frames: 1)[0]
    let picture = quantizer.quantize(frame)
    #expect(picture.palette.count == ColorQuantizer.maxColors)
    #expect(picture.indices.allSatisfy { $0 < ColorQuantizer.maxColors })
    let restored = restore(picture, 64, 64)
    #expect(meanPSNR([frame], [restored]) > 30)
    // Diffusion keeps the mean.
    for channel in 0..<3 {
      func sum(_ frame: Frame) -> Int {
        stride(from: channel, to: 64 * 64 * 3, by: 3).reduce(0) { $0 + Int(frame.pixels[$1]) }
      }
      #expect(abs(sum(frame) - sum(restored)) < 64 * 64 / 4)
    }
  }

  /// What stands still does not flicker; another scene gets other colours.
  @Test func palettesAreKept() {
    var quantizer = ColorQuantizer()
    let frames = clip(64, 64, frames: 2)
    let first = quantizer.quantize(frames[0])
    let isSame = quantizer.quantize(frames[0]) == first
    #expect(isSame)
    let isKept = quantizer.quantize(frames[1]).palette == first.palette
    #expect(isKept)
    let red = quantizer.quantize(Frame(width: 64, height: 64, red: 255, green: 0, blue: 0))
    #expect(red.palette == [SIMD3(255, 0, 0)])
  }

  /// What the container gives back is what was quantized: differences between frames hide nothing.
  @Test func containerKeepsPictures() throws {
    let folder = try TestFolder()
    let url = folder.url.appending(path: "a.gif")
    var frames = clip(40, 24, frames: 4)
    frames.append(Frame(width: 40, height: 24, red: 255, green: 0, blue: 0))
    frames += [frames[0], frames[0]]
    try write(frames, to: url)
    var quantizer = ColorQuantizer()
    let expected = frames.map { restore(quantizer.quantize($0), 40, 24) }
    let decoded = try read(url).frames
    let differing = zip(decoded, expected).enumerated().filter { $0.element.0 != $0.element.1 }.map(\.offset)
    #expect(decoded.count == expected.count)
    #expect(differing == [])
  }
}

struct FrameSequenceTests {
  @Test func numbersFrames() throws {
    let folder = try TestFolder()
    let sequence = FrameSequence(folder: folder.url.appending(path: "clip"))
    for (index, frame) in clip(5, 4, frames: 3).enumerated() { try sequence.write(frame, index: index) }
    let made = folder.url.appending(path: "clip")
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: made.path).sorted() == ["0000.png", "0001.png", "0002.png"])
    let bytes = try Array(Data(contentsOf: sequence.url(2)))
    #expect(try PNGFile.decode(bytes).frame == clip(5, 4, frames: 3)[2])
  }

  @Test func patterns() throws {
    #expect(try FrameSequence(pattern: "/a/b-%03d-x.png").url(7).path == "/a/b-007-x.png")
    #expect(try FrameSequence(pattern: "/a/%d.PNG").url(12345).path == "/a/12345.PNG")
    #expect(try FrameSequence(pattern: "/a/%04d.png").url(12345).path == "/a/12345.png")
    for bad in ["a.png", "%04d.jpg", "%d-%d.png", "%04d/a.png", ""] {
      #expect(throws: MediaError.self, "\(bad)") { try FrameSequence(pattern: bad) }
    }
  }
}

@Suite(.serialized) struct VideoDeterminismTests {
  /// Grain over a picture that moves, as a model leaves it that has not finished.
  private func noise(_ width: Int, _ height: Int, frames: Int) -> [Frame] {
    var state: UInt64 = 1
    return clip(width, height, frames: frames).map { frame in
      let pixels = frame.pixels.map { value in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(max(0, min(255, Int(value) + Int(state >> 58) - 32)))
      }
      return Frame(width: width, height: height, pixels: pixels)
    }
  }

  /// Leaves memory behind that is filled with `value`.
  private func litter(_ value: UInt8) -> Int {
    let blocks = (0..<4000).map { [UInt8](repeating: value, count: 100 + $0 * 7919 % 120_000) }
    return blocks.reduce(0) { $0 + Int($1[$1.count / 2]) }
  }

  /// Memory that an encoder gets is filled with one value and another: what it reads without having written shows.
  @Test(arguments: ["a.mp4", "a.webm", "a.mkv", "a.gif", "a.webp"]) func sameFramesSameBytes(name: String) throws {
    let folder = try TestFolder(), frames = noise(208, 120, frames: 17)
    guard try isAvailable(VideoFormat(path: name)) else { return }
    let files = try [UInt8(1), 170, 85].map { value in
      #expect(litter(value) == 4000 * Int(value))
      let url = folder.url.appending(path: name)
      try write(frames, to: url)
      return try Data(contentsOf: url)
    }
    #expect(files[0] == files[1] && files[0] == files[2])
  }
}
