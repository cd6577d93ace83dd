import Checkpoints
import Kernels
import NN
import Tensors

/// Root-mean-square norm over channels of channels-last frames. Checkpoint: `gamma`
/// (`[C, 1, 1, 1]`, or `[C, 1, 1]` in attention).
struct ChannelNorm: Sendable {
  let gamma: Tensor

  init(_ weights: WeightScope, _ channels: Int, isImage: Bool = false) throws {
    gamma = try weights.prepared("gamma", isImage ? [channels, 1, 1] : [channels, 1, 1, 1]) {
      $0.floats().copied().reshaped(channels)
    }
  }

  /// `[F, H, W, C]` to the same. The epsilon is there for pixels that are all zero, which stay so.
  func callAsFunction(_ x: Tensor) -> Tensor { rmsNorm(x, epsilon: 1e-30, scale: gamma) }

  /// The norm with SiLU after it, to be done on the way into a convolution.
  var activated: PixelTransform { PixelTransform(rmsNorm: gamma, epsilon: 1e-30, silu: true) }
}

/// Norm, SiLU, causal convolution, twice, beside a shortcut. Checkpoint: `norm1 conv1 norm2 conv2 conv_shortcut`.
struct WanResidualBlock: Sendable {
  let norm1: ChannelNorm, conv1: CausalConv3d, norm2: ChannelNorm, conv2: CausalConv3d, shortcut: CausalConv3d?

  init(_ weights: WeightScope, _ inputs: Int, _ outputs: Int) throws {
    norm1 = try ChannelNorm(weights["norm1"], inputs)
    conv1 = try CausalConv3d(weights["conv1"], inputs, outputs, kernel: [3, 3, 3])
    norm2 = try ChannelNorm(weights["norm2"], outputs)
    conv2 = try CausalConv3d(weights["conv2"], outputs, outputs, kernel: [3, 3, 3])
    shortcut =
      inputs == outputs ? nil : try CausalConv3d(weights["conv_shortcut"], inputs, outputs, kernel: [1, 1, 1])
  }

  /// `[F, H, W, inputs]` to `[F, H, W, outputs]`, in the memory of `x` where that can be.
  func callAsFunction(_ x: consuming Tensor, memory: CausalMemory) -> Tensor {
    let y = conv1(x, memory: memory, after: norm1.activated)
    if let shortcut { x = shortcut(x, memory: memory) }
    return conv2(y, memory: memory, after: norm2.activated, onto: consume x)
  }
}

/// Single-head attention over the pixels of each frame, with a residual. Checkpoint: `norm to_qkv proj`, the latter two
/// 1 x 1 convolutions.
struct WanFrameAttention: Sendable {
  let norm: ChannelNorm, qkv: Linear, out: Linear, precision: Precision

  init(_ weights: WeightScope, _ channels: Int) throws {
    norm = try ChannelNorm(weights["norm"], channels, isImage: true)
    qkv = try Linear(patches: weights["to_qkv"], channels: channels, patch: 1, 3 * channels)
    out = try Linear(patches: weights["proj"], channels: channels, patch: 1, channels)
    precision = weights.precision
  }

  /// `[F, H, W, C]` to the same.
  func callAsFunction(_ x: Tensor) -> Tensor {
    let (frames, pixels, channels) = (x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
    let parts = qkv(norm(x)).reshaped(frames, 1, pixels, 3 * channels).chunked(3, axis: 3)
    let attended = blockSparseAttention(
      parts[0], parts[1], parts[2], scale: 1 / Float(channels).squareRoot(), precision: precision)
    return add(x, out(attended).reshaped(x.shape))
  }
}

/// Two residual blocks with attention between them.
struct WanMiddleBlock: Sendable {
  let first: WanResidualBlock, attention: WanFrameAttention, second: WanResidualBlock

  init(_ weights: WeightScope, _ channels: Int) throws {
    first = try WanResidualBlock(weights["resnets"][0], channels, channels)
    attention = try WanFrameAttention(weights["attentions"][0], channels)
    second = try WanResidualBlock(weights["resnets"][1], channels, channels)
  }

