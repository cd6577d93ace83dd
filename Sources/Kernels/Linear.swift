import Tensors

/// `x W^T + bias`, then an activation.
/// - Parameters:
///   - x: `[..., inputs]`.
///   - weight: `[outputs, inputs]`, prepared.
///   - bias: `[outputs]`.
/// - Returns: `[..., outputs]`.
///
/// Rows and outputs are cut into fixed panels, each computed by one thread: the bytes do not depend on the thread count.
public func linear(_ x: Tensor, _ weight: PreparedMatrix, bias: Tensor? = nil, activation: Activation? = nil) -> Tensor
{
  let k = weight.inputs, n = weight.outputs
  precondition(x.shape.last == k, "linear: input \(x.shape) for a weight [\(n), \(k)]")
  precondition(bias == nil || bias!.count == n, "linear: bias \(bias!.shape) for \(n) outputs")
  let m = x.count / max(k, 1)
  let shape = x.shape.dropLast() + [n]
  return x.writing(Array(shape)) { input, output in
    withOptional(bias) { bias in
      switch weight.storage {
      case .float32(let packed):
        forEachPanel(m, n) { row, rows, column, columns in
          let c = output + row * n + column
          Door.gemm(
            rows, columns, k, input + row * k, lda: k, packed.pointer + column * k, bias: bias.map { $0 + column },
            accumulate: false, c, ldc: n)
          apply(activation, rows, columns, c, n)
        }
      case .bfloat16(let packed):
        let lda = (k + 1) / 2 * 2
        let narrow = PackedBuffer<UInt16>(count: m * lda)
        ThreadPool.shared.forEach((m + 31) / 32) { block in
          let row = block * 32
          Door.rowsToBF16(min(32, m - row), k, input + row * k, k, narrow.pointer + row * lda, lda)
        }
        forEachPanel(m, n) { row, rows, column, columns in
          let c = output + row * n + column
          Door.gemmBF16(
            rows, columns, k, narrow.pointer + row * lda, lda: lda, packed.pointer + column * (lda / 2),
            bias: bias.map { $0 + column }, accumulate: false, c, ldc: n)
          apply(activation, rows, columns, c, n)
        }
      case .int8(let packed):
        let lda = (k + 3) / 4 * 4
        let narrow = PackedBuffer<UInt8>(count: m * lda), scales = PackedBuffer<Float>(count: m)
        ThreadPool.shared.forEach((m + 31) / 32) { block in
          let row = block * 32
          Door.rowsToInt8(
            min(32, m - row), k, input + row * k, k, narrow.pointer + row * lda, lda, scales: scales.pointer + row)
        }
        forEachPanel(m, n) { row, rows, column, columns in
          let c = output + row * n + column
          Door.gemmInt8(
            rows, columns, lda / 4, narrow.pointer + row * lda, lda: lda, rowScales: scales.pointer + row,
            packed.words.pointer + column * (lda / 4), scales: packed.scales.pointer + column,
            offsets: packed.offsets.pointer + column, bias: bias.map { $0 + column }, c, ldc: n)
          apply(activation, rows, columns, c, n)
        }
      }
    }
  }
}

private func apply(_ activation: Activation?, _ rows: Int, _ columns: Int, _ c: Output, _ ldc: Int) {
  guard let activation else { return }
  for row in 0..<rows { Door.activate(activation, columns, c + row * ldc, c + row * ldc) }
}

/// Cuts `m x n` into panels of fixed size, whole rows of panels first.
private func forEachPanel(
  _ m: Int, _ n: Int, _ body: (_ row: Int, _ rows: Int, _ column: Int, _ columns: Int) -> Void
) {
  let rows = 128, columns = 512
  let across = (n + columns - 1) / columns
  ThreadPool.shared.forEach((m + rows - 1) / rows * across) { item in
    let row = item / across * rows, column = item % across * columns
    body(row, min(rows, m - row), column, min(columns, n - column))
  }
}
