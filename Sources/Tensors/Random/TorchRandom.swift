#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// PyTorch's CPU generator, bit for bit: `torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))`
/// in Float32.
///
/// What is followed (torch 2.15.0 on x86-64 with AVX2; torch takes that path on AVX-512 machines also):
/// - MT19937 seeded from the low 32 bits, so seeds that differ by 2^32 draw the same noise.
/// - 16 values or more: one 24-bit uniform a value; each block of 16 goes through Box-Muller, values 0...7 paired with
///   8...15; when the count is no multiple of 16, 16 fresh uniforms remake the last 16 values, overlapping the block
///   before.
/// - Fewer than 16 values: Box-Muller in double precision on 53-bit uniforms, cosine first; the sine is kept for the
///   next such call, also across larger calls in between.
///
/// Torch without AVX2 (or on other processors) calls `logf`, `cosf` and `sinf` instead: its values differ in the last
/// bits there, ours do not.
public struct TorchRandom: RandomSource {
  private var engine: MersenneTwister
  /// The second value of the last double-precision pair.
  private var spare: Double?

  public init(seed: UInt64) { engine = MersenneTwister(seed: seed) }

  public mutating func normal(_ shape: [Int]) -> Tensor {
    var result = Tensor(uninitialized: shape)
    let count = result.count
    result.withMutableFloats { out in
      if count < 16 {
        for i in 0..<count { out[i] = Float(nextInDouble()) }
        return
      }
      for i in 0..<count { out[i] = nextUniform() }
      for start in stride(from: 0, through: count - 16, by: 16) { boxMuller16(out, start) }
      if count % 16 != 0 {
        for i in count - 16..<count { out[i] = nextUniform() }
        boxMuller16(out, count - 16)
      }
    }
    return result
  }

  /// Uniform in [0, 1) on a grid of 2^-24.
  private mutating func nextUniform() -> Float { Float(engine.next() & 0xff_ffff) * 0x1p-24 }

  private mutating func nextInDouble() -> Double {
    if let value = spare {
      spare = nil
      return value
    }
    let mask: UInt64 = 1 << 53 - 1
    let u1 = Double(engine.next64() & mask) * 0x1p-53
    let u2 = Double(engine.next64() & mask) * 0x1p-53
    let radius = (-2 * log1p(-u2)).squareRoot()
    let angle = 2 * Double.pi * u1
    spare = radius * sin(angle)
    return radius * cos(angle)
  }
}

extension TorchRandom {
  /// What ``TorchRandom`` needs to go on.
  public struct State: Codable, Sendable, Hashable {
    /// The 624 words of the Mersenne Twister.
    public let words: [UInt32]
    /// How many of them are used up.
    public let position: Int
    /// The kept second value of a pair, as the bits of a `Double`: exact in any encoding.
    public let spareBits: UInt64?

    init(engine: MersenneTwister, spare: Double?) {
      words = engine.words
      position = engine.position
      spareBits = spare?.bitPattern
    }

    private enum CodingKeys: CodingKey { case words, position, spareBits }

    /// Refuses a state that no generator can be in.
    public init(from decoder: any Decoder) throws {
      let values = try decoder.container(keyedBy: CodingKeys.self)
      words = try values.decode([UInt32].self, forKey: .words)
      position = try values.decode(Int.self, forKey: .position)
      spareBits = try values.decodeIfPresent(UInt64.self, forKey: .spareBits)
      guard MersenneTwister(words: words, position: position) != nil else {
        throw DecodingError.dataCorruptedError(
          forKey: .words, in: values,
          debugDescription: "\(words.count) words at position \(position); expected 624 at 0...624")
      }
    }
  }

  public var state: State {
    get { State(engine: engine, spare: spare) }
    set {
      guard let restored = MersenneTwister(words: newValue.words, position: newValue.position) else {
        preconditionFailure("a state is checked when it is decoded")
      }
      engine = restored
      spare = newValue.spareBits.map { Double(bitPattern: $0) }
    }
  }
}

/// Box-Muller in place on 16 uniforms: eight radii from the first half, eight angles from the second.
private func boxMuller16(_ values: UnsafeMutableBufferPointer<Float>, _ start: Int) {
  for i in start..<start + 8 {
    let radius = (-2 * cephesLog(1 - values[i])).squareRoot()
    let (sine, cosine) = cephesSineCosine(6.283185307179586 * values[i + 8])
    // Torch multiplies by a deviation of 1 and adds a mean of 0, which makes a negative zero positive.
    values[i] = radius * cosine + 0
    values[i + 8] = radius * sine + 0
  }
}
