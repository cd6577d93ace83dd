/// An image of 8-bit RGB pixels.
public struct Frame: Sendable, Hashable {
  /// Pixels across.
  public let width: Int
  /// Pixels down.
  public let height: Int
  /// `[height, width, 3]`, row after row, red first.
  public var pixels: [UInt8] { didSet { checkCount() } }

  /// - Parameter pixels: `[height, width, 3]`.
  public init(width: Int, height: Int, pixels: [UInt8]) {
    precondition(width > 0 && height > 0, "frame of \(width)x\(height)")
    self.width = width
    self.height = height
    self.pixels = pixels
    checkCount()
  }

  /// A frame of one colour.
  public init(width: Int, height: Int, red: UInt8, green: UInt8, blue: UInt8) {
    var pixels = [UInt8](repeating: red, count: width * height * 3)
    for i in stride(from: 0, to: pixels.count, by: 3) {
      pixels[i + 1] = green
      pixels[i + 2] = blue
    }
    self.init(width: width, height: height, pixels: pixels)
  }

  private func checkCount() {
    precondition(pixels.count == width * height * 3, "\(pixels.count) bytes for a frame of \(width)x\(height)")
  }
}
