import Checkpoints
import DiffusionModels
import Foundation
import Kernels
import Tensors

/// What a run will cost, by phase, from configurations and the headers of weight files: no weight is read.
///
/// Operation counts are exact for the matrix products, convolutions and attention of the published architectures (a
/// multiply and an add count as two) and leave out what is linear in the tokens; convolutions of doubled images count in
/// full, though four ninths of their products are computed. Peaks of memory are estimates: weights
/// as they are prepared, plus the largest set of activations alive at once. Decoding in tiles costs more operations
/// than counted here, since tiles overlap.
public struct MemoryEstimate: Sendable, Hashable {
  public struct Phase: Sendable, Hashable {
    /// `text`, `denoise` or `decode`.
    public var name: String
    /// Weights as stored, in bytes.
    public var weightsBytes: Int
    /// Memory at the phase's worst moment, in bytes, the process itself included.
    public var peakBytes: Int
    /// Of ``peakBytes``, pages of files: the program and its libraries. Weights are read from their maps piece by piece
    /// and let go once prepared, so that none are left of them at the worst moment.
    public var mappedBytes: Int { min(peakBytes, MemoryEstimate.programBytes) }
    /// Of ``peakBytes``, all other pages: prepared weights, activations, buffers.
    public var anonymousBytes: Int { peakBytes - mappedBytes }
    /// Floating-point operations for one result.
    public var flops: Double
    /// The arithmetic of the phase's matrix products.
    public var precision: Precision
  }

  /// Frames, height and width in tokens.
  public let tokenGrid: [Int]
  /// In order of the run.
  public let phases: [Phase]

  public var tokens: Int { tokenGrid.reduce(1, *) }
  public var flops: Double { phases.reduce(0) { $0 + $1.flops } }
  public var peakBytes: Int { phases.map(\.peakBytes).max() ?? 0 }
  /// The phase whose peak is highest.
  public var largestPhase: Phase? { phases.max { $0.peakBytes < $1.peakBytes } }

  /// The program, its libraries and small buffers.
  static let baseBytes = 64.0 * 1024 * 1024
  /// Of these, pages of the program and its libraries that are touched.
  static let programBytes = 48 << 20
  /// What is in use at once, and what of memory given back is kept for reuse: a tenth at most.
  private static func peak(_ bytes: Double) -> Int { whole(1.08 * (baseBytes + bytes)) }
  /// Widths of hidden size alive at once in a transformer block: the residual and the one being made, its rows as operands,
  /// q, k, v, the attention's result and that as operands.
  static let blockWidths = 8.0

  /// Estimates a run of `request`. A key/value compression that the model refuses counts as none.
  /// - Parameter attentionDensity: share of query-key pairs that self-attention keeps over the run; `nil` is dense
  ///   attention to all keys there are.
  public init(
    _ request: GenerationRequest, geometry: ModelGeometry, weights: WeightSizes, attentionDensity: Double? = nil
  ) {
    tokenGrid = geometry.tokenGrid(of: request)
    let tokens = Double(tokenGrid.reduce(1, *)), predictions = request.usesGuidance ? 2.0 : 1.0
    let textTokens = Double(request.maxSequenceLength)
    let precision = request.precision, other = precision.besideIntegers
    let transformer = weights.transformer, decoder = weights.autoencoder
    var phases: [Phase] = []
    if let encoder = geometry.textEncoder, let stored = weights.textEncoder {
      let activations = predictions * encoder.activationBytes(tokens: textTokens)
      phases.append(
        Phase(
          name: "text", weightsBytes: stored.bytes,
          peakBytes: Self.peak(encoder.streamedBytes(other) + activations),
          flops: predictions * encoder.flops(tokens: textTokens), precision: other))
    }
    let model = geometry.transformer
    let width = Double(model.hiddenSize)
    let caption = model.captionChannels == nil ? 0 : textTokens
    let keys = try? geometry.compressedLayers(of: request)?.keyCount(
      layerCount: model.layers, of: geometry.tokenLayout(of: request))
    let kept = attentionDensity.map { $0 * Double(model.layers) * tokens }
    // Guidance's branches are predicted one after the other.
    let activations = 4 * (Self.blockWidths * tokens * width + 3 * caption * width)
    phases.append(
      Phase(
        name: "denoise", weightsBytes: transformer.bytes,
        peakBytes: Self.peak(transformer.preparedBytes(precision) + activations),
        flops: Double(request.steps) * predictions
          * model.flops(tokens: tokens, textTokens: textTokens, keys: kept ?? keys.map(Double.init)),
        precision: precision))
    let scale = Double(geometry.autoencoder.scaleFactor)
    let latents = Double(request.modelWidth) / scale * (Double(request.modelHeight) / scale)
    // A clip leaves the decoder one latent frame's worth of frames at a time.
    let atATime = Double(geometry.autoencoder.temporalFactor), chunks = Double(request.frames - 1) / atATime + 1
    let picture = 2 * 3 * 4 * Double(request.modelWidth) * Double(request.modelHeight) * atATime
    let decoding = geometry.autoencoder.cost(latents: latents)
    let isTiled = LatentDecoder.tiling(request, geometry).isTiled
    let atOnce = isTiled ? geometry.autoencoder.cost(latents: min(latents, geometry.autoencoder.tileLatents)) : decoding
    phases.append(
      Phase(
        name: "decode", weightsBytes: decoder.bytes,
        peakBytes: Self.peak(decoder.preparedBytes(other) + 4 * atOnce.values + picture),
        flops: decoding.flops * chunks, precision: other))
    self.phases = phases
  }

