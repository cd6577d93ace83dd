import Tensors

/// One operation at one size: how to run it, what it must equal, how far it may be off, and what it costs. The tests
/// check every case; `kernel-bench` checks and times them.
public struct KernelCase: Sendable {
  /// The operation's name.
  public let operation: String
  /// Its sizes and options, in order.
  public let parameters: [(name: String, value: String)]
  public let precision: Precision
  /// Floating-point operations, a multiply-add counting two; 0 where bandwidth is what matters.
  public let operations: Double
  /// The largest relative L2 error accepted.
  public let tolerance: Double
  /// The fast version.
  public let run: @Sendable () -> Tensor
  /// The oracle. Slow: not for large sizes.
  public let reference: @Sendable () -> Tensor
  /// The error of a result on an evenly spread sample of its rows, for sizes where the whole oracle takes too long.
  public var sampledError: (@Sendable (Tensor) -> Double)?

  public var label: String { operation + " " + parameters.map { "\($0.name)=\($0.value)" }.joined(separator: " ") }
}

/// Which blocks a benchmark keeps.
public enum KeptBlocks: String, Sendable, CaseIterable {
  /// Each by chance, the diagonal always.
  case random
  /// Those nearest the diagonal.
  case window
  /// All: the dense path.
  case dense

  func pattern(queries: Int, keys: Int, block: Int, density: Double) -> BlockPattern {
    var pattern = BlockPattern(
      queryStarts: BlockPattern.uniformStarts(queries, block: block),
      keyStarts: BlockPattern.uniformStarts(keys, block: block), keepsAll: self == .dense)
    let columns = pattern.columns
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15
    for row in 0..<pattern.rows {
      let diagonal = row * columns / pattern.rows
      switch self {
      case .dense: break
      case .window:
        let count = max(1, Int((density * Double(columns)).rounded()))
        let first = min(max(0, diagonal - count / 2), columns - count)
        pattern.keep(row: row, columns: first..<first + count)
      case .random:
        pattern[row, diagonal] = true
        for column in 0..<columns where column != diagonal {
          state ^= state << 13
          state ^= state >> 7
          state ^= state << 17
          let chance = (density * Double(columns) - 1) / Double(max(columns - 1, 1))
          if Double(state >> 11) / Double(1 << 53) < chance { pattern[row, column] = true }
        }
      }
    }
    return pattern
  }
}

/// Deterministic values in about -1.7...1.7 with a standard deviation near 1.
public func caseTensor(_ shape: [Int], seed: UInt64) -> Tensor {
  var state = (seed &+ 1) &* 0x9E37_79B9_7F4A_7C15 | 1
  return Tensor(
    shape,
    (0..<shape.reduce(1, *)).map { _ in
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return (Float(state >> 40) / Float(1 << 24) - 0.5) * 3.4641
    })
}

/// `|a - b| / |b|` in L2.
public func relativeError(_ a: Tensor, _ b: Tensor) -> Double {
  precondition(a.shape == b.shape, "shapes \(a.shape) and \(b.shape)")
  let pairs = zip(a.elements, b.elements)
  let difference = pairs.reduce(0) { $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1)) }
  let norm = pairs.reduce(0) { $0 + Double($1.1) * Double($1.1) }
  return norm == 0 ? difference.squareRoot() : (difference / norm).squareRoot()
}

/// At most 16 indices spread over `0 ..< count`.
private func spread(_ count: Int) -> [Int] {
  let picked = min(count, 16)
  return (0..<picked).map { $0 * count / picked }
}

/// The chosen entries of the first axis.
private func pick(_ tensor: Tensor, _ rows: [Int]) -> Tensor {
  Tensor.concatenated(rows.map { tensor.slice($0..<$0 + 1) })
}

