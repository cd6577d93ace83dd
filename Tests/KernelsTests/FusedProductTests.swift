import Kernels
import Tensors
import Testing

/// What is fused gives the bytes of its parts one after the other: sizes that fill no panel, no pair and no four.
@Suite struct FusedProductTests {
  private let batch = 2, tokens = 75, width = 42, heads = 3
  private var x: Tensor { caseTensor([batch, tokens, width], seed: 1) }
  private var gate: Tensor { caseTensor([batch, width], seed: 2) }

  private func layer(_ outputs: Int, _ inputs: Int, _ seed: UInt64, _ precision: Precision) -> (PreparedMatrix, Tensor)
  {
    (
      PreparedMatrix(caseTensor([outputs, inputs], seed: seed), precision: precision),
      caseTensor([outputs], seed: seed + 1)
    )
  }

  private func split(_ x: Tensor) -> Tensor {
    x.reshaped(x.shape[0], x.shape[1], heads, x.shape[2] / heads).permuted(0, 2, 1, 3)
  }

  @Test(arguments: Precision.allCases) func branchEnds(_ precision: Precision) {
    let (weight, bias) = layer(width, width, 3, precision), rows = PreparedRows(x, precision: precision)
    let branch = linear(x, weight, bias: bias), residual = caseTensor(x.shape, seed: 5)
    #expect(linear(rows, weight, bias: bias, onto: residual, gate: gate) == gateAdd(residual, gate: gate, branch))
    #expect(linear(rows, weight, bias: bias, onto: residual) == add(residual, branch))
    let one = gate.slice(0..<1)
    #expect(linear(rows, weight, bias: bias, onto: residual, gate: one) == gateAdd(residual, gate: one, branch))
  }

  @Test(arguments: Precision.allCases) func headsApartAndTogether(_ precision: Precision) {
    // 522 outputs: heads of 174 cross the panels of 384.
    let (weight, bias) = layer(522, width, 6, precision)
    let apart = linear(PreparedRows(x, precision: precision), weight, bias: bias, heads: heads)
    #expect(apart == split(linear(x, weight, bias: bias)))
    let (back, _) = layer(width, 522, 8, precision)
    let merged = linear(PreparedRows(mergingHeads: apart, precision: precision), back)
    #expect(merged == linear(linear(x, weight, bias: bias), back))
  }

  @Test(arguments: Precision.allCases) func normBeforeProduct(_ precision: Precision) {
    let (weight, bias) = layer(width, width, 9, precision), shift = caseTensor([batch, width], seed: 11)
    let rows = PreparedRows(
      layerNorm: x, epsilon: 1e-5, scale: gate, shift: shift, onePlus: true, precision: precision)
    let norm = modulatedLayerNorm(x, epsilon: 1e-5, scale: gate, shift: shift)
    #expect(linear(rows, weight, bias: bias) == linear(norm, weight, bias: bias))
  }

  @Test(arguments: Precision.allCases, [1, 75, 700]) func feedForwardInChunks(_ precision: Precision, _ tokens: Int) {
    // 1,097 hidden values: two parts of 384 and one that is odd.
    let x = caseTensor([1, tokens, width], seed: 12), gate = gate.slice(0..<1)
    let (first, firstBias) = layer(1097, width, 13, precision), (second, secondBias) = layer(width, 1097, 15, precision)
    let whole = linear(linear(x, first, bias: firstBias, activation: .geluTanh), second, bias: secondBias)
    let fused = feedForward(
      PreparedRows(x, precision: precision), (first, firstBias), .geluTanh, (second, secondBias), onto: x, gate: gate)
    #expect(fused == gateAdd(x, gate: gate, whole))
  }

  @Test func normalisedAndTurnedHeads() {
    let scale = caseTensor([width], seed: 17), size = width / heads
    let cos = caseTensor([tokens, size / 2], seed: 18), sin = caseTensor([tokens, size / 2], seed: 19)
    let apart = split(rmsNorm(x, epsilon: 1e-6, scale: scale))
    #expect(rmsNormHeads(x, heads: heads, epsilon: 1e-6, scale: scale) == apart)
    let turned = rmsNormHeads(x, heads: heads, epsilon: 1e-6, scale: scale, angles: (cos, sin))
    #expect(turned == rotated(apart, cos: cos, sin: sin))
  }
}
