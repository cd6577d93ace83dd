import Kernels
import Tensors

/// Computes exactly what a plan keeps.
public protocol AttentionExecutor: Sendable {
  /// - Parameters:
  ///   - q: `[B, h, N, d]`, model order, as are `k`, `v` and the result.
  ///   - k, v: `[B, h, M, d]`.
  ///   - plan: `nil` is dense.
  /// - Returns: `[B, h, N, d]`.
  func attend(_ q: Tensor, _ k: Tensor, _ v: Tensor, plan: BlockPlan?, scale: Float) throws -> Tensor
}

/// The fast one: dropped blocks cost nothing.
public struct BlockSparseExecutor: AttentionExecutor {
  public let precision: Precision
  public init(_ precision: Precision) { self.precision = precision }

  public func attend(_ q: Tensor, _ k: Tensor, _ v: Tensor, plan: BlockPlan?, scale: Float) throws -> Tensor {
    blockSparseAttention(q, k, v, scale: scale, precision: precision, heads: plan?.headPatterns)
  }
}

/// The oracle: one query after another over the keys its plan names, sums in Float64.
public struct ReferenceExecutor: AttentionExecutor {
  public init() {}

  public func attend(_ q: Tensor, _ k: Tensor, _ v: Tensor, plan: BlockPlan?, scale: Float) throws -> Tensor {
    let dense = HeadPattern.dense(queries: q.shape[2], keys: k.shape[2])
    return Reference.blockSparseAttention(
      q, k, v, scale: Double(scale), heads: plan?.headPatterns ?? Array(repeating: dense, count: q.shape[1]))
  }
}