  /// Seconds at a nominal speed: operations over what `cores` cores do by ``CPUSpeed/rate(_:)``.
  public func seconds(cores: Int, speed: CPUSpeed) -> Double {
    phases.reduce(0) { $0 + $1.flops / (Double(cores) * speed.rate($1.precision)) }
  }
}

/// Nominal speeds of one core, in operations a second, by the widest vectors it has: about what one server core of each
/// sort reaches in large products. A guide, not a promise.
public enum CPUSpeed: Sendable, Hashable, CaseIterable {
  case portable, avx2, avx2VNNI, avx512, avx512BFloat16

  public func rate(_ precision: Precision) -> Double {
    switch (self, precision) {
    case (.portable, _): 4e9
    case (.avx2VNNI, .int8): 120e9
    case (.avx2, _), (.avx2VNNI, _): 45e9
    case (.avx512, _), (.avx512BFloat16, .float32): 90e9
    case (.avx512BFloat16, .bfloat16): 180e9
    case (.avx512BFloat16, .int8): 270e9
    }
  }
}

/// Sizes of a pipeline's weights, from the headers of its files. Making one checks those headers.
public struct WeightSizes: Sendable, Hashable {
  let textEncoder: StoredWeights?
  let transformer, autoencoder: StoredWeights

  public init(_ folder: PipelineFolder) throws {
    textEncoder = try folder.kind.takesClassLabel ? nil : StoredWeights(folder, "text_encoder")
    transformer = try StoredWeights(folder, "transformer")
    autoencoder = try StoredWeights(folder, "vae")
  }
}

/// Sizes of a component's weights.
struct StoredWeights: Sendable, Hashable {
  /// As stored.
  private(set) var bytes = 0
  /// Elements of matrices and convolutions, which are prepared in the run's precision.
  private(set) var matrixCount = 0
  /// All other elements, kept as Float32.
  private(set) var vectorCount = 0
  /// Bytes of tables of which only a few rows are read.
  private(set) var tableBytes = 0

  init(_ folder: PipelineFolder, _ component: String) throws {
    for file in try folder.weightFiles(of: component) {
      for (name, tensor) in try SafetensorsFile(file).tensors {
        bytes += tensor.range.count
        if name == "shared.weight" || name.hasSuffix("embed_tokens.weight") {
          tableBytes += tensor.range.count
        } else if component == "vae" && (name.hasPrefix("encoder.") || name.hasPrefix("quant_conv.")) {
          continue
        } else if tensor.shape.count >= 2 {
          matrixCount += tensor.count
        } else {
          vectorCount += tensor.count
        }
      }
    }
  }

  /// Prepared all at once.
  func preparedBytes(_ precision: Precision) -> Double {
    Double(matrixCount) * precision.bytes + 4 * Double(vectorCount)
  }
}

extension ModelGeometry.TextEncoder {
  /// Operations to encode `tokens` tokens.
  func flops(tokens: Double) -> Double {
    let inner = Double(heads) * Double(headSize), width = Double(hiddenSize)
    let projections = 8 * tokens * width * inner, attention = 4 * tokens * tokens * inner
    let feedForward = (isGated ? 6 : 4) * tokens * width * Double(feedForwardSize)
    return Double(layers) * (projections + attention + feedForward)
  }

  /// What each thread holds of a matrix that stays in its file, in bytes: some outputs as stored, as Float32 and as
  /// operands.
  func streamedBytes(_ precision: Precision) -> Double {
    let inputs = max(hiddenSize, feedForwardSize, heads * headSize)
    let outputs = StreamedMatrix.outputsAtATime(rowBytes: 2 * inputs)
    return Double(ThreadPool.shared.threads) * Double(outputs * inputs) * (4 + 4 + precision.bytes)
  }

