/// A seeded stream of standard normal values.
///
/// Noise is drawn in latent order before anything parallel, so a seed means the same picture on every machine.
public protocol RandomSource: Sendable {
  /// All that decides the values still to come; saved with an interrupted run and set again to resume it.
  associatedtype State: Codable, Sendable, Hashable
  init(seed: UInt64)
  /// The next `shape.reduce(1, *)` normal values, as one call of the reference implementation would return them.
  mutating func normal(_ shape: [Int]) -> Tensor
  var state: State { get set }
}

extension RandomSource {
  /// A stream by a signed seed: negative ones count back from 2^64, as in `torch.Generator.manual_seed`.
  public init(signedSeed seed: Int64) { self.init(seed: UInt64(bitPattern: seed)) }
}
