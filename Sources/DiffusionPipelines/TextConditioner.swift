import Checkpoints
import DiffusionModels
import Foundation
import Tensors
import Tokenizers

/// Prompts to text embeddings. The encoder's weights are mapped while it works and let go after; embeddings are kept,
/// so that a batch encodes each text once.
final class TextConditioner {
  private struct Key: Hashable {
    let text: String, maxLength: Int, isCleaned: Bool, precision: Precision
  }

  private let folder: PipelineFolder
  private let tokenizer: T5Tokenizer
  private var embeddings: [Key: Tensor] = [:]

  init(_ folder: PipelineFolder) throws {
    self.folder = folder
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
    let sequences = try keys.map { key -> [Int] in
      let text = cleaned(key)
      let tokens = try tokenizer.encode(text, maxLength: key.maxLength)
      if !tokens.dropped.isEmpty {
        _ = try onEvent(
          .notice("prompt is longer than \(key.maxLength) tokens; this part is cut off: \(shortened(tokens.dropped))"))
      }
      return zip(tokens.ids, tokens.mask).filter(\.1).map(\.0)
    }
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
    for (key, result) in zip(keys, results) {
      guard result.isFinite else { throw PipelineError.notFinite(component: "text_encoder") }
      embeddings[key] = result
    }
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
