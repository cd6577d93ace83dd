/// MT19937 (Matsumoto and Nishimura 1998), seeded as PyTorch does: from the low 32 bits of the seed alone.
///
/// The constants, the initialisation and the tempering are those of the authors' `mt19937ar.c`.
struct MersenneTwister: Sendable, Hashable {
  static let size = 624
  private static let middle = 397

  /// The 624 words of the state, as they stand after the last refill.
  private(set) var words: [UInt32]
  /// How many of them have been handed out; 624 asks for a refill.
  private(set) var position: Int

  init(seed: UInt64) {
    words = [UInt32](repeating: 0, count: Self.size)
    words[0] = UInt32(truncatingIfNeeded: seed)
    for j in 1..<Self.size {
      words[j] = 1_812_433_253 &* (words[j - 1] ^ words[j - 1] >> 30) &+ UInt32(j)
    }
    position = Self.size
  }

  /// A generator in a saved state; `nil` when the values cannot be one.
  init?(words: [UInt32], position: Int) {
    guard words.count == Self.size, (0...Self.size).contains(position) else { return nil }
    self.words = words
    self.position = position
  }

  /// The next 32 uniform bits.
  mutating func next() -> UInt32 {
    if position == Self.size { refill() }
    var y = words[position]
    position += 1
    y ^= y >> 11
    y ^= y << 7 & 0x9d2c_5680
    y ^= y << 15 & 0xefc6_0000
    return y ^ y >> 18
  }

  /// The next 64 uniform bits: the first word drawn is the upper half.
  mutating func next64() -> UInt64 {
    let upper = next()
    return UInt64(upper) << 32 | UInt64(next())
  }

  private mutating func refill() {
    for j in 0..<Self.size {
      let mixed = words[j] & 0x8000_0000 | words[j + 1 == Self.size ? 0 : j + 1] & 0x7fff_ffff
      let other = words[j < Self.size - Self.middle ? j + Self.middle : j + Self.middle - Self.size]
      words[j] = other ^ mixed >> 1 ^ (mixed & 1 == 0 ? 0 : 0x9908_b0df)
    }
    position = 0
  }
}
