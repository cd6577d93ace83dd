import DiffusionModels
import Media
import SparseAttention
import Tensors

/// Whether a size is mapped to the nearest size the model was trained on, as the published PixArt pipelines do.
public enum ResolutionBinning: String, Sendable, Hashable, CaseIterable, Codable {
  /// Map it where sizes are published for the model, and bring the result back to the size asked for.
  case auto
  case off
}

/// The generator that noise is drawn from.
public enum NoiseGenerator: String, Sendable, Hashable, CaseIterable, Codable {
  /// PyTorch's CPU generator: the same seed gives the same noise as diffusers.
  case torch
  case philox
}

/// Whether latents are decoded in tiles.
public enum AutoencoderTiling: String, Sendable, Hashable, CaseIterable, Codable {
  /// Tiles where the whole picture would not fit the memory there is; the reason is said.
  case auto
  case on, off
}

/// A class by its id, and its name where the folder gives one.
public struct ClassLabel: Sendable, Hashable, Codable {
  public var id: Int
  public var name: String?

  public init(id: Int, name: String? = nil) {
    self.id = id
    self.name = name
  }
}

/// One result to make, everything resolved: no default is left to the pipeline but the scheduler's own.
public struct GenerationRequest: Sendable, Hashable {
  public var prompt = ""
  public var negativePrompt = ""
  /// For class-conditional pipelines, in place of the prompt.
  public var classLabel: ClassLabel?
  /// The result's size in pixels.
  public var width: Int
  public var height: Int
  /// The size the model draws, in pixels. Where it differs from the result's, the decoded picture is scaled to cover
  /// the result's size and cropped around its centre, as upstream does.
  public var modelWidth: Int
  public var modelHeight: Int
  /// Frames of a clip, one for every latent frame's first and the rest a multiple of the autoencoder's factor; 1 for a
  /// picture.
  public var frames = 1
  public var framesPerSecond = 16.0
  public var steps: Int
  /// Classifier-free guidance; 1 or less turns it off.
  public var guidanceScale: Double
  public var seed: UInt64
  /// A scheduler class or short name in place of the folder's.
  public var scheduler: String?
  /// A shift in place of the scheduler configuration's.
  public var flowShift: Double?
  /// In text tokens.
  public var maxSequenceLength: Int
  public var cleanCaption = true
  public var resolutionBinning = ResolutionBinning.auto
  public var precision = Precision.float32
  public var noise = NoiseGenerator.torch
  public var autoencoderTiling = AutoencoderTiling.auto
  public var attention = AttentionChoice.dense
  /// Shorter keys and values in some layers; `nil` leaves it to the checkpoint. ``KeyValueCompression/off`` is none.
  public var keyValueCompression: KeyValueCompression?
  /// Whether the result should carry its final latents.
  public var wantsLatents = false
  /// Whether the result should carry block patterns of a few layers and heads, for pictures of the plan.
  public var wantsAttentionPatterns = false
  /// A decoded preview after every so many steps; `nil` for none.
  public var previewEvery: Int?
  /// Bytes that a run may take, where a limit was given.
  public var memoryLimit: Int?

  public init(
    width: Int, height: Int, steps: Int, guidanceScale: Double, seed: UInt64, maxSequenceLength: Int
  ) {
    self.width = width
    self.height = height
    modelWidth = width
    modelHeight = height
    self.steps = steps
    self.guidanceScale = guidanceScale
    self.seed = seed
    self.maxSequenceLength = maxSequenceLength
  }

  /// Whether each step predicts twice: with the prompt and without.
  public var usesGuidance: Bool { guidanceScale > 1 }
}

/// What denoising made of a request: everything of a result but its pictures.
public struct DenoisedResult: Sendable {
  public var request: GenerationRequest
  /// Final latents `[1, C, H, W]`, of a clip `[1, C, F, H, W]`, before the autoencoder's scaling is undone.
  public var latents: Tensor
  /// Complete but for the seconds of decoding.
  public var record: RunRecord
  public var attention: AttentionTrace

  public init(
    request: GenerationRequest, latents: Tensor, record: RunRecord, attention: AttentionTrace = AttentionTrace()
  ) {
    self.request = request
    self.latents = latents
    self.record = record
    self.attention = attention
  }
}

/// What a run made.
public struct GenerationResult: Sendable {
  public var image: Frame
  /// Final latents `[B, C, H, W]`, before the autoencoder's scaling is undone.
  public var latents: Tensor
  public var record: RunRecord
  public var attention: AttentionTrace

  public init(image: Frame, latents: Tensor, record: RunRecord, attention: AttentionTrace = AttentionTrace()) {
    self.image = image
    self.latents = latents
    self.record = record
    self.attention = attention
  }
}

