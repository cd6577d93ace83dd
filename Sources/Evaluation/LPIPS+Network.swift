import Checkpoints
import Kernels
import NN
import Tensors

/// A convolution of a feature network, and the max pooling before it.
struct FeatureConvolution: Sendable {
  /// Among torchvision's `features`, where ReLU and pooling have numbers as well.
  var number: Int
  var outputs: Int
  var kernel = 3, stride = 1, padding = 1
  /// Pixels of the pooling's window; it moves by 2. `nil` for no pooling.
  var pooling: Int?
  /// Whether the result, after ReLU, is one of the five that are compared.
  var isCompared = true
}

extension LPIPS.Network {
  /// In order.
  var convolutions: [FeatureConvolution] {
    switch self {
    case .alex:
      // Krizhevsky 2014 (arXiv:1404.5997), as torchvision has it.
      [
        FeatureConvolution(number: 0, outputs: 64, kernel: 11, stride: 4, padding: 2),
        FeatureConvolution(number: 3, outputs: 192, kernel: 5, padding: 2, pooling: 3),
        FeatureConvolution(number: 6, outputs: 384, pooling: 3),
        FeatureConvolution(number: 8, outputs: 256), FeatureConvolution(number: 10, outputs: 256),
      ]
    case .vgg:
      // Simonyan and Zisserman 2014 (arXiv:1409.1556), configuration D: the last of each block is compared.
      [
        FeatureConvolution(number: 0, outputs: 64, isCompared: false), FeatureConvolution(number: 2, outputs: 64),
        FeatureConvolution(number: 5, outputs: 128, pooling: 2, isCompared: false),
        FeatureConvolution(number: 7, outputs: 128),
        FeatureConvolution(number: 10, outputs: 256, pooling: 2, isCompared: false),
        FeatureConvolution(number: 12, outputs: 256, isCompared: false), FeatureConvolution(number: 14, outputs: 256),
        FeatureConvolution(number: 17, outputs: 512, pooling: 2, isCompared: false),
        FeatureConvolution(number: 19, outputs: 512, isCompared: false), FeatureConvolution(number: 21, outputs: 512),
        FeatureConvolution(number: 24, outputs: 512, pooling: 2, isCompared: false),
        FeatureConvolution(number: 26, outputs: 512, isCompared: false), FeatureConvolution(number: 28, outputs: 512),
      ]
    }
  }

  /// Pixels of the shorter side that leave something in the deepest layer.
  var minimumSize: Int { self == .alex ? 31 : 16 }
}

/// ``FeatureConvolution`` with its weights.
struct FeatureLayer: Sendable {
  let shape: FeatureConvolution
  private let convolution: Conv2d

  /// - Parameter weights: the scope of all layers, whose children are numbers.
  init(_ shape: FeatureConvolution, inputs: Int, _ weights: WeightScope) throws {
    self.shape = shape
    convolution = try Conv2d(
      weights[shape.number], inputs, shape.outputs, kernel: shape.kernel, stride: shape.stride,
      padding: .all(shape.padding))
  }

  /// `[1, H, W, C]` to `[1, H', W', outputs]`.
  func callAsFunction(_ x: Tensor) -> Tensor {
    let pooled = shape.pooling.map { maxPool2d(x, kernel: $0, stride: 2) } ?? x
    return activated(convolution(pooled), .relu)
  }
}
