import Tensors

/// `x W^T + bias`, then an activation.
/// - Parameters:
///   - x: `[..., inputs]`.
///   - weight: `[outputs, inputs]`, prepared.
///   - bias: `[outputs]`.
/// - Returns: `[..., outputs]`.
///
/// Rows and outputs are cut into fixed panels, each computed by one thread: the bytes do not depend on the thread count.
public func linear(_ x: Tensor, _ weight: PreparedMatrix, bias: Tensor? = nil, activation: Activation? = nil) -> Tensor {
  let k = weight.inputs, n = weight.outputs
  precondition(x.shape.last == k, "linear: input \(x.shape) for a weight [\(n), \(k)]")
  precondition(bias == nil || bias!.count == n, "linear: bias \(bias!.shape) for \(n) outputs")
  let m = x.count / max(k, 1)
  let shape = x.shape.dropLast() + [n]
  return x.writing(Array(shape)) { input, output in
    withOptional(bias) { bias in
      switch weight.storage {
      case .plain(let matrix):
        matrix.withFloats { linearF32(m, n, k, input, $0.baseAddress!, bias, activation, output) }
      case .packed(let packed): linearBF16(m, n, k, input, packed, bias, activation, output)
      }
    }
  }
}

/// `a b^T` for two tensors in Float32: `[..., M, K]` by `[N, K]`.
public func matmulTransposed(_ a: Tensor, _ b: Tensor) -> Tensor { linear(a, PreparedMatrix(b, precision: .float32)) }

private func linearF32(
  _ m: Int, _ n: Int, _ k: Int, _ x: Input, _ w: Input, _ bias: Input?, _ activation: Activation?, _ y: Output
) {
  forEachPanel(m, n, rows: 256, columns: 512) { row, rows, column, columns in
    let c = y + row * n + column
    if let bias { for r in 0..<rows { (c + r * n).update(from: bias + column, count: columns) } }
    Door.sgemm(
      transposed: true, rows, columns, k, alpha: 1, x + row * k, lda: k, w + column * k, ldb: k,
      beta: bias == nil ? 0 : 1, c, ldc: n)
    if let activation { for r in 0..<rows { Door.activate(activation, columns, c + r * n, c + r * n) } }
  }
}

private func linearBF16(
  _ m: Int, _ n: Int, _ k: Int, _ x: Input, _ w: PackedBuffer<UInt32>, _ bias: Input?, _ activation: Activation?,
  _ y: Output
) {
  let lda = (k + 1) / 2 * 2
  let narrow = PackedBuffer<UInt16>(count: m * lda)
  ThreadPool.shared.forEach((m + 31) / 32) { block in
    let row = block * 32
    Door.rowsToBF16(min(32, m - row), k, x + row * k, k, narrow.pointer + row * lda, lda)
  }
  forEachPanel(m, n, rows: 128, columns: 512) { row, rows, column, columns in
    let c = y + row * n + column
    Door.gemmBF16(
      rows, columns, k, narrow.pointer + row * lda, lda: lda, w.pointer + column * (lda / 2),
      bias: bias.map { $0 + column }, accumulate: false, c, ldc: n)
    if let activation { for r in 0..<rows { Door.activate(activation, columns, c + r * n, c + r * n) } }
  }
}

/// Cuts `m x n` into panels of fixed size, whole rows of panels first.
private func forEachPanel(
  _ m: Int, _ n: Int, rows: Int, columns: Int, _ body: (_ row: Int, _ rows: Int, _ column: Int, _ columns: Int) -> Void
) {
  let across = (n + columns - 1) / columns
  ThreadPool.shared.forEach((m + rows - 1) / rows * across) { item in
    let row = item / across * rows, column = item % across * columns
    body(row, min(rows, m - row), column, min(columns, n - column))
  }
}
