/// Element types of stored tensors, spelled as in safetensors files.
public enum ScalarType: String, Sendable, Hashable, CaseIterable {
  case float64 = "F64"
  case float32 = "F32"
  case float16 = "F16"
  case bfloat16 = "BF16"
  case int64 = "I64"
  case int32 = "I32"
  case int16 = "I16"
  case int8 = "I8"
  case uint8 = "U8"
  case bool = "BOOL"

  /// Bytes of one element.
  public var size: Int {
    switch self {
    case .float64, .int64: 8
    case .float32, .int32: 4
    case .float16, .bfloat16, .int16: 2
    case .int8, .uint8, .bool: 1
    }
  }
}

/// The arithmetic of matrix products: the type weights are prepared in. Everything between products is Float32.
public enum Precision: String, Sendable, Hashable, CaseIterable, Codable {
  case float32, bfloat16
  /// 8-bit integers with a scale for each output of a weight and for each row of an input, in linear layers
  /// and attention; other products as `besideIntegers` says.
  case int8

  /// Of one element of a prepared matrix.
  public var bytes: Double {
    switch self {
    case .float32: 4
    case .bfloat16: 2
    case .int8: 1
    }
  }
}
