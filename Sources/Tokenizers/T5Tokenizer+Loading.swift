import Foundation
import TolerantJSON

extension T5Tokenizer {
  /// transformers' T5 assumes the unknown piece here, whatever the file says.
  static let unknownID = 2
  /// How many `<extra_id_…>` a folder has that does not say.
  static let defaultExtraIDs = 100
  static let extraIDLimit = 100_000

  /// What a vocabulary file holds.
  private struct Vocabulary {
    var pieces: [[UInt8]], scores: [Double]
    var charsmap: PrecompiledCharsmap?
    var added: [TokenRecord] = []
    /// Pieces the file itself calls verbatim, when it is a `spiece.model`.
    var verbatim: [AddedToken]?
    var path: String
  }

  /// Reads a diffusers tokenizer folder: `tokenizer.json` or else `spiece.model`, with `tokenizer_config.json`,
  /// `special_tokens_map.json` and `added_tokens.json` if there.
  public init(folder: URL) throws {
    let files = try TokenizerFolder(folder)
    let extraIDs = files.configuration.extraIds ?? Self.defaultExtraIDs
    guard (0...Self.extraIDLimit).contains(extraIDs) else {
      throw TokenizerError.malformed(
        path: folder.appendingPathComponent("tokenizer_config.json").path,
        expected: "extra_ids in 0...\(Self.extraIDLimit)", found: "\(extraIDs)")
    }
    let vocabulary = try Self.readJSON(folder) ?? Self.readSentencePiece(folder, extraIDs: extraIDs)
    guard let vocabulary else {
      throw TokenizerError.missing(path: folder.path, expected: "tokenizer.json or spiece.model")
    }
    guard vocabulary.pieces.count > Self.unknownID else {
      throw TokenizerError.malformed(
        path: vocabulary.path, expected: "more than \(Self.unknownID) pieces", found: "\(vocabulary.pieces.count)")
    }
    let model = UnigramModel(pieces: vocabulary.pieces, scores: vocabulary.scores, unknownID: Self.unknownID)
    let named = Self.namedTokens(files)
    var added: [Int: AddedToken] = [:]
    var ids: [[UInt8]: Int] = [:]
    var nextID = model.pieces.count
    for token in Self.tokensToAdd(files, vocabulary, named, extraIDs) {
      let key = Array(token.content.utf8)
      guard !key.isEmpty else { continue }
      let id = ids[key] ?? model.id(of: key) ?? nextID
      if id == nextID { nextID += 1 }
      ids[key] = id
      added[id] = token
    }
    func id(_ name: String) throws -> Int {
      guard let content = named.first(where: { $0.name == name })?.token.content, let id = ids[Array(content.utf8)]
      else { throw TokenizerError.malformed(path: vocabulary.path, expected: "a token for \(name)", found: "none") }
      return id
    }
    self.init(
      model: model, charsmap: vocabulary.charsmap, addedTokens: added, padID: try id("pad_token"),
      eosID: try id("eos_token"))
  }

  // MARK: Vocabulary files

  private static func readJSON(_ folder: URL) throws -> Vocabulary? {
    let name = "tokenizer.json", path = folder.appendingPathComponent(name).path
    guard let outline = try TokenizerFolder.decode(TokenizerFile.Outline.self, folder, name) else { return nil }
    if let type = outline.model.type, type != "Unigram" {
      throw TokenizerError.unsupported(path: path, component: "model \"\(type)\"; T5 needs \"Unigram\"")
    }
    guard let file = try TokenizerFolder.decode(TokenizerFile.self, folder, name) else { return nil }
    if let id = file.model.unkId, id != unknownID {
      throw TokenizerError.unsupported(path: path, component: "unk_id \(id); T5 needs \(unknownID)")
    }
    let known: [(String, TokenizerFile.Component?, Set<String>)] = [
      ("normalizer", file.normalizer, ["Sequence", "Precompiled", "Strip", "Replace", "NFKC", "NFC"]),
      ("pre_tokenizer", file.preTokenizer, ["Sequence", "WhitespaceSplit", "Metaspace"]),
      ("post_processor", file.postProcessor, ["Sequence", "TemplateProcessing"]),
      ("decoder", file.decoder, ["Sequence", "Metaspace", "Replace", "Fuse", "Strip", "ByteFallback"]),
    ]
    for (role, component, types) in known {
      for type in component?.all.compactMap(\.type) ?? [] where !types.contains(type) {
        throw TokenizerError.unsupported(path: path, component: "\(role) \"\(type)\"")
      }
    }
    var charsmap: PrecompiledCharsmap?
    if let table = file.normalizer?.all.first(where: { $0.precompiledCharsmap != nil })?.precompiledCharsmap {
      guard let data = Data(base64Encoded: table) else {
        throw TokenizerError.malformed(path: path, expected: "precompiled_charsmap in base64", found: "something else")
      }
      charsmap = try PrecompiledCharsmap([UInt8](data), path: path)
    }
    return Vocabulary(
      pieces: file.model.vocab.map { Array($0.text.utf8) }, scores: file.model.vocab.map(\.score), charsmap: charsmap,
      added: file.addedTokens ?? [], path: path)
  }