  func callAsFunction(_ x: Tensor, memory: CausalMemory) -> Tensor {
    second(attention(first(x, memory: memory)), memory: memory)
  }
}

/// Doubles rows and columns, and frames where asked: every frame but the clip's first becomes two. Checkpoint:
/// `resample.1`, `time_conv`.
struct WanUpsampler: Sendable {
  let convolution: UpsamplingConv2d, time: CausalConv3d?

  init(_ weights: WeightScope, _ inputs: Int, _ outputs: Int, doublesTime: Bool) throws {
    convolution = try UpsamplingConv2d(weights["resample"][1], inputs, outputs)
    time = doublesTime ? try CausalConv3d(weights["time_conv"], inputs, 2 * inputs, kernel: [3, 1, 1]) : nil
  }

  func callAsFunction(_ x: Tensor, isFirst: Bool, memory: CausalMemory) -> Tensor {
    var x = x
    if let time {
      let still = x.slice(0..<(isFirst ? 1 : 0)), moving = x.slice((isFirst ? 1 : 0)..<x.shape[0])
      x = still
      if moving.shape[0] > 0 {
        // The two frames that one becomes lie side by side in its channels.
        let (frames, height, width, channels) = (moving.shape[0], moving.shape[1], moving.shape[2], moving.shape[3])
        let doubled = time(moving, memory: memory).reshaped(frames, height * width, 2, channels)
          .permuted(0, 2, 1, 3).reshaped(2 * frames, height, width, channels)
        x = still.shape[0] > 0 ? Tensor.concatenated([still, doubled]) : doubled
      }
    }
    return convolution(x)
  }
}

/// Residual blocks, then upsampling. Checkpoint: `resnets`, and `upsamplers.0` or with averaging shortcuts `upsampler`.
struct WanUpBlock: Sendable {
  let resnets: [WanResidualBlock], upsampler: WanUpsampler?
  /// Channels, and whether frames double, where input repeats beside the block (Wan 2.2's `DupUp3D`).
  let shortcut: (outputs: Int, doublesTime: Bool)?

  init(
    _ weights: WeightScope, _ inputs: Int, _ outputs: Int, layers: Int, upsamples: Bool, doublesTime: Bool,
    hasShortcut: Bool
  ) throws {
    resnets = try (0..<layers).map {
      try WanResidualBlock(weights["resnets"][$0], $0 == 0 ? inputs : outputs, outputs)
    }
    let scope = hasShortcut ? weights["upsampler"] : weights["upsamplers"][0]
    upsampler =
      upsamples
      ? try WanUpsampler(scope, outputs, hasShortcut ? outputs : outputs / 2, doublesTime: doublesTime) : nil
    shortcut = hasShortcut && upsamples ? (outputs, doublesTime) : nil
  }

  func callAsFunction(_ x: consuming Tensor, isFirst: Bool, memory: CausalMemory) -> Tensor {
    let input = shortcut == nil ? nil : copy x
    var y = consume x
    for block in resnets { y = block(consume y, memory: memory) }
    if let upsampler { y = upsampler(y, isFirst: isFirst, memory: memory) }
    guard let shortcut, let input else { return y }
    return add(y, repeated(input, to: shortcut.outputs, frames: shortcut.doublesTime ? 2 : 1, isFirst: isFirst))
  }

  /// Channels, each repeated, spread over `frames` x 2 x 2 neighbours: `[F, H, W, C]` to `[F', 2H, 2W, outputs]`. The
  /// clip's first frame gives only its last.
  private func repeated(_ x: Tensor, to outputs: Int, frames factor: Int, isFirst: Bool) -> Tensor {
    let (frames, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    let spread = outputs * factor * 4, repeats = spread / channels
    let flat = x.reshaped(x.count, 1), wide = Tensor.concatenated(Array(repeating: flat, count: repeats), axis: 1)
    // Channel c of `spread` is output, frame, row, column.
    let y = wide.reshaped(frames, height, width, outputs, factor, 2, 2).permuted(0, 4, 1, 5, 2, 6, 3)
      .reshaped(frames * factor, 2 * height, 2 * width, outputs)
    return isFirst ? y.slice(factor - 1..<y.shape[0]) : y
  }
}

/// Halves rows and columns, and frames where asked: the clip's first frame stays one. Checkpoint: `resample.1`,
/// `time_conv`.
struct WanDownsampler: Sendable {
  let convolution: Conv2d, time: CausalConv3d?, key: String

