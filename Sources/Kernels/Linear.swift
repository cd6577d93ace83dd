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
  linear(PreparedRows(x, precision: weight.precision), weight, bias: bias, activation: activation)
}

/// The same for rows that several products share.
/// - Parameter x: `[..., inputs]`, prepared in the weight's precision.
public func linear(
  _ x: PreparedRows, _ weight: PreparedMatrix, bias: Tensor? = nil, activation: Activation? = nil
) -> Tensor {
  product(x, weight, bias) { panel, c in apply(activation, panel.rows.count, panel.columns.count, c, weight.outputs) }
}

/// `residual + gate * (x W^T + bias)`: a layer that ends a branch.
/// - Parameters:
///   - residual: `[B, N, outputs]`.
///   - gate: `[B, outputs]`, or `[1, outputs]` for all of the batch; `nil` is 1.
public func linear(
  _ x: PreparedRows, _ weight: PreparedMatrix, bias: Tensor? = nil, onto residual: Tensor, gate: Tensor? = nil
) -> Tensor {
  precondition(residual.count == x.count * weight.outputs, "\(x.shape) onto \(residual.shape)")
  let branch = BranchEnd(residual, gate, weight)
  return residual.withFloats { residual in
    withOptional(gate) { gate in
      product(x, weight, bias) { panel, c in branch.end(panel, c, residual.baseAddress!, gate) }
    }
  }
}

/// `x W^T + bias` with its outputs as heads.
/// - Parameter x: `[B, N, inputs]`.
/// - Returns: `[B, heads, N, outputs / heads]`.
public func linear(_ x: PreparedRows, _ weight: PreparedMatrix, bias: Tensor? = nil, heads: Int) -> Tensor {
  precondition(x.shape.count == 3 && weight.outputs % heads == 0, "\(heads) heads of \(weight.outputs) outputs")
  let (batch, tokens, size) = (x.shape[0], x.shape[1], weight.outputs / heads)
  var result = Tensor(uninitialized: [batch, heads, tokens, size])
  result.withMutableFloats { out in
    forEachPanel(of: x, weight, bias) { panel, multiply in
      let columns = panel.columns, c = PackedBuffer<Float>(count: panel.rows.count * columns.count)
      multiply(c.pointer, columns.count)
      for row in panel.rows {
        let line = c.pointer + (row - panel.rows.lowerBound) * columns.count
        var column = columns.lowerBound
        while column < columns.upperBound {
          let head = column / size, end = min((head + 1) * size, columns.upperBound)
          let to = ((row / tokens * heads + head) * tokens + row % tokens) * size + column - head * size
          (out.baseAddress! + to).update(from: line + column - columns.lowerBound, count: end - column)
          column = end
        }
      }
    }
  }
  return result
}

/// A panel of a product's result, computed by one thread.
struct ProductPanel {
  let rows: Range<Int>, columns: Range<Int>
}

/// All panels of a product, in place in a fresh tensor; `finish` is called with each while it is in the caches.
private func product(
  _ x: PreparedRows, _ weight: PreparedMatrix, _ bias: Tensor?, finish: (ProductPanel, _ c: Output) -> Void
) -> Tensor {
  var result = Tensor(uninitialized: x.shape.dropLast() + [weight.outputs])
  result.withMutableFloats { out in
    forEachPanel(of: x, weight, bias) { panel, multiply in
      let c = out.baseAddress! + panel.rows.lowerBound * weight.outputs + panel.columns.lowerBound
      multiply(c, weight.outputs)
      finish(panel, c)
    }
  }
  return result
}

/// Cuts a product into panels: whole columns of panels first, so that weights are read from memory once. Calls `body` with
/// each, and with what computes its results from `c` on, rows `ldc` apart.
private func forEachPanel(
  of x: PreparedRows, _ weight: PreparedMatrix, _ bias: Tensor?,
  _ body: (ProductPanel, _ multiply: (_ c: Output, _ ldc: Int) -> Void) -> Void
) {
  let m = x.count, n = weight.outputs
  precondition(x.width == weight.inputs, "linear: input \(x.shape) for a weight [\(n), \(weight.inputs)]")
  precondition(bias == nil || bias!.count == n, "linear: bias \(bias!.shape) for \(n) outputs")
  func forEach(height: Int, width: Int, _ body: (ProductPanel) -> Void) {
    let down = (m + height - 1) / height, across = (n + width - 1) / width
    ThreadPool.shared.forEach(down * across) { item in
      let row = item % down * height, column = item / down * width
      body(ProductPanel(rows: row..<min(row + height, m), columns: column..<min(column + width, n)))
    }
  }
  withOptional(bias) { bias in
    if case .streamed(let matrix) = weight.storage {
      let packed = x.packed
      forEach(height: 20 * Door.panel, width: matrix.outputsAtATime) { panel in
        body(panel) { matrix.multiply(panel.columns, packed, panel.rows, bias: bias, $0, ldc: $1) }
      }
      return
    }
    x.withRows { rows in
      let down = max(1, (m + 255) / 256), height = max(8, ((m + down - 1) / down + 7) / 8 * 8)
      forEach(height: height, width: 8 * Door.panel) { panel in
        body(panel) { rows.multiply(panel.rows, weight, panel.columns, bias: bias, $0, ldc: $1) }
      }
    }
  }
}

func apply(_ activation: Activation?, _ rows: Int, _ columns: Int, _ c: Output, _ ldc: Int) {
  guard let activation else { return }
  for row in 0..<rows { Door.activate(activation, columns, c + row * ldc, c + row * ldc) }
}

/// How a branch's last product is added to what the branch began from.
struct BranchEnd {
  private let modulation: RowModulation, outputs: Int

  init(_ residual: Tensor, _ gate: Tensor?, _ weight: PreparedMatrix) {
    precondition(residual.shape.last == weight.outputs, "\(weight.outputs) outputs onto \(residual.shape)")
    (modulation, outputs) = (RowModulation(residual, gate), weight.outputs)
  }

  /// Turns a panel of the product into the result, in place.
  func end(_ panel: ProductPanel, _ c: Output, _ residual: Input, _ gate: Input?) {
    let column = panel.columns.lowerBound, count = panel.columns.count
    for row in panel.rows {
      let line = c + (row - panel.rows.lowerBound) * outputs, x = residual + row * outputs + column
      if let gate {
        Door.gateAdd(count, x, gate + modulation.vector(of: row) + column, line, line)
      } else {
        Door.add(count, x, line, line)
      }
    }
  }
}
