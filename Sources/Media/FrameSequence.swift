import Foundation

/// A video as pictures: one PNG file a frame, numbered from 0.
public struct FrameSequence: Sendable, Hashable {
  /// What all paths begin with: a folder, or a folder and the first part of a name.
  public let head: String
  private let digits: Int
  private let tail: String

  /// `0000.png`, `0001.png`, ... in a folder.
  public init(folder: URL) {
    head = folder.relativePath + "/"
    digits = 4
    tail = ".png"
  }

  /// - Parameter pattern: a path that ends in `.png`, with a counter in the file's name, such as `clip/%04d.png`.
  public init(pattern: String) throws {
    let matches = pattern.matches(of: #/%(?:0([0-9]))?d/#)
    guard matches.count == 1, let match = matches.first, pattern.lowercased().hasSuffix(".png"),
      !pattern[match.range.upperBound...].contains("/")
    else {
      throw MediaError.badFormat(
        reason: "frames: expected one counter in the name of a .png, such as %04d.png, found '\(pattern)'")
    }
    head = String(pattern[..<match.range.lowerBound])
    digits = match.1.flatMap { Int($0) } ?? 1
    tail = String(pattern[match.range.upperBound...])
  }

  /// Where frame `index` is kept.
  public func url(_ index: Int) -> URL {
    let number = String(index)
    return URL(fileURLWithPath: head + String(repeating: "0", count: max(0, digits - number.count)) + number + tail)
  }

  /// Writes one frame, whole or not at all. Missing folders are made.
  public func write(_ frame: Frame, index: Int, text: [PNGFile.Text] = []) throws {
    try AtomicFile.write(PNGFile.encode(frame, text: text), to: url(index))
  }
}
