/// What can go wrong with pictures and the files that hold them.
public enum MediaError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A file or its folder cannot be written; `reason` is the system's.
  case cannotWrite(path: String, reason: String)
  /// The bytes are no PNG image this library reads.
  case badPNG(reason: String)
  /// A PNG cannot be made of what was given.
  case cannotEncode(reason: String)

  /// A video format that is not known, or settings it does not have; `reason` lists the known ones.
  case badFormat(reason: String)
  /// FFmpeg's libraries were built without an encoder, a decoder or a container.
  case unavailable(reason: String)
  /// A video cannot be made of what was given.
  case cannotEncodeVideo(reason: String)
  /// A file is no video this library reads, or a damaged one.
  case badVideo(path: String, reason: String)

  public var description: String {
    switch self {
    case .cannotWrite(let path, let reason): "cannot write \(path): \(reason)"
    case .badPNG(let reason): "bad PNG: \(reason)"
    case .cannotEncode(let reason): "cannot encode PNG: \(reason)"
    case .badFormat(let reason): reason
    case .unavailable(let reason): "not available: \(reason)"
    case .cannotEncodeVideo(let reason): "cannot encode video: \(reason)"
    case .badVideo(let path, let reason): "bad video \(path): \(reason)"
    }
  }
}
