import CSentencePiece

/// A SentencePiece model opened by libsentencepiece. The only file that calls the C++ library.
///
/// The library ends the process on some broken models, so it is only given bytes that `SentencePieceFile` has checked.
@safe package final class SentencePieceModel: Sendable {
  // Immutable after `init`, and the library's readers are const: hence `nonisolated(unsafe)`.
  private nonisolated(unsafe) let model: OpaquePointer
  package let pieceCount: Int

  /// - Parameter serialized: a model as written by SentencePiece, already checked.
  package init(serialized: [UInt8], path: String) throws {
    var message = [CChar](repeating: 0, count: 256)
    let opened = unsafe message.withUnsafeMutableBufferPointer { message in
      unsafe serialized.withUnsafeBufferPointer {
        unsafe tessera_sp_open($0.baseAddress, $0.count, message.baseAddress, message.count)
      }
    }
    guard let opened = unsafe opened else {
      let text = String(decoding: message.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
      throw TokenizerError.malformed(path: path, expected: "a SentencePiece model", found: "an unreadable one: \(text)")
    }
    unsafe model = opened
    pieceCount = Int(unsafe tessera_sp_piece_count(opened))
  }

  deinit { unsafe tessera_sp_close(model) }

  /// The UTF-8 of a piece.
  package func piece(_ id: Int) -> [UInt8] {
    precondition((0..<pieceCount).contains(id), "piece \(id) of \(pieceCount)")
    let length = unsafe tessera_sp_piece(model, Int32(id), nil, 0)
    var bytes = [UInt8](repeating: 0, count: Int(max(0, length)))
    _ = unsafe bytes.withUnsafeMutableBufferPointer {
      unsafe tessera_sp_piece(model, Int32(id), $0.baseAddress, $0.count)
    }
    return bytes
  }

  /// The log probability of a piece.
  package func score(_ id: Int) -> Float {
    precondition((0..<pieceCount).contains(id), "piece \(id) of \(pieceCount)")
    return unsafe tessera_sp_score(model, Int32(id))
  }

  /// The id of a piece; the unknown id if there is no such piece.
  package func id(of piece: String) -> Int {
    let bytes = Array(piece.utf8)
    return Int(unsafe bytes.withUnsafeBufferPointer { unsafe tessera_sp_id(model, $0.baseAddress, $0.count) })
  }

  package var unknownID: Int? { Self.defined(unsafe tessera_sp_unknown_id(model)) }
  package var padID: Int? { Self.defined(unsafe tessera_sp_pad_id(model)) }
  package var endID: Int? { Self.defined(unsafe tessera_sp_end_id(model)) }

  private static func defined(_ id: Int32) -> Int? { id < 0 ? nil : Int(id) }

  /// The ids libsentencepiece itself gives a text. `T5Tokenizer` does not use it, since transformers 5 segments
  /// differently; it is the second opinion of the tests.
  package func encode(_ text: String) -> [Int]? {
    let bytes = Array(text.utf8)
    var ids = [Int32](repeating: 0, count: bytes.count + 16)
    while true {
      let capacity = ids.count
      let count = unsafe ids.withUnsafeMutableBufferPointer { ids in
        unsafe bytes.withUnsafeBufferPointer {
          unsafe tessera_sp_encode(model, $0.baseAddress, $0.count, ids.baseAddress, capacity)
        }
      }
      guard count >= 0 else { return nil }
      if count <= capacity { return ids.prefix(Int(count)).map(Int.init) }
      ids = [Int32](repeating: 0, count: Int(count))
    }
  }
}
