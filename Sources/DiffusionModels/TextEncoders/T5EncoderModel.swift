// T5 encoder (Raffel et al. 2020, arXiv:1910.10683), version 1.1 with gated GELU, and UMT5 (Chung et al. 2023,
// arXiv:2304.09151), which is T5 with relative positions of its own in every layer.
// Upstream: transformers, models/t5/modeling_t5.py and models/umt5/modeling_umt5.py.
import Checkpoints
import Foundation
import Kernels
import NN
import Tensors

/// Which of the two families an encoder is of.
public enum T5Family: String, Sendable {
  case t5 = "T5EncoderModel"
  case umt5 = "UMT5EncoderModel"
}

/// `config.json` of a `T5EncoderModel` or `UMT5EncoderModel`. Absent keys have the defaults of `T5Config`; published
/// folders name them all.
public struct T5Configuration: Decodable, Sendable {
  public var dModel: Int?, dKv: Int?, dFf: Int?, numLayers: Int?, numHeads: Int?, vocabSize: Int?
  public var relativeAttentionNumBuckets: Int?, relativeAttentionMaxDistance: Int?
  public var layerNormEpsilon: Float?
  public var feedForwardProj: String?

  public var width: Int { dModel ?? 512 }
  public var headSize: Int { dKv ?? 64 }
  public var hiddenSize: Int { dFf ?? 2048 }
  public var layers: Int { numLayers ?? 6 }
  public var heads: Int { numHeads ?? 8 }
  public var vocabulary: Int { vocabSize ?? 32128 }
  var buckets: Int { relativeAttentionNumBuckets ?? 32 }
  var maxDistance: Int { relativeAttentionMaxDistance ?? 128 }
  var epsilon: Float { layerNormEpsilon ?? 1e-6 }

  func feedForward() throws -> (activation: Activation, isGated: Bool) {
    switch feedForwardProj ?? "relu" {
    case "gated-gelu": return (.geluTanh, true)
    case "gated-silu": return (.silu, true)
    case "relu": return (.relu, false)
    case let other:
      throw ModelError.unsupported(
        model: T5EncoderModel.className, key: "feed_forward_proj", value: other,
        supported: "gated-gelu, gated-silu, relu")
    }
  }

  func validate(_ family: T5Family) throws {
    let model = family.rawValue
    try check(model, "d_model", width, in: 1...65536)
    try check(model, "d_kv", headSize, in: 1...4096)
    try check(model, "d_ff", hiddenSize, in: 1...1_048_576)
    try check(model, "num_layers", layers, in: 1...1024)
    try check(model, "num_heads", heads, in: 1...1024)
    try check(model, "vocab_size", vocabulary, in: 1...10_000_000)
    try check(model, "relative_attention_num_buckets", buckets, in: 4...65536)
    try check(model, "relative_attention_max_distance", maxDistance, in: buckets / 4 + 1...10_000_000)
  }
}

/// Turns token ids into embeddings. A layer's weights stay in the file and are read once for all sequences together, so
/// that an encoder of billions of parameters never exists in memory.
public struct T5EncoderModel {
  public static let className = "T5EncoderModel"

  public let configuration: T5Configuration
  public let family: T5Family
  private let weights: WeightScope
  private let activation: Activation, isGated: Bool

  public init(_ configuration: T5Configuration, family: T5Family = .t5, weights: WeightScope) throws {
    try configuration.validate(family)
    self.family = family
    (activation, isGated) = try configuration.feedForward()
    self.configuration = configuration
    self.weights = weights
  }

  /// - Parameters:
  ///   - sequences: token ids, without padding; each sequence attends to itself only, so that padding tokens, which
  ///     upstream masks, need not be computed.
  ///   - progress: called before each layer with its index; throwing stops.
  /// - Returns: for each sequence the last hidden state, `[1, L, D]`.
  public func callAsFunction(_ sequences: [[Int]], progress: (Int) throws -> Void = { _ in }) throws -> [Tensor] {
    let config = configuration
    let encoder = weights["encoder"]
    let embedding =
      try weights.contains("shared.weight")
      ? weights.stored("shared.weight", [config.vocabulary, config.width], isChecked: false)
      : encoder.stored("embed_tokens.weight", [config.vocabulary, config.width], isChecked: false)
    encoder.skip("embed_tokens.weight")
    for id in sequences.joined() where id < 0 || id >= config.vocabulary {
      throw ModelError.invalid(
        model: family.rawValue, key: "token id", value: String(id),
        expected: "less than vocab_size \(config.vocabulary)"
      )
    }
    let lengths = sequences.map(\.count)
    var states = embedding.rows(Array(sequences.joined())).reshaped(1, lengths.reduce(0, +), config.width)
    var biases: [Int: Tensor] = [:]
    for layer in 0..<config.layers {
      try progress(layer)
      let scope = encoder["block"][layer]["layer"].streamed
      // T5 has the first layer's positions in all layers.
      if layer == 0 || family == .umt5 { biases = try relativeBiases(Set(lengths), layer: layer) }
      let attention = try T5SelfAttention(scope[0], config)
      let feedForward = try T5FeedForward(scope[1], config, activation, isGated: isGated)
      states = feedForward(attention(states, lengths, biases))
      try scope.verifyUsed()
      try checkFinite(states, layer: layer)
      encoder["block"][layer].releasePages()
    }
    let norm = try RMSNorm(encoder["final_layer_norm"], config.width, epsilon: config.epsilon)
    let normed = norm(states)
    return zip(lengths, starts(of: lengths)).map { normed.narrowed(axis: 1, $1..<$1 + $0) }
  }

