/// PNG images in memory: 8-bit RGB, with text in iTXt chunks.
public enum PNGFile {
  /// One text entry: a keyword of 1 to 79 Latin-1 characters and any text.
  public typealias Text = (key: String, value: String)

  /// Extents above this are refused, in pixels.
  public static let maxExtent = 65_536
  /// Decoded pixels above this are refused, in bytes.
  public static let maxPixelBytes = 1 << 30
  /// Text above this is refused, in bytes of one image.
  public static let maxTextBytes = 16 << 20

  /// The bytes of a PNG file. The same frame and text give the same bytes.
  ///
  /// Text of 1024 bytes and more is compressed. No colour profile is written: readers take such files as sRGB.
  public static func encode(_ frame: Frame, text: [Text] = []) throws -> [UInt8] {
    guard frame.width <= maxExtent, frame.height <= maxExtent, frame.pixels.count <= maxPixelBytes else {
      throw MediaError.cannotEncode(reason: "\(frame.width)x\(frame.height) is too large")
    }
    var total = 0
    for entry in text {
      try checkKey(entry.key)
      if entry.value.utf8.contains(0) { throw MediaError.cannotEncode(reason: "text '\(entry.key)' contains a zero") }
      total += entry.key.utf8.count + entry.value.utf8.count
    }
    if total > maxTextBytes { throw MediaError.cannotEncode(reason: "\(total) bytes of text") }
    return try PNGDoor.encode(frame, text: text)
  }

  /// The image and its text entries (tEXt, zTXt and iTXt) in file order.
  ///
  /// Palettes and grey are expanded to RGB, 16 bits scaled to 8, alpha dropped.
  public static func decode(_ bytes: [UInt8]) throws -> (frame: Frame, text: [Text]) {
    let limits = PNGDoor.Limits(extent: maxExtent, pixelBytes: maxPixelBytes, textBytes: maxTextBytes)
    try checkChunks(bytes)
    return try PNGDoor.decode(bytes, limits: limits)
  }

  /// Throws unless every chunk lies within the file: libpng makes room for a chunk before it reads it.
  private static func checkChunks(_ bytes: [UInt8]) throws {
    guard bytes.starts(with: [0x89, 0x50, 0x4e, 0x47]) else { return }
    var start = 8
    while start + 8 <= bytes.count {
      let length = bytes[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
      guard length <= bytes.count - start - 8 else {
        throw MediaError.badPNG(reason: "a chunk of \(length) bytes at byte \(start) of \(bytes.count): truncated?")
      }
      if bytes[start + 4..<start + 8].elementsEqual("IEND".utf8) { return }
      start += 12 + length
    }
  }

  /// The PNG specification's rule for keywords (11.3.3.2), narrowed to ASCII.
  private static func checkKey(_ key: String) throws {
    let bytes = Array(key.utf8)
    let printable = bytes.allSatisfy { (0x20...0x7e).contains($0) }
    let spaced = bytes.first == 0x20 || bytes.last == 0x20 || key.contains("  ")
    guard (1...79).contains(bytes.count), printable, !spaced else {
      throw MediaError.cannotEncode(reason: "text key '\(key)' is not 1 to 79 printable ASCII characters")
    }
  }
}
