import Tensors

/// Elements a worker takes at a time in elementwise loops.
private let blockSize = 1 << 15

private func forEachBlock(_ count: Int, _ body: (_ start: Int, _ count: Int) -> Void) {
  ThreadPool.shared.forEach((count + blockSize - 1) / blockSize) { block in
    let start = block * blockSize
    body(start, min(blockSize, count - start))
  }
}

/// An activation applied to every element.
public func activated(_ x: Tensor, _ activation: Activation) -> Tensor {
  x.writing(x.shape) { input, output in
    forEachBlock(x.count) { Door.activate(activation, $1, input + $0, output + $0) }
  }
}

/// `a + b`, of equal shapes.
public func add(_ a: Tensor, _ b: Tensor) -> Tensor { combine(a, b) { Door.add($0, $1, $2, $3) } }

/// `a * b` element by element, of equal shapes.
public func multiply(_ a: Tensor, _ b: Tensor) -> Tensor { combine(a, b) { Door.multiply($0, $1, $2, $3) } }

private func combine(_ a: Tensor, _ b: Tensor, _ body: (Int, Input, Input, Output) -> Void) -> Tensor {
  precondition(a.shape == b.shape, "elementwise: shapes \(a.shape) and \(b.shape)")
  return a.writing(a.shape) { x, output in
    b.withFloats { y in
      forEachBlock(a.count) { body($1, x + $0, y.baseAddress! + $0, output + $0) }
    }
  }
}

/// `a * x + b * y`, of equal shapes.
public func weightedSum(_ a: Float, _ x: Tensor, _ b: Float, _ y: Tensor) -> Tensor {
  precondition(x.shape == y.shape, "weighted sum: shapes \(x.shape) and \(y.shape)")
  var result = y.copied()
  x.withFloats { x in
    result.withMutableFloats { out in
      guard let input = x.baseAddress, let output = out.baseAddress else { return }
      forEachBlock(out.count) { Door.scaleAdd($1, a, input + $0, b, output + $0) }
    }
  }
  return result
}

/// `x * scale`.
public func scaled(_ x: Tensor, by scale: Float) -> Tensor { weightedSum(scale, x, 0, x) }

/// `x + gate * residual`: what ``linear(_:_:bias:onto:gate:)`` does on the way.
/// - Parameters:
///   - x: `[B, N, D]`.
///   - gate: `[B, D]`, or `[1, D]` for all of the batch.
///   - residual: `[B, N, D]`.
public func gateAdd(_ x: Tensor, gate: Tensor, _ residual: Tensor) -> Tensor {
  precondition(x.shape == residual.shape, "gated sum: shapes \(x.shape) and \(residual.shape)")
  let modulation = RowModulation(x, gate)
  return x.writing(x.shape) { input, output in
    gate.withFloats { gate in
      residual.withFloats { residual in
        modulation.forEachRow { row, vector in
          let start = row * modulation.width
          Door.gateAdd(
            modulation.width, input + start, gate.baseAddress! + vector, residual.baseAddress! + start, output + start)
        }
      }
    }
  }
}

/// Turns neighbouring channels, pairs `(2i, 2i + 1)`, by angles: rotary position embedding (Su et al. 2021,
/// arXiv:2104.09864), which ``rmsNormHeads(_:heads:epsilon:scale:angles:)`` does on the way.
/// - Parameters:
///   - x: `[..., N, d]`.
///   - cos, sin: `[N, d / 2]`, of each token's angles.
public func rotated(_ x: Tensor, cos: Tensor, sin: Tensor) -> Tensor {
  let size = x.shape[x.shape.count - 1], tokens = x.shape[x.shape.count - 2]
  precondition(cos.shape == [tokens, size / 2] && sin.shape == cos.shape && size % 2 == 0, "\(x.shape), \(cos.shape)")
  let block = max(1, blockSize / size)
  return x.writing(x.shape) { input, output in
    cos.withFloats { cos in
      sin.withFloats { sin in
        let rows = x.count / size
        ThreadPool.shared.forEach((rows + block - 1) / block) { item in
          for row in item * block..<min((item + 1) * block, rows) {
            let angle = row % tokens * (size / 2)
            Door.rotate(
              size / 2, cos.baseAddress! + angle, sin.baseAddress! + angle, input + row * size, output + row * size)
          }
        }
      }
    }
  }
}

/// Which `[B, D]` (or `[1, D]`) vector belongs to which row of `[B, N, D]`.
struct RowModulation {
  let width: Int, rows: Int, rowsPerVector: Int

  init(_ x: Tensor, _ vectors: Tensor?) {
    width = x.shape.last ?? 1
    rows = x.count / max(width, 1)
    let count = (vectors?.count ?? width) / max(width, 1)
    precondition(
      vectors == nil || vectors!.count == count * width && count > 0 && rows % count == 0,
      "modulation \(vectors!.shape) for \(x.shape)")
    rowsPerVector = max(rows / max(count, 1), 1)
  }

  /// Where a row's vector begins.
  func vector(of row: Int) -> Int { row / rowsPerVector * width }

  /// Calls `body` with each row and where its vector begins.
  func forEachRow(_ body: (_ row: Int, _ vector: Int) -> Void) {
    ThreadPool.shared.forEach(rows, grain: max(1, 16384 / max(width, 1))) { body($0, vector(of: $0)) }
  }
}
