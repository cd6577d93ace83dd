import Tensors

/// A model configuration that this program does not implement, or that contradicts itself.
public enum ModelError: Error, CustomStringConvertible, Equatable {
  /// A configuration key whose value is not implemented.
  case unsupported(model: String, key: String, value: String, supported: String)
  /// A number outside what makes sense.
  case invalid(model: String, key: String, value: String, expected: String)
  /// The first part of a model whose output holds infinities or NaN: `layer 3`, counted from 0 as in the weights' names,
  /// or a path in the checkpoint.
  case notFinite(part: String)

  public var description: String {
    switch self {
    case .unsupported(let model, let key, let value, let supported):
      return "\(model): \(key) '\(value)' is not supported; supported: \(supported)"
    case .invalid(let model, let key, let value, let expected):
      return "\(model): \(key) is \(value), expected \(expected)"
    case .notFinite(let part): return "\(part): its output holds infinities or NaN"
    }
  }
}

/// Throws unless `value` lies in `range`, so that no configuration can ask for absurd sizes.
func check(_ model: String, _ key: String, _ value: Int, in range: ClosedRange<Int>) throws {
  guard range.contains(value) else {
    throw ModelError.invalid(
      model: model, key: key, value: String(value), expected: "\(range.lowerBound) to \(range.upperBound)")
  }
}

/// Throws where a layer's output is no longer made of numbers.
func checkFinite(_ output: Tensor, layer: Int) throws { try checkFinite("layer \(layer)", output) }

/// Is shown what leaves each part of a model while it works, by the part's path in the checkpoint.
public typealias Witness = (_ part: String, _ output: Tensor) throws -> Void

/// A witness that throws at the first output that is no longer made of numbers.
public func checkFinite(_ part: String, _ output: Tensor) throws {
  guard output.isFinite else { throw ModelError.notFinite(part: part) }
}
