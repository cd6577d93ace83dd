/// Why a tokenizer folder cannot be used. Every case names the file.
public enum TokenizerError: Error, Equatable, CustomStringConvertible {
  /// Neither of the files a tokenizer can be read from is there.
  case missing(path: String, expected: String)
  /// The file cannot be read as what its name promises.
  case malformed(path: String, expected: String, found: String)
  /// The file is valid but asks for something this tokenizer does not do.
  case unsupported(path: String, component: String)
  /// A request no tokenizer can meet.
  case invalidLength(expected: String, found: Int)

  public var description: String {
    switch self {
    case .missing(let path, let expected): "\(path): expected \(expected), found neither"
    case .malformed(let path, let expected, let found): "\(path): expected \(expected), found \(found)"
    case .unsupported(let path, let component): "\(path): not supported: \(component)"
    case .invalidLength(let expected, let found): "sequence length: expected \(expected), found \(found)"
    }
  }
}
