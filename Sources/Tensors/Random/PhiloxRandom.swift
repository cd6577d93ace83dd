#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// PyTorch's CUDA generator as other CPU programs reproduce it: Philox4x32-10 (Salmon et al., SC11) and one Box-Muller
/// value an element. This is "RNG: GPU" of the A1111 web interface and `--rng cuda` of stable-diffusion.cpp.
///
/// Element `i` of the `k`-th call (both from 0) is drawn from the block of key `seed` and counter
/// `[k low, k high, i low, i high]`: the call is the offset, the element the subsequence. Of the block's four words the
/// first gives the radius and the second the angle, and the value is radius times *sine* (the first half of curand's
/// pair); the rest of the block is not used.
///
/// A GPU does the same for as many elements as it has threads at once in `torch.randn` (256 times some multiple of its
/// multiprocessors, 100,000 and more), then takes further values of each block, which depends on the card; and its
/// fast sine differs in the last bits. So values here equal a card's to about 1e-6, not bit for bit. The uniforms are
/// formed in Float32 as curand forms them; the logarithm and the sine are taken in Double and rounded once, so that the
/// noise is the same on every machine.
public struct PhiloxRandom: RandomSource {
  /// What ``PhiloxRandom`` needs to go on.
  public struct State: Codable, Sendable, Hashable {
    public var seed: UInt64
    /// Calls made so far.
    public var offset: UInt64
  }

  public var state: State

  public init(seed: UInt64) { state = State(seed: seed, offset: 0) }

  public mutating func normal(_ shape: [Int]) -> Tensor {
    var result = Tensor(uninitialized: shape)
    let state = state
    result.withMutableFloats { out in
      for i in out.indices {
        let words = philox4x32(
          counter: SIMD4(
            UInt32(truncatingIfNeeded: state.offset), UInt32(truncatingIfNeeded: state.offset >> 32),
            UInt32(truncatingIfNeeded: i), UInt32(truncatingIfNeeded: i >> 32)),
          key: SIMD2(UInt32(truncatingIfNeeded: state.seed), UInt32(truncatingIfNeeded: state.seed >> 32)))
        out[i] = boxMullerSine(words.x, words.y)
      }
    }
    self.state.offset &+= 1
    return result
  }
}

/// Ten rounds of Philox on four words (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", section 3.3).
package func philox4x32(counter: SIMD4<UInt32>, key: SIMD2<UInt32>) -> SIMD4<UInt32> {
  var c = counter, k = key
  for round in 0..<10 {
    if round > 0 { k &+= SIMD2(0x9e37_79b9, 0xbb67_ae85) }
    let a = UInt64(c.x) * 0xd251_1f53, b = UInt64(c.z) * 0xcd9e_8d57
    c = SIMD4(
      UInt32(truncatingIfNeeded: b >> 32) ^ c.y ^ k.x, UInt32(truncatingIfNeeded: b),
      UInt32(truncatingIfNeeded: a >> 32) ^ c.w ^ k.y, UInt32(truncatingIfNeeded: a))
  }
  return c
}

/// curand's Box-Muller, first value: both uniforms lie in the middle of their 2^-32 cell, so neither is 0.
private func boxMullerSine(_ x: UInt32, _ y: UInt32) -> Float {
  let cell: Float = 0x1p-32, angleCell: Float = 0x1p-32 * 6.2831855
  let u = (cell / 2).addingProduct(Float(x), cell)
  let angle = (angleCell / 2).addingProduct(Float(y), angleCell)
  return Float((-2 * log(Double(u))).squareRoot() * sin(Double(angle)))
}
