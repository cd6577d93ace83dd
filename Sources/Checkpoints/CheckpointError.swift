/// What can be wrong with weight files: what, where, expected and found.
public enum CheckpointError: Error, CustomStringConvertible, Equatable {
  /// No weights where a component's should be.
  case missing(path: String, reason: String)
  /// Only pickle files, which are never read.
  case pickleOnly(folder: String, file: String)
  /// Not a readable safetensors file, or an index that does not hold together.
  case malformed(path: String, reason: String)
  /// The model wants a tensor that the files lack.
  case missingTensor(name: String, path: String)
  /// A tensor of another shape than the configuration implies.
  case wrongShape(name: String, path: String, expected: [Int], found: [Int])
  /// A tensor of a type that cannot hold weights.
  case wrongType(name: String, path: String, found: String)
  /// Tensors in the files that the model never asked for.
  case unread(path: String, names: [String])
  /// Values that are not numbers.
  case notFinite(name: String, path: String)

  public var description: String {
    switch self {
    case .missing(let path, let reason): return "\(path): \(reason)"
    case .pickleOnly(let folder, let file):
      return """
        \(folder): only pickled weights (\(file)), which are not read; convert them once with diffusers: \
        pipeline.save_pretrained(folder, safe_serialization=True)
        """
    case .malformed(let path, let reason): return "\(path): \(reason)"
    case .missingTensor(let name, let path): return "\(path): no tensor '\(name)'"
    case .wrongShape(let name, let path, let expected, let found):
      return "\(path): tensor '\(name)' has shape \(found), expected \(expected)"
    case .wrongType(let name, let path, let found):
      return "\(path): tensor '\(name)' has type \(found), expected F32, F16, BF16 or F64"
    case .unread(let path, let names):
      let shown = names.prefix(3).map { "'\($0)'" }.joined(separator: ", ")
      return "\(path): \(names.count) tensors this model does not have: \(shown)" + (names.count > 3 ? ", ..." : "")
    case .notFinite(let name, let path): return "\(path): tensor '\(name)' holds infinities or NaN"
    }
  }
}