/// The error of a convolution's result `[1, H, W, O]` on a patch away from the border, whose inputs are the patch and a
/// rim around it.
private func convolutionError(_ result: Tensor, x: Tensor, w: Tensor, b: Tensor, rim: Int) -> Double {
  func crop(_ tensor: Tensor, _ range: Range<Int>) -> Tensor {
    tensor.narrowed(axis: 1, range).narrowed(axis: 2, range)
  }
  let exact = Reference.conv2d(crop(x, 5 - rim..<8 + rim), w, bias: b, stride: 1, padding: .all(0))
  return relativeError(crop(result, 5..<8), exact)
}

/// The error of an attention's result `[B, h, N, d]` on some queries of the last head.
private func attentionError(_ result: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: Double) -> Double {
  let rows = spread(q.shape[2]), size = q.shape[3]
  func head(_ tensor: Tensor) -> Tensor {
    let all = tensor.reshaped(-1, tensor.shape[2], size)
    return all.slice(all.shape[0] - 1..<all.shape[0]).reshaped(1, 1, -1, size)
  }
  func picked(_ tensor: Tensor) -> Tensor { pick(head(tensor).reshaped(-1, size), rows).reshaped(1, 1, -1, size) }
  return relativeError(picked(result), Reference.attention(picked(q), head(k), head(v), scale: scale))
}

extension KernelCase {
  /// `x W^T + b` with an optional activation.
  public static func linear(_ m: Int, _ n: Int, _ k: Int, _ precision: Precision, _ activation: Activation? = nil)
    -> KernelCase
  {
    let x = caseTensor([m, k], seed: 1), w = scaled(caseTensor([n, k], seed: 2), by: 1 / Float(max(k, 1)).squareRoot())
    let b = caseTensor([n], seed: 3), prepared = PreparedMatrix(w, precision: precision)
    return KernelCase(
      operation: "linear",
      parameters: [("m", "\(m)"), ("n", "\(n)"), ("k", "\(k)"), ("activation", activation?.rawValue ?? "none")],
      precision: precision, operations: 2 * Double(m) * Double(n) * Double(k),
      tolerance: [.float32: max(2e-6, 4e-8 * Double(k).squareRoot()), .bfloat16: 8e-3, .int8: 1.5e-2][precision]!,
      run: { Kernels.linear(x, prepared, bias: b, activation: activation) },
      reference: { Reference.linear(x, w, bias: b, activation: activation) },
      sampledError: { result in
        let rows = spread(m)
        return relativeError(
          pick(result, rows), Reference.linear(pick(x, rows), w, bias: b, activation: activation))
      })
  }

  /// Square-kernel convolution with padding `kernel / 2`.
  public static func conv2d(
    _ height: Int, _ width: Int, _ inputs: Int, _ outputs: Int, kernel: Int, stride: Int, _ precision: Precision
  ) -> KernelCase {
    let x = caseTensor([1, height, width, inputs], seed: 4), b = caseTensor([outputs], seed: 6)
    let w = scaled(
      caseTensor([outputs, inputs, kernel, kernel], seed: 5), by: 1 / Float(inputs * kernel * kernel).squareRoot())
    let prepared = PreparedConvolution(w, precision: precision), padding = Padding.all(kernel / 2)
    let pixels = Double((height - 1) / stride + 1) * Double((width - 1) / stride + 1)
    var item = KernelCase(
      operation: "conv2d",
      parameters: [
        ("height", "\(height)"), ("width", "\(width)"), ("inputs", "\(inputs)"), ("outputs", "\(outputs)"),
        ("kernel", "\(kernel)"), ("stride", "\(stride)"),
      ],
      precision: precision, operations: 2 * pixels * Double(inputs * outputs * kernel * kernel),
      tolerance: precision == .float32 ? 2e-6 : 8e-3,
      run: { Kernels.conv2d(x, prepared, bias: b, stride: stride, padding: padding) },
      reference: { Reference.conv2d(x, w, bias: b, stride: stride, padding: padding) })
    if stride == 1 && min(height, width) >= 12 {
      item.sampledError = { convolutionError($0, x: x, w: w, b: b, rim: kernel / 2) }
    }
    return item
  }

