import Checkpoints
import Kernels
import NN
import Tensors

/// A judge's network: convolutions of 3 x 3, each with SiLU after it, to a map of features; from every cell of the map
/// whether a thing is centred there and its attributes; from pooled features the scene's.
struct JudgeNetwork: Sendable {
  private struct Layer: Sendable {
    let weight: PreparedConvolution, bias: Tensor
    let stride: Int, dilation: Int

    /// A kernel with gaps is the larger kernel with zeros in them.
    init(_ weights: WeightScope, inputs: Int, outputs: Int, stride: Int, dilation: Int) throws {
      let kernel = try weights.tensor("weight", outputs, inputs, 3, 3).elements, side = 2 * dilation + 1
      var spread = [Float](repeating: 0, count: outputs * inputs * side * side)
      for index in kernel.indices {
        let row = index / 3 % 3 * dilation, column = index % 3 * dilation
        spread[(index / 9 * side + row) * side + column] = kernel[index]
      }
      weight = PreparedConvolution(Tensor([outputs, inputs, side, side], spread), precision: .float32)
      bias = try weights.tensor("bias", outputs)
      (self.stride, self.dilation) = (stride, dilation)
    }

    /// `[1, H, W, inputs]` to `[1, H', W', outputs]`.
    func callAsFunction(_ x: Tensor) -> Tensor {
      activated(conv2d(x, weight, bias: bias, stride: stride, padding: .all(dilation)), .silu)
    }
  }

  private let layers: [Layer]
  private let things: Linear, scene: Linear
  private let pooling: [JudgeDescription.Pooling]

  /// Throws where tensors are missing, of another shape than the description asks for, not finite or left over.
  init(_ store: WeightStore, _ description: JudgeDescription) throws {
    let weights = store.scope()
    var inputs = 3 * description.frames, layers: [Layer] = []
    for (index, (stride, dilation)) in zip(description.strides, description.dilations).enumerated() {
      let scope = weights["body"][index]
      let outputs = scope.shape(of: "weight")?.first ?? 1
      guard (1...4096).contains(outputs) else {
        throw EvaluationError.weights(
          path: store.path, reason: "tensor 'body.\(index).weight': expected 1 to 4096 outputs, found \(outputs)")
      }
      layers.append(try Layer(scope, inputs: inputs, outputs: outputs, stride: stride, dilation: dilation))
      inputs = outputs
    }
    self.layers = layers
    pooling = description.pooling
    func count(_ attributes: [SceneAttribute]) -> Int {
      attributes.reduce(0) { $0 + (description.names[$1]?.count ?? 0) }
    }
    func head(_ name: String, _ inputs: Int, _ outputs: Int) throws -> Linear {
      _ = try weights[name].tensor("weight", outputs, inputs)
      _ = try weights[name].tensor("bias", outputs)
      return try Linear(weights[name], inputs, outputs)
    }
    things = try head("things", inputs, 1 + count(description.things))
    scene = try head("scene", pooling.count * inputs, count(description.scene))
    try store.verifyAllRead()
  }

  /// - Parameter x: `[1, side, side, 3 * frames]` in -1...1, frame by frame.
  /// - Returns: the map `[1, rows, columns, 1 + attributes]` and the scene `[scene attributes]`, as logits.
  func callAsFunction(_ x: Tensor) -> (map: Tensor, scene: [Float]) {
    let features = layers.reduce(x) { $1($0) }
    let pooled = pooling.flatMap { $0(features) }
    return (things(features), scene(Tensor([1, pooled.count], pooled)).elements)
  }
}

extension JudgeDescription.Pooling {
  /// Means by channel over rows of a map `[1, H, W, C]`: `[C]`.
  fileprivate func callAsFunction(_ map: Tensor) -> [Float] {
    let (height, width, channels) = (map.shape[1], map.shape[2], map.shape[3]), values = map.elements
    let rows =
      switch self {
      case .top: 0..<height / 4
      case .bottom: height - height / 4..<height
      case .all: 0..<height
      }
    var sums = [Float](repeating: 0, count: channels)
    for pixel in rows.lowerBound * width..<rows.upperBound * width {
      for channel in 0..<channels { sums[channel] += values[pixel * channels + channel] }
    }
    return sums.map { $0 / Float(rows.count * width) }
  }
}
