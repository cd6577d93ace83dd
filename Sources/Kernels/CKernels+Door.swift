// The one file that calls C. Each function checks sizes, then calls; nothing here computes.
import CKernels
import Tensors

/// What the processor offers and how many threads suit it.
public enum Processor {
  /// Code paths, slowest first.
  public enum Level: Int, Sendable, Comparable, CaseIterable, CustomStringConvertible {
    case portable, avx2, avx2VNNI, avx512, avx512BF16
    public static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }
    public var description: String { String(cString: tk_level_name(tk_level(UInt32(rawValue)))) }
  }
  /// The path taken by this process: the fastest that the processor has, or a slower one that the environment variable
  /// TESSERA_CPU names.
  public static var level: Level { Level(rawValue: Int(tk_cpu_level().rawValue)) ?? .portable }
  /// Whether TESSERA_CPU, if set, names a path. One that does not is not heeded.
  public static var isLimitKnown: Bool { tk_level_limit() >= 0 }
  /// Physical cores this process may use.
  public static var physicalCores: Int { Int(tk_physical_cores()) }
  /// Whether bf16 products run in hardware.
  public static var hasBFloat16: Bool { level >= .avx512BF16 }
  /// Runs multiply-adds that never leave registers; the operations done. For measuring a core's peak.
  public static func probe(_ precision: Precision, iterations: Int) -> Double {
    switch precision {
    case .float32: tk_probe_f32(iterations)
    case .bfloat16: tk_probe_bf16(iterations)
    case .int8: tk_probe_int8(iterations)
    }
  }
}

extension Precision {
  /// What products are computed in that 8-bit integers do not serve: convolutions, text, the first and last layers.
  public var besideIntegers: Precision {
    guard self == .int8 else { return self }
    return Processor.hasBFloat16 ? .bfloat16 : .float32
  }
}

/// Functions applied to every element.
public enum Activation: String, Sendable, CaseIterable {
  case geluTanh, geluErf, silu, relu, tanh
  var code: tk_activation {
    switch self {
    case .geluTanh: TK_GELU_TANH
    case .geluErf: TK_GELU_ERF
    case .silu: TK_SILU
    case .relu: TK_RELU
    case .tanh: TK_TANH
    }
  }
}

typealias Input = UnsafePointer<Float>
typealias Output = UnsafeMutablePointer<Float>

enum Door {
  static let panel = Int(TK_PANEL)

  static func packedCount(outputs: Int, rounded k: Int) -> Int { tk_packed_count(outputs, k) }
  static func pack(_ p: Int, _ n: Int, _ k: Int, _ w: Input, _ ldw: Int, into packed: Output) {
    tk_pack_f32(p, n, k, w, ldw, packed)
  }
  static func packBF16(_ p: Int, _ n: Int, _ k: Int, _ w: Input, _ ldw: Int, into packed: UnsafeMutablePointer<UInt32>)
  {
    tk_pack_bf16_from_f32(p, n, k, w, ldw, packed)
  }
  static func packTransposed(_ p: Int, _ n: Int, _ k: Int, _ w: Input, _ ldw: Int, into packed: Output) {
    tk_pack_transposed_f32(p, n, k, w, ldw, packed)
  }
  static func packBF16(
    _ p: Int, _ n: Int, _ k: Int, bits w: UnsafePointer<UInt16>, _ ldw: Int, into packed: UnsafeMutablePointer<UInt32>
  ) {
    tk_pack_bf16_from_bf16(p, n, k, w, ldw, packed)
  }
  static func transpose(_ m: Int, _ n: Int, _ x: Input, bias: Input?, _ y: Output, ldy: Int) {
    tk_transpose(m, n, x, bias, y, ldy)
  }
  static func rowsToBF16(_ m: Int, _ k: Int, _ x: Input, _ ldx: Int, _ y: UnsafeMutablePointer<UInt16>, _ ldy: Int) {
    tk_rows_to_bf16(m, k, x, ldx, y, ldy)
  }
  static func gemm(
    _ m: Int, _ n: Int, _ k: Int, _ a: Input, lda: Int, _ packed: Input, bias: Input?, accumulate: Bool, _ c: Output,
    ldc: Int
  ) {
    tk_gemm_f32(m, n, k, a, lda, packed, bias, accumulate ? 1 : 0, c, ldc)
  }
  static func gemmBF16(
    _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<UInt16>, lda: Int, _ packed: UnsafePointer<UInt32>, bias: Input?,
    accumulate: Bool, _ c: Output, ldc: Int
  ) {
    tk_gemm_bf16(m, n, k, a, lda, packed, bias, accumulate ? 1 : 0, c, ldc)
  }
  static func packInt8(
    _ p: Int, _ n: Int, _ k: Int, _ w: Input, _ ldw: Int, into packed: UnsafeMutablePointer<UInt32>, scales: Output,
    offsets: UnsafeMutablePointer<Int32>
  ) {
    tk_pack_int8(p, n, k, w, ldw, packed, scales, offsets)
  }
  static func rowsToInt8(
    _ m: Int, _ k: Int, _ x: Input, _ ldx: Int, _ y: UnsafeMutablePointer<UInt8>, _ ldy: Int, scales: Output
  ) {
    tk_rows_to_int8(m, k, x, ldx, y, ldy, scales)
  }
  static func gemmInt8(
    _ m: Int, _ n: Int, _ quads: Int, _ a: UnsafePointer<UInt8>, lda: Int, rowScales: Input,
    _ packed: UnsafePointer<UInt32>, scales: Input, offsets: UnsafePointer<Int32>, bias: Input?, _ c: Output, ldc: Int
  ) {
    tk_gemm_int8(m, n, quads, a, lda, rowScales, packed, scales, offsets, bias, c, ldc)
  }
  static func activate(_ kind: Activation, _ count: Int, _ x: Input, _ y: Output) {
    tk_activate(kind.code, count, x, y)
  }
  static func add(_ count: Int, _ a: Input, _ b: Input, _ y: Output) { tk_add(count, a, b, y) }
  static func multiply(_ count: Int, _ a: Input, _ b: Input, _ y: Output) { tk_multiply(count, a, b, y) }
  static func scaleAdd(_ count: Int, _ a: Float, _ x: Input, _ b: Float, _ y: Output) {
    tk_scale_add(count, a, x, b, y)
  }
  static func gateAdd(_ count: Int, _ x: Input, _ gate: Input, _ r: Input, _ y: Output) {
    tk_gate_add(count, x, gate, r, y)
  }
  static func rotate(_ pairs: Int, _ cos: Input, _ sin: Input, _ x: Input, _ y: Output) {
    tk_rotate(pairs, cos, sin, x, y)
  }
  static func layerNorm(_ n: Int, _ x: Input, _ e: Float, scale: Input?, onePlus: Bool, shift: Input?, _ y: Output) {
    tk_layer_norm(n, x, e, scale, onePlus ? 1 : 0, shift, y)
  }
  static func rmsNorm(_ n: Int, _ x: Input, _ e: Float, scale: Input?, _ y: Output) { tk_rms_norm(n, x, e, scale, y) }
  static func softmax(_ n: Int, _ x: Output, bias: Input?) { tk_softmax(n, x, bias) }
  static func channelSums(
    _ pixels: Int, _ channels: Int, _ x: Input, sums: UnsafeMutablePointer<Double>,
    squares: UnsafeMutablePointer<Double>
  ) {
    tk_channel_sums(pixels, channels, x, sums, squares)
  }
  static func channelAffine(
    _ pixels: Int, _ channels: Int, _ x: Input, scale: Input, shift: Input, silu: Bool, _ y: Output
  ) {
    tk_channel_affine(pixels, channels, x, scale, shift, silu ? 1 : 0, y)
  }

