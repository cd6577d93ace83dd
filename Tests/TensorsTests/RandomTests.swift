import Foundation
import Tensors
import Testing

/// `random.json`: what PyTorch drew, as bit patterns (see make_random_fixtures.py).
private struct Fixture: Decodable {
  struct Call: Decodable {
    let shape: [Int]
    let bits: [UInt32]?
    let crc32: UInt32?
    let first: [UInt32]?
    let last: [UInt32]?
  }
  struct Stream<Seed: Decodable & Sendable>: Decodable {
    let seed: Seed
    let calls: [Call]
  }
  struct Block: Decodable {
    let seed: UInt64, offset: UInt64
    let bits: [UInt32]
  }
  let single: [Stream<UInt64>]
  let mixed: [Stream<UInt64>]
  let signed: [Stream<Int64>]
  let philox: [Block]

  static func load() throws -> Fixture {
    let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/random.json")
    return try JSONDecoder().decode(Fixture.self, from: Data(contentsOf: url))
  }
}

/// CRC-32 (IEEE 802.3) of the little-endian bytes of `words`.
private func crc32(_ words: [UInt32]) -> UInt32 {
  let table = (0..<256).map { (byte: UInt32) -> UInt32 in
    var c = byte
    for _ in 0..<8 { c = c & 1 == 0 ? c >> 1 : (c >> 1) ^ 0xedb8_8320 }
    return c
  }
  var crc = UInt32.max
  for word in words {
    for shift in [0, 8, 16, 24] as [UInt32] {
      let byte: UInt32 = (crc ^ (word >> shift)) & 0xff
      crc = table[Int(byte)] ^ (crc >> 8)
    }
  }
  return ~crc
}

private func check(_ call: Fixture.Call, _ values: Tensor, _ label: String) {
  #expect(values.shape == call.shape)
  let bits = values.elements.map(\.bitPattern)
  if let expected = call.bits {
    #expect(bits == expected, "\(label) \(call.shape)")
  } else {
    #expect(Array(bits.prefix(4)) == call.first, "\(label) \(call.shape)")
    #expect(Array(bits.suffix(4)) == call.last, "\(label) \(call.shape)")
    #expect(crc32(bits) == call.crc32, "\(label) \(call.shape)")
  }
}

struct TorchRandomTests {
  @Test func equalsTorchForOneCall() throws {
    let streams = try Fixture.load().single
    #expect(streams.count > 100)
    for stream in streams {
      var random = TorchRandom(seed: stream.seed)
      for call in stream.calls { check(call, random.normal(call.shape), "seed \(stream.seed)") }
    }
  }

  @Test func equalsTorchOverSuccessiveCalls() throws {
    for stream in try Fixture.load().mixed {
      var random = TorchRandom(seed: stream.seed)
      for call in stream.calls { check(call, random.normal(call.shape), "seed \(stream.seed)") }
    }
  }

  @Test func takesNegativeSeeds() throws {
    for stream in try Fixture.load().signed {
      var random = TorchRandom(signedSeed: stream.seed)
      for call in stream.calls { check(call, random.normal(call.shape), "seed \(stream.seed)") }
    }
  }

  @Test(arguments: [0, 1, 3, 16, 17, 640, 10_000])
  func stateResumesTheStream(count: Int) throws {
    var random = TorchRandom(seed: 42)
    _ = random.normal([count])
    _ = random.normal([3])
    let saved = try JSONEncoder().encode(random.state)
    let expected = [5, 16, 1000, 2].map { random.normal([$0]) }
    var resumed = TorchRandom(seed: 0)
    resumed.state = try JSONDecoder().decode(TorchRandom.State.self, from: saved)
    #expect([5, 16, 1000, 2].map { resumed.normal([$0]) } == expected)
    #expect(resumed.state == random.state)
  }

  @Test(arguments: [
    #"{"words":[1,2,3],"position":0}"#, #"{"words":[],"position":0}"#, #"{"position":5}"#, "[]",
    #"{"words":[\#([String](repeating: "7", count: 624).joined(separator: ","))],"position":625}"#,
    #"{"words":[\#([String](repeating: "7", count: 624).joined(separator: ","))],"position":-1}"#,
  ])
  func refusesBrokenStates(json: String) {
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(TorchRandom.State.self, from: Data(json.utf8))
    }
  }

  @Test func copiesAreIndependent() {
    var a = TorchRandom(seed: 5)
    _ = a.normal([100])
    var b = a
    let first = a.normal([50])
    _ = a.normal([50])
    #expect(b.normal([50]) == first)
  }

  @Test func millionNormalsAreQuickAndNormal() {
    var random = TorchRandom(seed: 3)
    let clock = ContinuousClock()
    var values = Tensor(zeros: [1])
    let seconds = clock.measure { values = random.normal([1 << 20]) } / .seconds(1)
    let elements = values.elements.map(Double.init)
    let mean = elements.reduce(0, +) / Double(elements.count)
    let variance = elements.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(elements.count)
    #expect(abs(mean) < 0.005 && abs(variance - 1) < 0.01)
    // Generous: about 0.05 s on an idle core with FMA; a debug build or a loaded machine takes longer.
    #expect(seconds < 20, "\(seconds) s")
  }
}

struct PhiloxRandomTests {
  /// Known answers for philox4x32 of 10 rounds, from `kat_vectors` of the Random123 distribution.
  @Test(arguments: [
    (
      SIMD4<UInt32>(0, 0, 0, 0), SIMD2<UInt32>(0, 0),
      SIMD4<UInt32>(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8)
    ),
    (
      SIMD4<UInt32>(repeating: UInt32.max), SIMD2<UInt32>(repeating: UInt32.max),
      SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd)
    ),
    (
      SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), SIMD2(0xa409_3822, 0x299f_31d0),
      SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1)
    ),
  ])
  func knownAnswers(counter: SIMD4<UInt32>, key: SIMD2<UInt32>, answer: SIMD4<UInt32>) {
    #expect(philox4x32(counter: counter, key: key) == answer)
  }

  @Test func followsTheReference() throws {
    for block in try Fixture.load().philox {
      var random = PhiloxRandom(seed: block.seed)
      for _ in 0..<block.offset { _ = random.normal([3]) }
      let values = random.normal([block.bits.count]).elements
      for (value, bits) in zip(values, block.bits) {
        #expect(abs(value - Float(bitPattern: bits)) < 2e-6, "seed \(block.seed) offset \(block.offset)")
      }
    }
  }

  /// The first values of `torch.randn(3, 4, device="cuda")` after `torch.manual_seed(0)`, as the A1111 web interface
  /// publishes them in `modules/rng_philox.py`.
  @Test func equalsPublishedValuesOfTheCard() {
    let published: [Float] = [
      -0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564,
      -0.62285122, -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497,
    ]
    var random = PhiloxRandom(seed: 0)
    for (value, expected) in zip(random.normal([3, 4]).elements, published) { #expect(abs(value - expected) < 1e-6) }
  }

  @Test func stateResumesTheStream() throws {
    var random = PhiloxRandom(seed: .max - 3)
    _ = random.normal([10])
    let saved = try JSONEncoder().encode(random.state)
    let expected = random.normal([2, 9])
    var resumed = PhiloxRandom(seed: 0)
    resumed.state = try JSONDecoder().decode(PhiloxRandom.State.self, from: saved)
    #expect(resumed.normal([2, 9]) == expected)
  }
}
