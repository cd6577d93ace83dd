import Foundation
import Tensors

/// The plain version of every operation: nested loops over `[Float]`, sums in Float64. Slow for good, and kept as the
/// oracle that the fast versions are measured against.
public enum Reference {
  /// See ``linear(_:_:bias:activation:)``; `weight` is `[outputs, inputs]`.
  public static func linear(_ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, activation: Activation? = nil) -> Tensor
  {
    let (n, k) = (weight.shape[0], weight.shape[1]), m = x.count / k
    let (a, w, b) = (x.elements, weight.elements, bias?.elements)
    var y = [Float](repeating: 0, count: m * n)
    for i in 0..<m {
      for j in 0..<n {
        var sum = Double(b?[j] ?? 0)
        for l in 0..<k { sum += Double(a[i * k + l]) * Double(w[j * k + l]) }
        y[i * n + j] = Float(activation.map { apply($0, sum) } ?? sum)
      }
    }
    return Tensor(x.shape.dropLast() + [n], y)
  }

  /// The activation's definition, in Float64.
  public static func apply(_ activation: Activation, _ x: Double) -> Double {
    switch activation {
    case .geluTanh: 0.5 * x * (1 + Foundation.tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
    case .geluErf: 0.5 * x * (1 + erf(x / 2.0.squareRoot()))
    case .silu: x / (1 + exp(-x))
    case .relu: max(x, 0)
    case .tanh: Foundation.tanh(x)
    }
  }

  public static func activated(_ x: Tensor, _ activation: Activation) -> Tensor {
    x.map { Float(apply(activation, Double($0))) }
  }

  /// See ``layerNorm(_:epsilon:scale:shift:)``; with `onePlus` the adaptive form, vectors `[B, D]`.
  public static func layerNorm(
    _ x: Tensor, epsilon: Double, scale: Tensor? = nil, shift: Tensor? = nil, onePlus: Bool = false
  ) -> Tensor {
    byRow(x, scale, shift) { row, scale, shift in
      let mean = row.reduce(0, +) / Double(row.count)
      let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(row.count)
      return row.indices.map {
        (row[$0] - mean) / (variance + epsilon).squareRoot() * ((onePlus ? 1 : 0) + (scale?[$0] ?? 1))
          + (shift?[$0] ?? 0)
      }
    }
  }

  public static func rmsNorm(_ x: Tensor, epsilon: Double, scale: Tensor) -> Tensor {
    byRow(x, scale, nil) { row, scale, _ in
      let square = row.reduce(0) { $0 + $1 * $1 } / Double(row.count)
      return row.indices.map { row[$0] / (square + epsilon).squareRoot() * scale![$0] }
    }
  }

  private static func byRow(
    _ x: Tensor, _ scale: Tensor?, _ shift: Tensor?, _ body: ([Double], [Double]?, [Double]?) -> [Double]
  ) -> Tensor {
    let size = x.shape.last!, rows = x.count / size, values = x.elements
    func vector(_ tensor: Tensor?, _ row: Int) -> [Double]? {
      guard let tensor else { return nil }
      let start = row / (rows / (tensor.count / size)) * size
      return tensor.elements[start..<start + size].map(Double.init)
    }
    var y: [Float] = []
    for row in 0..<rows {
      let line = values[row * size..<(row + 1) * size].map(Double.init)
      y += body(line, vector(scale, row), vector(shift, row)).map(Float.init)
    }
    return Tensor(x.shape, y)
  }

  /// See ``groupNorm(_:groups:epsilon:scale:shift:silu:)``.
  public static func groupNorm(
    _ x: Tensor, groups: Int, epsilon: Double, scale: Tensor, shift: Tensor, silu: Bool
  ) -> Tensor {
    let batch = x.shape[0], channels = x.shape[3], pixels = x.shape[1] * x.shape[2], width = channels / groups
    var values = x.elements
    let (s, t) = (scale.elements, shift.elements)
    for b in 0..<batch {
      for group in 0..<groups {
        let indices = (0..<pixels).flatMap { p in
          (0..<width).map { (b * pixels + p) * channels + group * width + $0 }
        }
        let mean = indices.reduce(0) { $0 + Double(values[$1]) } / Double(indices.count)
        let variance =
          indices.reduce(0) { $0 + (Double(values[$1]) - mean) * (Double(values[$1]) - mean) } / Double(indices.count)
        for i in indices {
          let y =
            (Double(values[i]) - mean) / (variance + epsilon).squareRoot() * Double(s[i % channels])
            + Double(t[i % channels])
          values[i] = Float(silu ? apply(.silu, y) : y)
        }
      }
    }
    return Tensor(x.shape, values)
  }

  /// See ``conv2d(_:_:bias:stride:padding:)``; `weight` is `[outputs, inputs, k, k]`.
  public static func conv2d(_ x: Tensor, _ weight: Tensor, bias: Tensor?, stride: Int, padding: Padding) -> Tensor {
    let (batch, height, width, inputs) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    let (outputs, kh, kw) = (weight.shape[0], weight.shape[2], weight.shape[3])
    let outHeight = (height + padding.top + padding.bottom - kh) / stride + 1
    let outWidth = (width + padding.left + padding.right - kw) / stride + 1
    let (a, w, b) = (x.elements, weight.elements, bias?.elements)
    var result: [Float] = []
    for sample in 0..<batch {
      for y in 0..<outHeight {
        for x in 0..<outWidth {
          for o in 0..<outputs {
            var sum = Double(b?[o] ?? 0)
            for dy in 0..<kh {
              for dx in 0..<kw {
                let (row, column) = (y * stride + dy - padding.top, x * stride + dx - padding.left)
                guard row >= 0, row < height, column >= 0, column < width else { continue }
                for i in 0..<inputs {
                  sum +=
                    Double(a[((sample * height + row) * width + column) * inputs + i])
                    * Double(w[((o * inputs + i) * kh + dy) * kw + dx])
                }
              }
            }
            result.append(Float(sum))
          }
        }
      }
    }
    return Tensor([batch, outHeight, outWidth, outputs], result)
  }

  /// See ``denseAttention(_:_:_:scale:keyBias:scoreBias:)``.
  public static func attention(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, scale: Double, keyBias: Tensor? = nil, scoreBias: Tensor? = nil
  ) -> Tensor {
    let (batch, heads, queries, size) = (q.shape[0], q.shape[1], q.shape[2], q.shape[3]), keys = k.shape[2]
    let (a, b, c) = (q.elements, k.elements, v.elements)
    let (keyBias, scoreBias) = (keyBias?.elements, scoreBias?.elements)
    var result: [Float] = []
    for pair in 0..<batch * heads {
      for i in 0..<queries {
        var scores = (0..<keys).map { j in
          var sum = 0.0
          for l in 0..<size {
            sum += Double(a[(pair * queries + i) * size + l]) * Double(b[(pair * keys + j) * size + l])
          }
          return sum * scale + Double(keyBias?[pair / heads * keys + j] ?? 0)
            + Double(scoreBias?[(pair % heads * queries + i) * keys + j] ?? 0)
        }
        let largest = scores.max() ?? 0
        scores = scores.map { exp($0 - largest) }
        let total = scores.reduce(0, +)
        for l in 0..<size {
          var sum = 0.0
          for j in 0..<keys { sum += scores[j] * Double(c[(pair * keys + j) * size + l]) }
          result.append(Float(sum / total))
        }
      }
    }
    return Tensor(q.shape, result)
  }

  /// See ``blockSparseAttention(_:_:_:scale:precision:heads:)``: every query over the keys that its pattern names, one
  /// after another.
  /// - Parameter rows: queries computed, as model tokens; the others' results are zero. All by default.
  public static func blockSparseAttention(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, scale: Double, heads patterns: [HeadPattern], queries rows: [Int]? = nil
  ) -> Tensor {
    let (heads, queries, size, keys) = (q.shape[1], q.shape[2], q.shape[3], k.shape[2])
    let (a, b, c) = (q.elements, k.elements, v.elements), wanted = rows.map(Set.init)
    var result = [Float](repeating: 0, count: q.count)
    for pair in 0..<q.shape[0] * heads {
      let head = patterns[pair % heads], pattern = head.pattern
      for row in 0..<pattern.rows {
        let read = pattern.keptColumns(row).flatMap { column in
          (pattern.keyStarts[column]..<pattern.keyStarts[column + 1]).map { Int(head.keyOrder?[Int($0)] ?? $0) }
        }
        for position in pattern.queryStarts[row]..<pattern.queryStarts[row + 1] {
          let i = Int(head.queryOrder?[Int(position)] ?? position)
          if let wanted, !wanted.contains(i) { continue }
          let query = (pair * queries + i) * size
          var scores = read.map { j in
            (0..<size).reduce(0.0) { $0 + Double(a[query + $1]) * Double(b[(pair * keys + j) * size + $1]) } * scale
          }
          let largest = scores.max() ?? 0
          scores = scores.map { exp($0 - largest) }
          let total = scores.reduce(0, +)
          for l in 0..<size {
            let sum = zip(scores, read).reduce(0.0) { $0 + $1.0 * Double(c[(pair * keys + $1.1) * size + l]) }
            result[query + l] = Float(sum / total)
          }
        }
      }
    }
    return Tensor(q.shape, result)
  }

  /// See ``areaSums(_:weight:bias:)`` and ``areaMeans(_:size:)``: sums with weights, means without.
  public static func areas(_ x: Tensor, size: Int, weight: Tensor? = nil, bias: Tensor? = nil) -> Tensor {
    let (batch, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    let extra = weight == nil ? size - 1 : 0,
      shape = [batch, (height + extra) / size, (width + extra) / size, channels]
    let (a, w, b) = (x.elements, weight?.elements, bias?.elements)
    var result: [Float] = []
    for sample in 0..<batch {
      for y in 0..<shape[1] {
        for x in 0..<shape[2] {
          for c in 0..<channels {
            var sum = 0.0, count = 0.0
            for row in y * size..<min((y + 1) * size, height) {
              for column in x * size..<min((x + 1) * size, width) {
                let scale = w?[((row - y * size) * size + column - x * size) * channels + c] ?? 1
                sum += Double(scale) * Double(a[((sample * height + row) * width + column) * channels + c])
                count += 1
              }
            }
            result.append(Float(weight == nil ? sum / count : sum + Double(b?[c] ?? 0)))
          }
        }
      }
    }
    return Tensor(shape, result)
  }

  /// See ``maxPool2d(_:kernel:stride:)``.
  public static func maxPool2d(_ x: Tensor, kernel: Int, stride: Int) -> Tensor {
    let (batch, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3]), a = x.elements
    let shape = [batch, (height - kernel) / stride + 1, (width - kernel) / stride + 1, channels]
    var result: [Float] = []
    for b in 0..<batch {
      for top in (0..<shape[1]).map({ $0 * stride }) {
        for left in (0..<shape[2]).map({ $0 * stride }) {
          for c in 0..<channels {
            var largest = -Float.infinity
            for row in top..<top + kernel {
              for column in left..<left + kernel {
                largest = max(largest, a[((b * height + row) * width + column) * channels + c])
              }
            }
            result.append(largest)
          }
        }
      }
    }
    return Tensor(shape, result)
  }

  /// See ``upsampledNearest2x(_:)``.
  public static func upsampledNearest2x(_ x: Tensor) -> Tensor {
    let (batch, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3]), a = x.elements
    var result: [Float] = []
    for b in 0..<batch {
      for row in 0..<2 * height {
        for column in 0..<2 * width {
          let start = ((b * height + row / 2) * width + column / 2) * channels
          result += a[start..<start + channels]
        }
      }
    }
    return Tensor([batch, 2 * height, 2 * width, channels], result)
  }
}