  private static func readSentencePiece(_ folder: URL, extraIDs: Int) throws -> Vocabulary? {
    let url = folder.appendingPathComponent("spiece.model")
    let data: Data
    do {
      data = try TolerantJSON.read(url, limit: SentencePieceFile.sizeLimit)
    } catch let failure as TolerantJSON.Failure {
      if failure.isMissing { return nil }
      throw TokenizerError.malformed(
        path: url.path, expected: "a SentencePiece model of at most \(SentencePieceFile.sizeLimit) bytes",
        found: "a file that is larger or cannot be read")
    }
    let file = try SentencePieceFile(bytes: [UInt8](data), path: url.path)
    let model = try SentencePieceModel(serialized: file.checked, path: url.path)
    guard model.unknownID == unknownID else {
      throw TokenizerError.unsupported(
        path: url.path, component: "unknown piece \(model.unknownID ?? -1); T5 needs \(unknownID)")
    }
    let ids = 0..<model.pieceCount
    let extra = (0..<extraIDs).reversed().map { Array("<extra_id_\($0)>".utf8) }
    return Vocabulary(
      pieces: ids.map(model.piece) + extra,
      scores: ids.map { Double(model.score($0)) } + extra.map { _ in 0 },
      charsmap: file.charsmap.isEmpty ? nil : try PrecompiledCharsmap(file.charsmap, path: url.path),
      verbatim: file.verbatim.map {
        AddedToken(content: String(decoding: model.piece($0.id), as: UTF8.self), isSpecial: $0.isControl)
      },
      path: url.path)
  }

  // MARK: Added tokens, in the order transformers adds them, which gives new ones their ids

  private static func namedTokens(_ files: TokenizerFolder) -> [(name: String, token: AddedToken)] {
    let config = files.configuration
    // transformers reads the legacy file only when the configuration does not list the added tokens.
    let legacy = config.addedTokensDecoder == nil ? files.specialTokens : nil
    let records: [(String, TokenRecord?, String?)] = [
      ("bos_token", legacy?.bosToken ?? config.bosToken, nil),
      ("eos_token", legacy?.eosToken ?? config.eosToken, "</s>"),
      ("unk_token", legacy?.unkToken ?? config.unkToken, "<unk>"),
      ("sep_token", legacy?.sepToken ?? config.sepToken, nil),
      ("pad_token", legacy?.padToken ?? config.padToken, "<pad>"),
      ("cls_token", legacy?.clsToken ?? config.clsToken, nil),
      ("mask_token", legacy?.maskToken ?? config.maskToken, nil),
    ]
    return records.compactMap { name, record, byDefault in
      if let record { return (name, record.token(special: true)) }
      return byDefault.map { (name, AddedToken(content: $0)) }
    }
  }

  private static func tokensToAdd(
    _ files: TokenizerFolder, _ vocabulary: Vocabulary, _ named: [(name: String, token: AddedToken)], _ extraIDs: Int
  ) -> [AddedToken] {
    let extra = extraTokens(files, vocabulary, extraIDs)
    var listed: [Int: AddedToken] = [:]
    if let decoder = files.configuration.addedTokensDecoder {
      for (key, record) in decoder { if let id = Int(key) { listed[id] = record.token(special: false) } }
    } else {
      let special = Set((named.map(\.token) + extra).map { Array($0.content.utf8) })
      for (content, id) in files.addedTokens ?? [:] {
        let isSpecial = special.contains(Array(content.utf8))
        listed[id] = AddedToken(content: content, normalized: !isSpecial, isSpecial: isSpecial)
      }
      for record in vocabulary.added { if let id = record.id { listed[id] = record.token(special: false) } }
    }
    var tokens = listed.sorted { $0.key < $1.key }.map(\.value)
    var seen = Set(tokens.map { Array($0.content.utf8) })
    for token in named.map(\.token) + extra where seen.insert(Array(token.content.utf8)).inserted {
      tokens.append(token)
    }
    return tokens
  }

  private static func extraTokens(
    _ files: TokenizerFolder, _ vocabulary: Vocabulary, _ extraIDs: Int
  ) -> [AddedToken] {
    let config = files.configuration
    let legacy = config.addedTokensDecoder == nil ? files.specialTokens : nil
    var stated = config.extraSpecialTokens?.tokens
    if stated?.isEmpty ?? true, let additional = config.additionalSpecialTokens { stated = additional.tokens }
    if let more = legacy?.extraSpecialTokens { stated = (stated ?? []) + more.tokens }
    if let stated { return stated.map { $0.token(special: true) } }
    var tokens = vocabulary.verbatim ?? legacy?.additionalSpecialTokens?.tokens.map { $0.token(special: true) } ?? []
    if !tokens.contains(where: { $0.content.contains("<extra_id_") }) {
      tokens += (0..<extraIDs).map { AddedToken(content: "<extra_id_\($0)>") }
    }
    return tokens
  }
}