  /// Dense attention, optionally with T5's score bias and a masked last key.
  public static func biasedAttention(
    _ heads: Int, _ queries: Int, _ keys: Int, _ size: Int, biased: Bool = false, batch: Int = 2
  )
    -> KernelCase
  {
    let q = caseTensor([batch, heads, queries, size], seed: 7), k = caseTensor([batch, heads, keys, size], seed: 8)
    let v = caseTensor([batch, heads, keys, size], seed: 9), scale = 1 / Float(size).squareRoot()
    let scoreBias = biased ? caseTensor([heads, queries, keys], seed: 10) : nil
    let keyBias =
      biased
      ? Tensor([batch, keys], (0..<batch * keys).map { keys > 1 && $0 % keys == keys - 1 ? -10000 : 0 }) : nil
    var item = KernelCase(
      operation: "biased-attention",
      parameters: [
        ("batch", "\(batch)"), ("heads", "\(heads)"), ("tokens", "\(queries)"), ("keys", "\(keys)"),
        ("head-dim", "\(size)"),
        ("biased", "\(biased)"),
      ],
      precision: .float32, operations: 4 * Double(batch * heads * queries) * Double(keys * size), tolerance: 5e-6,
      run: { denseAttention(q, k, v, scale: scale, keyBias: keyBias, scoreBias: scoreBias) },
      reference: { Reference.attention(q, k, v, scale: Double(scale), keyBias: keyBias, scoreBias: scoreBias) })
    if !biased { item.sampledError = { attentionError($0, q: q, k: k, v: v, scale: Double(scale)) } }
    return item
  }

  /// Block-sparse attention with blocks of `block` tokens kept at random, or all where `density` is 1.
  public static func attention(
    _ heads: Int, _ queries: Int, _ keys: Int, _ size: Int, density: Double, pattern: KeptBlocks = .random,
    block: Int = 128, _ precision: Precision, batch: Int = 1
  ) -> KernelCase {
    let q = caseTensor([batch, heads, queries, size], seed: 7), k = caseTensor([batch, heads, keys, size], seed: 8)
    let v = caseTensor([batch, heads, keys, size], seed: 9), scale = 1 / Float(size).squareRoot()
    let shared = pattern.pattern(queries: queries, keys: keys, block: block, density: density)
    let patterns = Array(repeating: HeadPattern(pattern: shared), count: heads)
    var item = KernelCase(
      operation: "attention",
      parameters: [
        ("batch", "\(batch)"), ("heads", "\(heads)"), ("tokens", "\(queries)"), ("keys", "\(keys)"),
        ("head-dim", "\(size)"), ("pattern", pattern.rawValue), ("block", "\(block)"),
        ("density", "\((shared.density * 1e4).rounded() / 1e4)"),
      ],
      precision: precision, operations: 4 * Double(batch * heads * size) * shared.keptPairs,
      tolerance: [.float32: 5e-6, .bfloat16: 1e-2, .int8: 2.5e-2][precision]!,
      run: {
        blockSparseAttention(
          q, k, v, scale: scale, precision: precision, heads: pattern == .dense ? nil : patterns)
      },
      reference: { Reference.blockSparseAttention(q, k, v, scale: Double(scale), heads: patterns) })
    item.sampledError = { result in
      let rows = spread(queries)
      func picked(_ tensor: Tensor) -> Tensor {
        let all = tensor.reshaped(-1, queries, size)
        return pick(all.slice(all.shape[0] - 1..<all.shape[0]).reshaped(queries, size), rows)
      }
      func last(_ tensor: Tensor) -> Tensor {
        let all = tensor.reshaped(-1, tensor.shape[2], size)
        return all.slice(all.shape[0] - 1..<all.shape[0]).reshaped(1, 1, -1, size)
      }
      let exact = Reference.blockSparseAttention(
        last(q), last(k), last(v), scale: Double(scale), heads: [patterns[0]], queries: rows)
      return relativeError(picked(result), picked(exact))
    }
    return item
  }

  /// An activation over a vector.
  public static func activation(_ count: Int, _ activation: Activation) -> KernelCase {
    let x = scaled(caseTensor([count], seed: 11), by: 3)
    return elementwise(activation.rawValue, count, tolerance: 2e-6, { activated(x, activation) }) {
      Reference.activated(x, activation)
    }
  }

