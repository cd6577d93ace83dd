import Kernels
import Tensors
import TestSupport
import Testing

/// Norms on the way into a convolution, sums on the way out, and doubled pixels that are never made.
@Suite struct FusedConvolutionTests {
  private let channels = 12, outputs = 9
  private var x: Tensor { caseTensor([2, 7, 5, channels], seed: 1) }
  private var bias: Tensor { caseTensor([outputs], seed: 2) }

  private func kernel(_ extents: [Int], _ precision: Precision) -> PreparedConvolution {
    PreparedConvolution(caseTensor([outputs, channels] + extents, seed: 3), precision: precision)
  }

  @Test(arguments: [Precision.float32, .bfloat16]) func groupNormBefore(_ precision: Precision) {
    let norm = PixelTransform(
      groupNorm: x, groups: 4, epsilon: 1e-6, scale: caseTensor([channels], seed: 4),
      shift: caseTensor([channels], seed: 5),
      silu: true)
    let kernel = kernel([3, 3], precision), residual = caseTensor([2, 7, 5, outputs], seed: 6)
    let apart = add(residual, conv2d(norm(x), kernel, bias: bias, padding: .all(1)))
    #expect(conv2d(x, kernel, bias: bias, padding: .all(1), after: norm, onto: residual) == apart)
  }

  @Test(arguments: [Precision.float32, .bfloat16]) func channelNormBeforeFrames(_ precision: Precision) {
    let scale = caseTensor([channels], seed: 7), kernel = kernel([3, 3, 3], precision)
    let norm = PixelTransform(rmsNorm: scale, epsilon: 1e-30, silu: true)
    let normed = activated(rmsNorm(x, epsilon: 1e-30, scale: scale), .silu)
    let apart = conv3d([normed], before: 2, kernel, bias: bias, padding: .all(1))
    #expect(conv3d([x], before: 2, kernel, bias: bias, padding: .all(1), after: norm) == apart)
    let pieces = [x.slice(0..<1), x.slice(1..<2)]
    #expect(conv3d(pieces, before: 2, kernel, bias: bias, padding: .all(1), after: norm) == apart)
  }

  @Test(arguments: [(Precision.float32, 1e-6), (.bfloat16, 1e-2)])
  func doubledPixelsAreNeverMade(_ precision: Precision, _ tolerance: Double) {
    let weight = caseTensor([outputs, channels, 3, 3], seed: 8)
    let exact = Reference.conv2d(Reference.upsampledNearest2x(x), weight, bias: bias, stride: 1, padding: .all(1))
    let found = upsampledConv2d(x, PreparedUpsampling(weight, precision: precision), bias: bias)
    #expect(relativeL2(found, exact) < tolerance)
    let one = caseTensor([1, 1, 1, channels], seed: 9)
    let small = Reference.conv2d(Reference.upsampledNearest2x(one), weight, bias: bias, stride: 1, padding: .all(1))
    #expect(
      relativeL2(upsampledConv2d(one, PreparedUpsampling(weight, precision: precision), bias: bias), small) < tolerance)
  }
}