/// What a run reports while it goes.
public enum GenerationEvent: Sendable {
  /// A phase begins: `load text_encoder`, `text`, `load transformer`, `denoise`, `decode`, ...
  case phase(String)
  /// A step of the current phase is done; `index` counts from 1.
  case step(index: Int, count: Int)
  /// The share of query-key pairs that self-attention has kept so far; said before the step it belongs to.
  case density(Double)
  /// The run after the step that is reported next: enough to go on from there.
  case state(RunState)
  /// A decision or an oddity the user should know of.
  case notice(String)
  /// The picture so far, after step `index`, which counts from 1.
  case preview(Frame, index: Int)
}

/// A run ended early because its caller asked for it.
public struct GenerationStopped: Error, Sendable, Hashable, CustomStringConvertible {
  /// Steps done when it stopped.
  public let steps: Int
  public init(steps: Int) { self.steps = steps }
  public var description: String { "stopped after \(steps) steps" }
}

/// A loaded pipeline that makes images or clips. Components are loaded when first needed and may be kept between calls.
///
/// In all calls `onEvent` is called on the calling thread; `false` asks to stop, and the call throws
/// ``GenerationStopped``. An error it throws ends the run and is passed on.
public protocol MediaGenerator: AnyObject {
  /// Whether models stay loaded between results: for batches, where they fit together.
  var keepsModels: Bool { get set }

  /// Does in one pass what several requests share, such as encoding their texts. Optional: ``denoise(_:resuming:onEvent:)``
  /// does for itself what has not been done.
  func prepare(_ requests: [GenerationRequest], onEvent: (GenerationEvent) throws -> Bool) throws

  /// Encodes the text, draws the noise and takes all steps.
  /// - Parameter state: an interrupted run of the same request, to go on from; one of another request is refused.
  func denoise(
    _ request: GenerationRequest, resuming state: RunState?, onEvent: (GenerationEvent) throws -> Bool
  ) throws -> DenoisedResult

  /// Decodes what denoising made.
  /// - Parameter onFrame: receives the picture, or a clip's frames in order as they are made; an error it throws ends
  ///   the call.
  /// - Returns: wall-clock seconds.
  @discardableResult
  func decode(
    _ denoised: DenoisedResult, onFrame: (Frame) throws -> Void, onEvent: (GenerationEvent) throws -> Bool
  ) throws -> Double

  /// Takes all steps with an attention engine of the caller's in place of the one the request names, and decodes
  /// nothing: for calibration.
  /// - Returns: final latents, as in ``DenoisedResult``.
  func denoise(
    _ request: GenerationRequest, with engine: any AttentionEngine, onEvent: (GenerationEvent) throws -> Bool
  ) throws -> Tensor
}

extension MediaGenerator {
  /// Encodes the text, draws the noise and takes all steps.
  public func denoise(
    _ request: GenerationRequest, onEvent: (GenerationEvent) throws -> Bool
  ) throws -> DenoisedResult {
    try denoise(request, resuming: nil, onEvent: onEvent)
  }

  /// Makes one image, or one clip.
  /// - Parameter onFrame: receives a clip's frames in order; the result holds the first.
  public func generate(
    _ request: GenerationRequest, onFrame: (Frame) throws -> Void = { _ in },
    onEvent: (GenerationEvent) throws -> Bool
  ) throws -> GenerationResult {
    try decoded(denoise(request, onEvent: onEvent), onFrame: onFrame, onEvent: onEvent)
  }

  /// Decodes, and keeps the first frame.
  package func decoded(
    _ denoised: DenoisedResult, onFrame: (Frame) throws -> Void = { _ in },
    onEvent: (GenerationEvent) throws -> Bool
  ) throws -> GenerationResult {
    var first: Frame?
    let seconds = try decode(
      denoised,
      onFrame: { frame in
        first = first ?? frame
        try onFrame(frame)
      }, onEvent: onEvent)
    guard let first else { preconditionFailure("decoding made no frame") }
    var record = denoised.record
    record.decodingEnded(after: seconds)
    return GenerationResult(
      image: first, latents: denoised.latents, record: record, attention: denoised.attention)
  }
}

/// What holds for all results of a process.
public struct GeneratorOptions: Sendable, Hashable {
  /// Threads that take part in loops.
  public var threads: Int
  /// Where text embeddings are kept between runs; `nil` keeps none.
  public var embeddings: EmbeddingCache?
  public init(threads: Int, embeddings: EmbeddingCache? = nil) {
    (self.threads, self.embeddings) = (threads, embeddings)
  }
}