  static let attentionKeys = Int(TK_ATTENTION_KEYS), attentionRows = Int(TK_ATTENTION_ROWS)
  static func attentionKeyPanel(_ size: Int, _ precision: Precision) -> Int {
    precision == .int8 ? tk_attention_int8_key_panel(size) : tk_attention_key_panel(size, precision.isBF16)
  }
  static func attentionValuePanel(_ size: Int, _ precision: Precision) -> Int {
    precision == .int8 ? tk_attention_int8_value_panel(size) : tk_attention_value_panel(size, precision.isBF16)
  }
  static func attentionScratch(_ size: Int, _ precision: Precision) -> Int {
    precision == .int8 ? tk_attention_int8_scratch(size) : tk_attention_scratch(size)
  }
  static func attentionSurvey(_ count: Int, _ size: Int, keys: Input, values: Input, sums: Output, largest: Output) {
    tk_attention_int8_survey(count, size, keys, values, sums, largest)
  }
  static func attentionPack(
    first: Int, count: Int, size: Int, tokens: UnsafePointer<Int32>?, keys: Input, values: Input,
    _ precision: Precision, common: (means: Input, scales: Input)?, _ packedKeys: UnsafeMutablePointer<UInt32>,
    _ packedValues: UnsafeMutablePointer<UInt32>
  ) {
    if let common {
      tk_attention_int8_pack(
        first, count, size, tokens, keys, values, common.means, common.scales, packedKeys, packedValues)
    } else {
      tk_attention_pack(first, count, size, tokens, keys, values, precision.isBF16, packedKeys, packedValues)
    }
  }
  /// Keys and values of one head to be fetched while a block is computed: rows at plan positions from `first` on.
  struct Ahead {
    let keys: Input, values: Input, tokens: UnsafePointer<Int32>?, first: Int, rows: Int
  }
  static func attention(
    size: Int, rows: Int, first: Int, nextRows: Int, tokens: UnsafePointer<Int32>?, query: Input, scale: Float,
    panels: Int,
    list: UnsafePointer<UInt32>, counts: UnsafePointer<UInt8>, keys: UnsafePointer<UInt32>,
    values: UnsafePointer<UInt32>, _ precision: Precision, common: (means: Input, scales: Input)?,
    ahead: Ahead?, panelBiases: Input?, scratch: Output,
    output: Output, streams: Bool, logSumExp: Output?
  ) {
    var block = tk_attention_block(
      size: size, rows: rows, first: first, next_rows: nextRows, query_tokens: tokens, q: query, scale: scale,
      panels: panels,
      panel_list: list, panel_counts: counts, keys: keys, values: values, bf16: precision.isBF16, scratch: scratch,
      out: output, streams: streams ? 1 : 0, log_sum_exp: logSumExp, key_means: common?.means,
      value_scales: common?.scales, ahead_keys: ahead?.keys, ahead_values: ahead?.values,
      ahead_tokens: ahead?.tokens, ahead_first: ahead?.first ?? 0, ahead_rows: ahead?.rows ?? 0,
      panel_biases: panelBiases)
    if precision == .int8 { tk_attention_int8(&block) } else { tk_attention(&block) }
  }
}

extension Precision {
  fileprivate var isBF16: Int32 { self == .bfloat16 ? 1 : 0 }
}