  /// The norms over `[2, rows, size]` with weights.
  public static func norms(_ rows: Int, _ size: Int) -> [KernelCase] {
    let x = caseTensor([2, rows, size], seed: 12), scale = caseTensor([size], seed: 13),
      shift = caseTensor([size], seed: 14)
    let scales = caseTensor([2, size], seed: 15), shifts = caseTensor([2, size], seed: 16)
    return [
      elementwise("layer-norm", x.count, { layerNorm(x, epsilon: 1e-6, scale: scale, shift: shift) }) {
        Reference.layerNorm(x, epsilon: 1e-6, scale: scale, shift: shift)
      },
      elementwise(
        "modulated-layer-norm", x.count, { modulatedLayerNorm(x, epsilon: 1e-6, scale: scales, shift: shifts) }
      ) {
        Reference.layerNorm(x, epsilon: 1e-6, scale: scales, shift: shifts, onePlus: true)
      },
      elementwise("rms-norm", x.count, { rmsNorm(x, epsilon: 1e-6, scale: scale) }) {
        Reference.rmsNorm(x, epsilon: 1e-6, scale: scale)
      },
    ]
  }

  /// Group norm with SiLU over `[2, height, width, channels]`.
  public static func groupNorm(_ height: Int, _ width: Int, _ channels: Int, groups: Int) -> KernelCase {
    let x = caseTensor([2, height, width, channels], seed: 17)
    let scale = caseTensor([channels], seed: 18), shift = caseTensor([channels], seed: 19)
    return elementwise(
      "group-norm", x.count,
      { Kernels.groupNorm(x, groups: groups, epsilon: 1e-6, scale: scale, shift: shift, silu: true) }
    ) { Reference.groupNorm(x, groups: groups, epsilon: 1e-6, scale: scale, shift: shift, silu: true) }
  }

  /// Depthwise sums and means over areas of `size` by `size` pixels of `[2, height, width, channels]`.
  public static func areas(_ height: Int, _ width: Int, _ channels: Int, size: Int) -> [KernelCase] {
    let x = caseTensor([2, height, width, channels], seed: 20)
    let weight = caseTensor([size, size, channels], seed: 21), bias = caseTensor([channels], seed: 22)
    return [
      elementwise("area-sums", x.count, { areaSums(x, weight: weight, bias: bias) }) {
        Reference.areas(x, size: size, weight: weight, bias: bias)
      },
      elementwise("area-means", x.count, { areaMeans(x, size: size) }) { Reference.areas(x, size: size) },
    ]
  }

  /// Largest values over windows of `[2, height, width, channels]`.
  public static func maxPool(_ height: Int, _ width: Int, _ channels: Int, kernel: Int, stride: Int) -> KernelCase {
    let x = caseTensor([2, height, width, channels], seed: 23)
    return elementwise("max-pool", x.count, tolerance: 0, { maxPool2d(x, kernel: kernel, stride: stride) }) {
      Reference.maxPool2d(x, kernel: kernel, stride: stride)
    }
  }

  private static func elementwise(
    _ name: String, _ count: Int, tolerance: Double = 2e-6, _ run: @escaping @Sendable () -> Tensor,
    _ reference: @escaping @Sendable () -> Tensor
  ) -> KernelCase {
    KernelCase(
      operation: name, parameters: [("count", "\(count)")], precision: .float32, operations: 0, tolerance: tolerance,
      run: run, reference: reference, sampledError: nil)
  }

  /// What convolutions multiply in.
  private static let numbers: [Precision] = [.float32, .bfloat16]

