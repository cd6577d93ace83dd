import Tensors

/// A place in a component's weights: the store and a dotted path. Layers pull their tensors from a scope at init, so a
/// layer's init is its weight map.
public struct WeightScope: Sendable {
  public let store: WeightStore
  /// Path from the root, without a trailing dot.
  public let path: String
  /// The type that matrices are prepared in below this scope.
  public let precision: Precision
  /// Whether matrices below this scope are used so seldom that they are better left in the file, and checked when used.
  public var isStreamed = false

  /// The scope of a child, such as `weights["transformer_blocks"][3]["attn1"]`.
  public subscript(_ child: String) -> WeightScope {
    WeightScope(store: store, path: full(child), precision: precision, isStreamed: isStreamed)
  }
  /// The scope of a numbered child.
  public subscript(_ index: Int) -> WeightScope { self[String(index)] }

  /// The same place, with matrices prepared in another type.
  public func with(_ precision: Precision) -> WeightScope {
    WeightScope(store: store, path: path, precision: precision, isStreamed: isStreamed)
  }

  /// The same place, with matrices left in the file.
  public var streamed: WeightScope { WeightScope(store: store, path: path, precision: precision, isStreamed: true) }

  /// Whether the checkpoint has this tensor.
  public func contains(_ name: String) -> Bool { store.find(full(name)) != nil }

  /// The shape of a tensor, without counting it as read.
  public func shape(of name: String) -> [Int]? { store.find(full(name))?.shape }

  /// Counts a tensor as read that is known to be unused, such as a position table that is computed instead.
  public func skip(_ name: String) { _ = try? store.take(full(name)) }

  /// A tensor where it lies, its shape checked, and that its values are numbers.
  /// - Parameter isChecked: `false` where only a few entries will be read, so that the others are better left untouched,
  ///   or where who reads them checks them.
  public func stored(_ name: String, _ shape: [Int], isChecked: Bool = true) throws -> StoredTensor {
    let tensor = try store.take(full(name))
    guard tensor.shape == shape else {
      throw CheckpointError.wrongShape(name: full(name), path: store.path, expected: shape, found: tensor.shape)
    }
    guard [.float32, .float16, .bfloat16, .float64].contains(tensor.type) else {
      throw CheckpointError.wrongType(name: full(name), path: store.path, found: tensor.type.rawValue)
    }
    guard !isChecked || tensor.isFinite else { throw CheckpointError.notFinite(name: full(name), path: store.path) }
    return tensor
  }

  /// A tensor as Float32, shape-checked; a copy, since a few values used in each step would hold many pages of the file.
  public func tensor(_ name: String, _ shape: Int...) throws -> Tensor {
    try prepared(name, shape) { $0.floats().copied() }
  }

  /// What `prepare` makes of a tensor, shape-checked. The system may drop its pages of the file then: what was made is what
  /// is read from now on.
  public func prepared<Result>(_ name: String, _ shape: [Int], _ prepare: (StoredTensor) -> Result) throws -> Result {
    let tensor = try stored(name, shape)
    defer { tensor.discardPages() }
    return prepare(tensor)
  }

  /// Notes what was wrong with a tensor that is read while it is used: values that are no numbers, or bytes that could not
  /// be read. ``verifyUsed()`` throws it.
  public func report(_ name: String, _ isNotFinite: Bool) {
    store.fault.withLock {
      $0 =
        isNotFinite
        ? .notFinite(name: full(name), path: store.path)
        : .malformed(path: store.path, reason: "tensor '\(full(name))' could not be read")
    }
  }

  /// Throws what was reported last.
  public func verifyUsed() throws { if let fault = store.fault.withLock({ $0 }) { throw fault } }

  /// Lets the system drop the file's pages below this scope, once prepared copies are what is read from now on.
  public func releasePages() { store.discardPages(below: path) }

  private func full(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }
}
