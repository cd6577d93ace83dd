import Tensors

/// `residual + gate * (activation(x A^T + a) B^T + b)`, in chunks of rows: the wide hidden rows never exist as a whole.
/// - Parameters:
///   - x: `[B, N, D]`, prepared in the weights' precision.
///   - input, output: `A` `[hidden, D]` and `B` `[D', hidden]`.
///   - residual: `[B, N, D']`.
///   - gate: `[B, D']`, or `[1, D']` for all of the batch; `nil` is 1.
/// - Returns: `[B, N, D']`: the bytes of the two products by themselves.
public func feedForward(
  _ x: PreparedRows, _ input: (weight: PreparedMatrix, bias: Tensor?), _ activation: Activation,
  _ output: (weight: PreparedMatrix, bias: Tensor?), onto residual: Tensor, gate: Tensor? = nil
) -> Tensor {
  let count = x.count, hidden = input.weight.outputs, outputs = output.weight.outputs
  precondition(x.width == input.weight.inputs && hidden == output.weight.inputs, "feed-forward of \(x.shape)")
  precondition(residual.count == count * outputs, "feed-forward of \(x.shape) onto \(residual.shape)")
  // Whole rows, enough for a thread to reuse weights, few enough for many threads to have some.
  let block = min(256, max(16, (count / 32 + 7) / 8 * 8))
  let branch = BranchEnd(residual, gate, output.weight)
  return residual.writing(residual.shape) { residual, result in
    withOptional(gate) { gate in
      withOptional(input.bias) { inputBias in
        withOptional(output.bias) { outputBias in
          x.withRows { rows in
            ThreadPool.shared.forEach((count + block - 1) / block) { item in
              let panel = ProductPanel(rows: item * block..<min((item + 1) * block, count), columns: 0..<outputs)
              let c = result + panel.rows.lowerBound * outputs
              HiddenRows(panel.rows.count, hidden, output.weight.precision).with(
                rows, panel.rows, input.weight, inputBias, activation
              ) { hidden in
                hidden.multiply(0..<panel.rows.count, output.weight, panel.columns, bias: outputBias, c, ldc: outputs)
              }
              branch.end(panel, c, residual, gate)
            }
          }
        }
      }
    }
  }
}

/// The hidden rows of one chunk.
private struct HiddenRows {
  let count: Int, width: Int, precision: Precision
  /// Outputs computed at a time.
  private static let columns = 8 * Door.panel

  init(_ count: Int, _ width: Int, _ precision: Precision) {
    (self.count, self.width, self.precision) = (count, width, precision)
  }

  /// Computes the rows and calls `body` with them.
  func with(
    _ x: OperandRows, _ rows: Range<Int>, _ weight: PreparedMatrix, _ bias: Input?, _ activation: Activation,
    _ body: (OperandRows) -> Void
  ) {
    let stride = OperandRows.stride(width, precision)
    func forEachPart(_ c: Output, _ ldc: Int, _ body: (_ columns: Range<Int>, _ c: Output) -> Void) {
      for column in Swift.stride(from: 0, to: width, by: Self.columns) {
        let columns = column..<min(column + Self.columns, width), part = ldc == width ? c + column : c
        x.multiply(rows, weight, columns, bias: bias, part, ldc: ldc)
        apply(activation, count, columns.count, part, ldc)
        body(columns, part)
      }
    }
    switch precision {
    case .float32:
      let values = PackedBuffer<Float>(count: count * width)
      forEachPart(values.pointer, width) { _, _ in }
      body(.float32(values.pointer, stride: width))
    case .bfloat16:
      // Each part becomes bf16 at once: only that much exists in Float32.
      let part = PackedBuffer<Float>(count: count * Self.columns), narrow = PackedBuffer<UInt16>(count: count * stride)
      forEachPart(part.pointer, Self.columns) { columns, c in
        let padded = columns.upperBound == width ? stride - columns.lowerBound : columns.count
        for row in 0..<count {
          Door.rowsToBF16(
            1, columns.count, c + row * Self.columns, Self.columns,
            narrow.pointer + row * stride + columns.lowerBound, padded)
        }
      }
      body(.bfloat16(narrow.pointer, stride: stride))
    case .int8:
      // A row's scale needs the whole row.
      let values = PackedBuffer<Float>(count: count * width), scales = PackedBuffer<Float>(count: count)
      let narrow = PackedBuffer<UInt8>(count: count * stride)
      forEachPart(values.pointer, width) { _, _ in }
      Door.rowsToInt8(count, width, values.pointer, width, narrow.pointer, stride, scales: scales.pointer)
      body(.int8(narrow.pointer, stride: stride, scales: scales.pointer))
    }
  }
}
