import Checkpoints
import Foundation
import Kernels
import Media
import Tensors

/// Learned perceptual image patch similarity (Zhang et al. 2018, arXiv:1801.03924), version 0.1, with AlexNet or VGG16:
/// features of both frames, each scaled to length 1 over its channels, squared differences weighted by channel, mean over
/// pixels, sum over five layers.
///
/// The same as `lpips.LPIPS(net=...)` to Float32 accuracy. Weights come from a safetensors file that
/// `Tools/make_lpips_weights.py` makes from the `torchvision` and `lpips` packages: `features.N.{weight,bias}` of the
/// network under torchvision's numbers, `lins.K.weight` `[C]`, and the metadata `network`, `alex` or `vgg`.
public struct LPIPS: FrameMetric {
  /// Which network's features are compared.
  public enum Network: String, Sendable, Hashable {
    case alex, vgg
  }

  public let network: Network
  public var name: String { "lpips-" + network.rawValue }
  public let direction = MetricDirection.lower
  private let layers: [FeatureLayer]
  /// Weights of each layer's channels.
  private let channelWeights: [[Float]]

  /// One clear error where the file is missing, broken or of another network.
  public init(file: URL) throws {
    let store = try WeightStore(file: file)
    guard let network = Network(rawValue: store.metadata["network"] ?? "") else {
      throw EvaluationError.weights(
        path: file.path,
        reason: "not LPIPS weights: expected metadata network=alex or network=vgg, "
          + "found \(store.metadata["network"].map { "network=" + $0 } ?? "none")")
    }
    let weights = store.scope()
    self.network = network
    var layers: [FeatureLayer] = []
    for shape in network.convolutions {
      layers.append(try FeatureLayer(shape, inputs: layers.last?.shape.outputs ?? 3, weights["features"]))
    }
    self.layers = layers
    channelWeights = try network.convolutions.filter(\.isCompared).enumerated().map { index, shape in
      try weights["lins"][index].tensor("weight", shape.outputs).elements
    }
    try store.verifyAllRead()
  }

  public func callAsFunction(_ frame: Frame, reference: Frame) throws -> Double {
    try requireEqualSizes(frame, reference, minimum: network.minimumSize)
    var (a, b) = (Self.input(frame), Self.input(reference))
    var distance = 0.0, compared = 0
    for layer in layers {
      (a, b) = (layer(a), layer(b))
      guard layer.shape.isCompared else { continue }
      distance += Self.distance(a, b, weights: channelWeights[compared])
      compared += 1
    }
    return distance
  }

  /// `[1, H, W, 3]`, each channel as the networks were trained on it.
  private static func input(_ frame: Frame) -> Tensor {
    let shift: [Float] = [-0.030, -0.088, -0.188], scale: [Float] = [0.458, 0.448, 0.450]
    let tables: [[Float]] = (0..<3).map { channel in
      (0..<256).map { level in
        let value = Float(level) / 127.5 - 1
        return (value - shift[channel]) / scale[channel]
      }
    }
    var values: [Float] = []
    values.reserveCapacity(frame.pixels.count)
    for (index, value) in frame.pixels.enumerated() { values.append(tables[index % 3][Int(value)]) }
    return Tensor([1, frame.height, frame.width, 3], values)
  }

  /// - Parameters:
  ///   - a, b: `[1, H, W, C]`.
  ///   - weights: `[C]`.
  private static func distance(_ a: Tensor, _ b: Tensor, weights: [Float]) -> Double {
    let (height, width, channels) = (a.shape[1], a.shape[2], a.shape[3])
    let rows = parallelMap(height) { y in
      let x = a[at: 0][at: y].elements, y = b[at: 0][at: y].elements
      var sum = 0.0
      for start in stride(from: 0, to: width * channels, by: channels) {
        var squares: SIMD2<Float> = .zero
        for index in start..<start + channels { squares += SIMD2(x[index] * x[index], y[index] * y[index]) }
        let scales = 1 / (squares.squareRoot() + 1e-10)
        var pixel: Float = 0
        for channel in 0..<channels {
          let difference = x[start + channel] * scales.x - y[start + channel] * scales.y
          pixel += weights[channel] * difference * difference
        }
        sum += Double(pixel)
      }
      return sum
    }
    return rows.reduce(0, +) / Double(height * width)
  }
}
