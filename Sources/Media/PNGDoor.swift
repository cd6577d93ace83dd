import CPNG

/// The one place that calls libpng, through `CPNG`. Nothing unsafe leaves it.
enum PNGDoor {
  struct Limits {
    let extent: Int, pixelBytes: Int, textBytes: Int
  }

  /// Sizes are checked by the caller, and that no key or value contains a zero.
  static func encode(_ frame: Frame, text: [PNGFile.Text]) throws -> [UInt8] {
    var packed: [UInt8] = []
    for entry in text { packed += Array(entry.key.utf8) + [0] + Array(entry.value.utf8) + [0] }
    var message = [UInt8](repeating: 0, count: Int(CPNG_ERROR_SIZE))
    var buffer = unsafe CPNGBuffer()
    let status = unsafe cpng_encode(
      frame.pixels, UInt32(frame.width), UInt32(frame.height), packed, text.count, &buffer, &message)
    defer { unsafe cpng_free(&buffer) }
    guard status == 0 else { throw MediaError.cannotEncode(reason: string(message)) }
    return unsafe Array(UnsafeBufferPointer(start: buffer.bytes, count: buffer.count))
  }

  static func decode(_ bytes: [UInt8], limits: Limits) throws -> (frame: Frame, text: [PNGFile.Text]) {
    let accepted = CPNGLimits(
      max_extent: UInt32(limits.extent), max_pixel_bytes: UInt64(limits.pixelBytes),
      max_text_bytes: UInt64(limits.textBytes))
    var message = [UInt8](repeating: 0, count: Int(CPNG_ERROR_SIZE))
    var image = unsafe CPNGImage()
    let status = unsafe cpng_decode(bytes, bytes.count, accepted, &image, &message)
    defer { unsafe cpng_image_free(&image) }
    guard status == 0 else { throw MediaError.badPNG(reason: string(message)) }
    let width = unsafe Int(image.width), height = unsafe Int(image.height)
    let pixels = unsafe Array(UnsafeBufferPointer(start: image.pixels, count: width * height * 3))
    let packed = unsafe Array(UnsafeBufferPointer(start: image.texts, count: image.texts_count))
    return (Frame(width: width, height: height, pixels: pixels), unpack(packed))
  }

  /// Entries as `CPNG.h` lays them out: a letter for the encoding, key, zero, value, zero.
  private static func unpack(_ packed: [UInt8]) -> [PNGFile.Text] {
    var entries: [PNGFile.Text] = []
    var rest = packed[...]
    while let encoding = rest.popFirst() {
      func next() -> String {
        let bytes = rest.prefix { $0 != 0 }
        rest = rest.dropFirst(bytes.count + 1)
        return encoding == UInt8(ascii: "U")
          ? String(decoding: bytes, as: UTF8.self) : String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) }))
      }
      let key = next()
      entries.append((key, next()))
    }
    return entries
  }

  private static func string(_ message: [UInt8]) -> String {
    String(decoding: message.prefix { $0 != 0 }, as: UTF8.self)
  }
}
