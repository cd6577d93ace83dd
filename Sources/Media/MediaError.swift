/// What can go wrong with pictures and the files that hold them.
public enum MediaError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A file or its folder cannot be written; `reason` is the system's.
  case cannotWrite(path: String, reason: String)
  /// The bytes are no PNG image this library reads.
  case badPNG(reason: String)
  /// A PNG cannot be made of what was given.
  case cannotEncode(reason: String)

  public var description: String {
    switch self {
    case .cannotWrite(let path, let reason): "cannot write \(path): \(reason)"
    case .badPNG(let reason): "bad PNG: \(reason)"
    case .cannotEncode(let reason): "cannot encode PNG: \(reason)"
    }
  }
}