  /// The sizes that go wrong: one, primes, a block and its neighbours.
  public static func correctnessCases() -> [KernelCase] {
    var cases: [KernelCase] = []
    for precision in Precision.allCases {
      for (m, n, k) in [
        (1, 1, 1), (1, 33, 7), (7, 31, 5), (8, 32, 64), (9, 65, 63), (129, 127, 31), (257, 513, 17), (3, 40, 3075),
        (130, 520, 72),
      ] { cases.append(.linear(m, n, k, precision)) }
      cases.append(.linear(37, 53, 41, precision, .geluTanh))
    }
    for precision in numbers {
      for (h, w, i, o, kernel, stride) in [
        (1, 1, 1, 1, 3, 1), (5, 7, 3, 8, 3, 1), (8, 9, 4, 33, 1, 1), (11, 6, 17, 5, 3, 2), (16, 16, 32, 32, 3, 1),
      ] { cases.append(.conv2d(h, w, i, o, kernel: kernel, stride: stride, precision)) }
    }
    for (h, n, m, d) in [(1, 1, 1, 4), (2, 63, 65, 12), (3, 64, 64, 72), (1, 129, 7, 32)] {
      cases += [.biasedAttention(h, n, m, d), .biasedAttention(h, n, m, d, biased: true)]
    }
    for precision in Precision.allCases {
      for (h, n, m, d) in [
        (1, 1, 1, 1), (2, 63, 65, 12), (3, 64, 64, 72), (1, 129, 7, 33), (2, 300, 300, 128), (1, 70, 90, 264),
      ] {
        cases.append(.attention(h, n, m, d, density: 1, pattern: .dense, precision))
        cases.append(.attention(h, n, m, d, density: 0.4, block: 17, precision, batch: 2))
      }
    }
    for activation in Activation.allCases { cases.append(.activation(4099, activation)) }
    for (rows, size) in [(1, 1), (3, 17), (5, 72), (2, 1152)] { cases += norms(rows, size) }
    for (h, w, c, g) in [(1, 1, 16, 2), (5, 3, 12, 3), (40, 30, 64, 32)] {
      cases.append(.groupNorm(h, w, c, groups: g))
    }
    for (h, w, c, size) in [(2, 2, 1, 2), (4, 6, 24, 2), (7, 9, 5, 2), (10, 5, 72, 3), (9, 17, 33, 8)] {
      cases += areas(h, w, c, size: size)
    }
    for (h, w, c, kernel, stride) in [(1, 1, 1, 1, 1), (2, 3, 5, 2, 2), (9, 7, 33, 3, 2), (8, 8, 16, 2, 2)] {
      cases.append(.maxPool(h, w, c, kernel: kernel, stride: stride))
    }
    return cases + blockCorrectnessCases()
  }

  /// The sizes that matter for speed: layers of PixArt-Sigma at 1024 tokens, of T5-XXL, of the SDXL autoencoder.
  public static func speedCases() -> [KernelCase] {
    var cases: [KernelCase] = []
    for precision in numbers {
      for (m, n, k) in [
        (1024, 1152, 1152), (1024, 4608, 1152), (1024, 1152, 4608), (4096, 4608, 1152), (300, 10240, 4096),
      ] {
        cases.append(.linear(m, n, k, precision))
      }
    }
    for precision in numbers {
      cases.append(.conv2d(64, 64, 512, 512, kernel: 3, stride: 1, precision))
      cases.append(.conv2d(256, 256, 256, 256, kernel: 3, stride: 1, precision))
      cases.append(.conv2d(512, 512, 128, 128, kernel: 3, stride: 1, precision))
    }
    cases += [.biasedAttention(8, 1024, 1024, 72), .biasedAttention(6, 2048, 2048, 128)]
    for precision in Precision.allCases {
      cases.append(.attention(8, 4096, 4096, 72, density: 1, pattern: .dense, precision))
      for density in [1, 0.5, 0.25, 0.1] {
        cases.append(
          .attention(12, 8192, 8192, 128, density: density, pattern: density == 1 ? .dense : .random, precision))
      }
    }
    cases += [.activation(1024 * 4608, .geluTanh), .activation(1024 * 4608, .silu)] + norms(512, 1152)
    cases.append(.groupNorm(256, 256, 256, groups: 32))
    cases += areas(64, 64, 1152, size: 2)
    return cases + blockSpeedCases()
  }
}