  /// Activations alive at once, in bytes.
  func activationBytes(tokens: Double) -> Double {
    let inner = Double(heads) * Double(headSize)
    return 4 * tokens * (2 * Double(hiddenSize) + 4 * inner + (isGated ? 3 : 2) * Double(feedForwardSize))
      + 4 * tokens * tokens * Double(heads)
  }
}

extension ModelGeometry.Transformer {
  /// Operations of one prediction for one picture.
  /// - Parameter keys: that a query of self-attention reads, summed over all layers; `nil` is one a token.
  func flops(tokens: Double, textTokens: Double, keys: Double? = nil) -> Double {
    let width = Double(hiddenSize), patch = Double(patchSize * patchSize * patchFrames)
    let projections = 8 * tokens * width * width, feedForward = 4 * tokens * width * Double(feedForwardSize)
    var block = projections + feedForward
    var once = 4 * tokens * (keys ?? Double(layers) * tokens) * width
    once += 2 * tokens * width * patch * Double(inChannels + outChannels)
    let embedder = 2 * (256 * width + width * width)
    if let captionChannels {
      block += 4 * (tokens + textTokens) * width * width + 4 * tokens * textTokens * width
      once += 2 * textTokens * (Double(captionChannels) * width + width * width) + embedder + 12 * width * width
    } else {
      block += 12 * width * width
      once += embedder + 4 * width * width
    }
    return Double(layers) * block + once
  }
}

extension ModelGeometry.Autoencoder {
  /// Operations of the decoder for `latents` latent positions, and the values alive at its worst moment.
  func cost(latents: Double) -> (flops: Double, values: Double) {
    isTiny ? tinyCost(latents: latents) : fullCost(latents: latents)
  }

  private func fullCost(latents: Double) -> (flops: Double, values: Double) {
    var flops = 0.0, peak = 0.0
    // Of one frame; frames; and what causal kernels keep of earlier ones.
    var area = latents, frames = 1.0, kept = 0.0
    let taps = Double(kernelFrames), isClip = kernelFrames > 1
    func convolve(_ from: Double, _ to: Double, kernel: Double = 9, taps: Double) {
      flops += 2 * kernel * taps * area * frames * from * to
      kept += (taps - 1) * area * from
    }
    func live(_ width: Double) { peak = max(peak, area * frames * width) }
    // The second convolution adds to its input's memory.
    func residual(_ from: Double, _ to: Double) {
      convolve(from, to, taps: taps)
      convolve(to, to, taps: taps)
      if from != to { convolve(from, to, kernel: 1, taps: 1) }
      live(from == to ? 2 * to : from + 2 * to)
    }
    var width = Double(channels[channels.count - 1])
    convolve(Double(latentChannels), width, taps: taps)
    residual(width, width)
    residual(width, width)
    if hasMiddleAttention {
      flops += 8 * area * width * width + 4 * area * area * width
      live(5 * width)
    }
    for stage in channels.indices.reversed() {
      let next = Double(channels[stage])
      for _ in 0..<blocks[stage] {
        residual(width, next)
        width = next
      }
      guard stage > 0 else { continue }
      if frames < Double(temporalFactor) {
        convolve(width, 2 * width, kernel: 1, taps: taps)
        frames *= 2
        live(2 * width)
      }
      let to = halvesChannels ? width / 2 : width
      area *= 4
      convolve(width, to, taps: 1)
      live(width / 4 + to)
      width = to
    }
    convolve(width, 3, taps: taps)
    live(width + 3)
    // Frames are kept as copies, the newest made before the one before is dropped.
    return (flops, peak + kept + (isClip ? 2 * area * width : 0))
  }

  private func tinyCost(latents: Double) -> (flops: Double, values: Double) {
    var area = latents, flops = 0.0, peak = 0.0
    var width = Double(channels[channels.count - 1])
    flops += 18 * area * Double(latentChannels) * width
    for stage in channels.indices.reversed() {
      width = Double(channels[stage])
      flops += Double(blocks[stage]) * 3 * 18 * area * width * width
      if stage > 0 { area *= 4 }
      flops += 18 * area * width * (stage > 0 ? width : 3)
      peak = max(peak, 3 * area * width)
    }
    return (flops, peak)
  }
}

/// `value` as a whole number, held within range.
private func whole(_ value: Double) -> Int { value >= 9e18 ? Int.max : Int(max(0, value)) }
