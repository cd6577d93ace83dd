/// A seeded stream of standard normal values.
///
/// Noise is drawn in latent order before anything parallel, so a seed means the same picture on every machine.
public protocol RandomSource: Sendable {
  init(seed: UInt64)
  /// The next `shape.reduce(1, *)` normal values, as one call of the reference implementation would return them.
  mutating func normal(_ shape: [Int]) -> Tensor
}
