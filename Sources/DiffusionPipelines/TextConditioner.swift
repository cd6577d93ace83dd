import Checkpoints
import DiffusionModels
import Foundation
import Tensors
import Tokenizers

/// Prompts to text embeddings. The encoder's weights are mapped while it works and let go after; embeddings are kept,
/// so that a batch encodes each text once, and with a cache no later run encodes it again.
final class TextConditioner {
  private struct Key: Hashable {
    let text: String, maxLength: Int, isCleaned: Bool, precision: Precision
  }

  private let folder: PipelineFolder
  private let tokenizer: T5Tokenizer
  private let weights: WeightFingerprints, cache: EmbeddingCache?
  private var embeddings: [Key: Tensor] = [:]

  init(_ folder: PipelineFolder, _ weights: WeightFingerprints, cache: EmbeddingCache?) throws {
    (self.folder, self.weights, self.cache) = (folder, weights, cache)
    tokenizer = try T5Tokenizer(folder: folder.folder(of: "tokenizer"))
  }

  /// The texts a request needs: the prompt, and with guidance the negative prompt.
  private static func keys(_ request: GenerationRequest) -> [Key] {
    let texts = [request.prompt] + (request.usesGuidance ? [request.negativePrompt] : [])
    return texts.map {
      Key(
        text: $0, maxLength: request.maxSequenceLength, isCleaned: request.cleanCaption,
        precision: request.precision.besideIntegers)
    }
  }

  /// Encodes what the requests need and is not there yet, all in one pass over the encoder's layers.
  func prepare(_ requests: [GenerationRequest], onEvent: (GenerationEvent) throws -> Bool) throws {
    var missing: [Key] = []
    for key in requests.flatMap(Self.keys) where embeddings[key] == nil && !missing.contains(key) {
      missing.append(key)
    }
    if requests.contains(where: { $0.prompt.allSatisfy(\.isWhitespace) }) {
      _ = try onEvent(.notice("the prompt is empty: nothing says what to draw"))
    }
    for precision in Precision.allCases {
      let keys = missing.filter { $0.precision == precision }
      if !keys.isEmpty { try encode(keys, precision, onEvent) }
    }
  }

  private func encode(_ keys: [Key], _ precision: Precision, _ onEvent: (GenerationEvent) throws -> Bool) throws {
    _ = try onEvent(.phase("text"))
    let tokens = try keys.map { key -> [Int] in
      let text = cleaned(key)
      let tokens = try tokenizer.encode(text, maxLength: key.maxLength)
      if !tokens.dropped.isEmpty {
        _ = try onEvent(
          .notice("prompt is longer than \(key.maxLength) tokens; this part is cut off: \(shortened(tokens.dropped))"))
      }
      return zip(tokens.ids, tokens.mask).filter(\.1).map(\.0)
    }
    let encoder = encoderIdentity(), cache = encoder == nil ? nil : cache
    var missing: [(key: Key, tokens: [Int], name: String)] = []
    for (key, tokens) in zip(keys, tokens) {
      let name = EmbeddingCache.name(encoder: encoder ?? [], tokens: tokens, precision: precision)
      if let known = cache?.embedding(name, tokens: tokens.count) {
        embeddings[key] = known
      } else {
        missing.append((key, tokens, name))
      }
    }
    if missing.isEmpty { return }
    let results = try encoded(missing.map(\.tokens), precision, onEvent)
    for (text, result) in zip(missing, results) {
      guard result.isFinite else { throw PipelineError.notFinite(component: "text_encoder") }
      embeddings[text.key] = result
    }
    cache?.keep(zip(missing, results).map { ($0.name, $1) })
  }

  /// Token sequences through the encoder, in one pass over its layers.
  private func encoded(
    _ sequences: [[Int]], _ precision: Precision, _ onEvent: (GenerationEvent) throws -> Bool
  ) throws -> [Tensor] {
    let store = try WeightStore(folder: folder.folder(of: "text_encoder"))
    let className = folder.components["text_encoder"]?.className ?? ""
    let encoder = try T5EncoderModel(
      folder.config(T5Configuration.self, of: "text_encoder"), family: T5Family(rawValue: className) ?? .t5,
      weights: store.scope(precision))
    let results = try naming("text_encoder") {
      try encoder(sequences) { layer in
        if layer > 0, try !onEvent(.step(index: layer, count: encoder.configuration.layers)) {
          throw GenerationStopped(steps: 0)
        }
      }
    }
    try store.verifyAllRead { $0.hasPrefix("decoder.") || $0 == "lm_head.weight" }
    return results
  }

  /// What tells this encoder from others, or `nil` where its embeddings are not to be kept. Fingerprints of large files
  /// are of samples, so their dates count too.
  private func encoderIdentity() -> [String]? {
    guard let cache, let files = try? weights.of(component: "text_encoder"),
      files.reduce(0, { $0 + $1.bytes }) >= cache.smallestEncoder,
      let config = try? Data(contentsOf: folder.configFile(of: "text_encoder")),
      let dates = try? folder.weightFiles(of: "text_encoder").map({ file in
        try file.resolvingSymlinksInPath().resourceValues(forKeys: [.contentModificationDateKey])
          .contentModificationDate?
          .timeIntervalSince1970 ?? 0
      })
    else { return nil }
    return [folder.components["text_encoder"]?.className ?? "", SHA256.hex(of: Array(config))] + dates.map { "\($0)" }
      + files.map(\.fingerprint)
  }

  /// The embeddings of a prepared request, `[1, L, D]` each: of the prompt, and of the negative prompt with guidance.
  /// Wan reads a fixed number of tokens: zeros follow the text.
  func embeddings(_ request: GenerationRequest) -> [Tensor] {
    Self.keys(request).compactMap { key in
      guard let text = embeddings[key], folder.kind == .wan, text.shape[1] < key.maxLength else {
        return embeddings[key]
      }
      return Tensor.concatenated([text, Tensor(zeros: [1, key.maxLength - text.shape[1], text.shape[2]])], axis: 1)
    }
  }

  private func cleaned(_ key: Key) -> String {
    if folder.kind == .wan { return CaptionCleaner.basic(key.text) }
    return key.isCleaned ? CaptionCleaner.clean(key.text) : CaptionCleaner.plain(key.text)
  }
}

/// The beginning of a long text, and how much more there is.
private func shortened(_ text: String, to count: Int = 160) -> String {
  text.count <= count ? text : "\(text.prefix(count))... (\(text.count - count) more characters)"
}