  init(_ weights: WeightScope, _ channels: Int, halvesTime: Bool) throws {
    convolution = try Conv2d(
      weights["resample"][1], channels, channels, kernel: 3, stride: 2,
      padding: Padding(top: 0, left: 0, bottom: 1, right: 1))
    time = halvesTime ? try CausalConv3d(weights["time_conv"], channels, channels, kernel: [3, 1, 1]) : nil
    key = weights.path
  }

  /// The first chunk is one frame, later ones an even number.
  func callAsFunction(_ x: Tensor, memory: CausalMemory) -> Tensor {
    let y = convolution(x)
    guard let time else { return y }
    defer { memory[key] = CausalMemory.last(1, of: [y]) }
    guard let past = memory[key] else { return y }
    return time.halvingFrames([past, y])
  }
}

/// Residual blocks, then downsampling.
struct WanDownBlock: Sendable {
  /// Where upstream puts a level's parts: in one list of all levels, or a block a level.
  enum Place {
    case flat(from: Int)
    case level(Int)
  }
  let resnets: [WanResidualBlock], downsampler: WanDownsampler?
  /// Channels, and by how much frames and sides shrink, where input is averaged beside the block (Wan 2.2's
  /// `AvgDown3D`).
  let shortcut: (outputs: Int, frames: Int, side: Int)?

  init(
    _ weights: WeightScope, _ place: Place, _ inputs: Int, _ outputs: Int, layers: Int, downsamples: Bool,
    halvesTime: Bool
  ) throws {
    let blocks: (Int) -> WeightScope, last: WeightScope
    switch place {
    case .flat(let first): (blocks, last) = ({ weights[first + $0] }, weights[first + layers])
    case .level(let level): (blocks, last) = ({ weights[level]["resnets"][$0] }, weights[level]["downsampler"])
    }
    resnets = try (0..<layers).map { try WanResidualBlock(blocks($0), $0 == 0 ? inputs : outputs, outputs) }
    downsampler = downsamples ? try WanDownsampler(last, outputs, halvesTime: halvesTime) : nil
    if case .level = place {
      shortcut = (outputs, halvesTime ? 2 : 1, downsamples ? 2 : 1)
    } else {
      shortcut = nil
    }
  }

  func callAsFunction(_ x: consuming Tensor, memory: CausalMemory) -> Tensor {
    let input = shortcut == nil ? nil : copy x
    var y = consume x
    for block in resnets { y = block(consume y, memory: memory) }
    if let downsampler { y = downsampler(y, memory: memory) }
    guard let shortcut, let input else { return y }
    return add(y, averaged(input, to: shortcut.outputs, frames: shortcut.frames, side: shortcut.side))
  }

  /// Neighbours as channels, channels averaged in groups: `[F, H, W, C]` to `[F', H', W', outputs]`. Frames short of a
  /// whole group are preceded by zeros, as upstream.
  private func averaged(_ x: Tensor, to outputs: Int, frames factor: Int, side: Int) -> Tensor {
    var x = x
    let missing = (factor - x.shape[0] % factor) % factor
    if missing > 0 { x = Tensor.concatenated([Tensor(zeros: [missing] + x.shape.dropFirst()), x]) }
    let (frames, height, width, channels) = (x.shape[0] / factor, x.shape[1] / side, x.shape[2] / side, x.shape[3])
    let group = channels * factor * side * side / outputs
    let parts = x.reshaped(frames, factor, height, side, width, side, channels).permuted(0, 2, 4, 6, 1, 3, 5)
      .reshaped(frames * height * width * outputs, group)
    let sums = parts.elements
    return Tensor(
      [frames, height, width, outputs],
      (0..<sums.count / group).map { index in
        var sum: Float = 0
        for value in sums[index * group..<(index + 1) * group] { sum += value }
        return sum / Float(group)
      })
  }
}