  /// A layer's learned bias by relative position: `[h, L, L]` for each length.
  private func relativeBiases(_ lengths: Set<Int>, layer: Int) throws -> [Int: Tensor] {
    let config = configuration
    let table = try weights["encoder"]["block"][layer]["layer"][0]["SelfAttention"]["relative_attention_bias"]
      .tensor("weight", config.buckets, config.heads).elements
    var result: [Int: Tensor] = [:]
    for length in lengths {
      let buckets = (1 - length..<length).map { bucket(keyMinusQuery: $0) }
      var elements: [Float] = []
      elements.reserveCapacity(config.heads * length * length)
      for head in 0..<config.heads {
        for query in 0..<length {
          for key in 0..<length { elements.append(table[buckets[key - query + length - 1] * config.heads + head]) }
        }
      }
      result[length] = Tensor([config.heads, length, length], elements)
    }
    return result
  }

  /// Which bucket a distance falls in: half of them for keys after the query; near distances one each, far ones
  /// logarithmically up to the maximum distance.
  private func bucket(keyMinusQuery: Int) -> Int {
    let half = configuration.buckets / 2, exact = half / 2
    let side = keyMinusQuery > 0 ? half : 0
    let distance = abs(keyMinusQuery)
    if distance < exact { return side + distance }
    // Float32 as upstream, since the quotient decides which bucket a boundary falls in.
    let ratio =
      Float(log(Double(Float(distance) / Float(exact)))) / Float(log(Double(configuration.maxDistance) / Double(exact)))
    return side + min(exact + Int(ratio * Float(half - exact)), half - 1)
  }
}

/// Norm, unscaled self-attention with relative bias, residual. Checkpoint: `SelfAttention.{q,k,v,o}`, `layer_norm`.
private struct T5SelfAttention {
  let q: Linear, k: Linear, v: Linear, o: Linear, norm: RMSNorm, heads: Int

  init(_ weights: WeightScope, _ config: T5Configuration) throws {
    let inner = config.heads * config.headSize, scope = weights["SelfAttention"]
    q = try Linear(scope["q"], config.width, inner, bias: false)
    k = try Linear(scope["k"], config.width, inner, bias: false)
    v = try Linear(scope["v"], config.width, inner, bias: false)
    o = try Linear(scope["o"], inner, config.width, bias: false)
    norm = try RMSNorm(weights["layer_norm"], config.width, epsilon: config.epsilon)
    heads = config.heads
  }

  /// - Parameters:
  ///   - x: `[1, L, D]`, sequences of the given lengths one after another.
  ///   - biases: `[h, l, l]` by length.
  func callAsFunction(_ x: Tensor, _ lengths: [Int], _ biases: [Int: Tensor]) -> Tensor {
    let y = PreparedRows(norm(x), precision: q.precision)
    let (queries, keys, values) = (q(y), k(y), v(y))
    let attended = zip(lengths, starts(of: lengths)).map { length, start in
      func split(_ x: Tensor) -> Tensor { splitHeads(x.narrowed(axis: 1, start..<start + length), heads) }
      return mergeHeads(
        denseAttention(split(queries), split(keys), split(values), scale: 1, scoreBias: biases[length]!))
    }
    return o(PreparedRows(Tensor.concatenated(attended, axis: 1), precision: o.precision), onto: x)
  }

}

/// Where sequences of the given lengths begin, one after another.
private func starts(of lengths: [Int]) -> [Int] {
  lengths.reduce(into: [0]) { $0.append($0.last! + $1) }.dropLast()
}

/// Norm, feed-forward (gated or plain), residual. Checkpoint: `DenseReluDense.{wi_0,wi_1,wo}` or `{wi,wo}`.
private struct T5FeedForward {
  let gate: Linear, linear: Linear?, output: Linear, norm: RMSNorm, activation: Activation

  init(_ weights: WeightScope, _ config: T5Configuration, _ activation: Activation, isGated: Bool) throws {
    let scope = weights["DenseReluDense"]
    gate = try Linear(scope[isGated ? "wi_0" : "wi"], config.width, config.hiddenSize, bias: false)
    linear = isGated ? try Linear(scope["wi_1"], config.width, config.hiddenSize, bias: false) : nil
    output = try Linear(scope["wo"], config.hiddenSize, config.width, bias: false)
    norm = try RMSNorm(weights["layer_norm"], config.width, epsilon: config.epsilon)
    self.activation = activation
  }

  /// `[1, L, D]` to the same.
  func callAsFunction(_ x: Tensor) -> Tensor {
    let y = PreparedRows(norm(x), precision: gate.precision)
    let hidden = gate(y, activation)
    return output(PreparedRows(linear.map { multiply(hidden, $0(y)) } ?? hidden, precision: output.precision), onto: x)
  }
}
