import Kernels
import Tensors
import TestSupport
import Testing

@Suite(.serialized) struct KernelCaseTests {
  @Test func equalsReference() {
    for item in KernelCase.correctnessCases() {
      let error = relativeError(item.run(), item.reference())
      #expect(error <= item.tolerance, "\(item.label) \(item.precision) at \(Processor.level): \(error)")
    }
  }

  @Test func threadCountDoesNotChangeBytes() {
    let cases = KernelCase.correctnessCases()
    let alone = cases.map { $0.run() }
    ThreadPool.shared.configure(threads: 3)
    for (item, before) in zip(cases, alone) { #expect(item.run() == before, "\(item.label)") }
  }

  @Test func upsamplingRepeatsPixels() {
    let x = caseTensor([2, 3, 5, 7], seed: 1)
    #expect(upsampledNearest2x(x) == Reference.upsampledNearest2x(x))
  }

  @Test func elementwiseSums() {
    let a = caseTensor([2, 3, 40000], seed: 1), b = caseTensor([2, 3, 40000], seed: 2),
      gate = caseTensor([2, 40000], seed: 3)
    let (x, y, g) = (a.elements, b.elements, gate.elements)
    #expect(add(a, b).elements == zip(x, y).map { $0 + $1 })
    #expect(multiply(a, b).elements == zip(x, y).map { $0 * $1 })
    let gated = x.indices.map { x[$0] + g[$0 / 120_000 * 40000 + $0 % 40000] * y[$0] }
    #expect(relativeL2(gateAdd(a, gate: gate, b), Tensor(a.shape, gated)) < 1e-6)
    #expect(relativeL2(weightedSum(0.3, a, -2, b), Tensor(a.shape, zip(x, y).map { 0.3 * $0 - 2 * $1 })) < 1e-6)
  }

  @Test func maskedKeysAreExactZeros() {
    let q = caseTensor([1, 1, 5, 8], seed: 1), k = caseTensor([1, 1, 9, 8], seed: 2),
      v = caseTensor([1, 1, 9, 8], seed: 3)
    let mask = Tensor([1, 9], (0..<9).map { $0 < 6 ? 0 : -10000 })
    let short = denseAttention(q, k.narrowed(axis: 2, 0..<6), v.narrowed(axis: 2, 0..<6), scale: 0.3)
    #expect(relativeL2(denseAttention(q, k, v, scale: 0.3, keyBias: mask), short) < 1e-6)
  }
}
