import Kernels
import Tensors

/// The one thing a model block calls for self-attention. Which keys each query reads is the engine's business.
public protocol AttentionEngine: AnyObject {
  /// - Parameters:
  ///   - q, k, v: `[B, h, N, d]` in model order, after normalisation and rotary embedding.
  ///   - site: where in the run the call happens.
  /// - Returns: `[B, h, N, d]`.
  func callAsFunction(_ q: Tensor, _ k: Tensor, _ v: Tensor, at site: AttentionSite) throws -> Tensor
  /// What was computed so far.
  var statistics: AttentionStatistics { get }
}

/// Counts over all self-attention calls of a run.
public struct AttentionStatistics: Sendable, Equatable {
  public var calls = 0
  /// Query-key pairs computed, and pairs that dense attention would compute.
  public var keptPairs = 0.0, densePairs = 0.0
  /// Seconds spent computing.
  public var seconds = 0.0
  /// Seconds by layer.
  public var secondsByLayer: [Double] = []
  public init() {}
  /// Share of query-key pairs kept, over the whole run.
  public var density: Double { densePairs == 0 ? 1 : keptPairs / densePairs }
}

/// Every query reads every key.
public final class DenseAttention: AttentionEngine {
  public private(set) var statistics = AttentionStatistics()

  public init() {}

  public func callAsFunction(_ q: Tensor, _ k: Tensor, _ v: Tensor, at site: AttentionSite) throws -> Tensor {
    let clock = ContinuousClock()
    let start = clock.now
    let result = denseAttention(q, k, v, scale: 1 / Float(q.shape[3]).squareRoot())
    let seconds = (clock.now - start) / .seconds(1)
    let pairs = Double(q.shape[0] * q.shape[1] * q.shape[2]) * Double(k.shape[2])
    statistics.calls += 1
    statistics.keptPairs += pairs
    statistics.densePairs += pairs
    statistics.seconds += seconds
    if statistics.secondsByLayer.count < site.layerCount {
      statistics.secondsByLayer += Array(
        repeating: 0, count: site.layerCount - statistics.secondsByLayer.count)
    }
    statistics.secondsByLayer[site.layer] += seconds
    return result
  }
}
