/// What a `spiece.model` holds, read from the protobuf wire format with every length checked.
///
/// libsentencepiece trusts its input more than a downloaded file deserves. So this reads the file first, refuses what
/// could hurt, and hands the library only the pieces and the training record: no normalization tables, no self-test.
struct SentencePieceFile {
  static let sizeLimit = 64 << 20
  static let pieceLimit = 4 << 20

  /// The parts the library needs, in wire format.
  private(set) var checked: [UInt8] = []
  /// The normalization table: `normalizer_spec.precompiled_charsmap`, empty if there is none.
  private(set) var charsmap: [UInt8] = []
  /// Per piece, whether SentencePiece calls it a control or user-defined piece, i.e. one that is matched verbatim.
  private(set) var verbatim: [(id: Int, isControl: Bool)] = []
  private(set) var pieceCount = 0
  private let path: String

  init(bytes: [UInt8], path: String) throws {
    self.path = path
    guard !bytes.isEmpty else { throw malformed("an empty file") }
    var reader = ProtobufReader(bytes[...])
    var modelType: UInt64 = 1, unknownPieces = 0
    var seen = Set<[UInt8]>()
    while !reader.isAtEnd {
      let start = reader.position
      guard let field = reader.next() else { throw malformed("a broken record at byte \(start)") }
      switch (field.number, field.value) {
      case (1, .bytes(let piece)):
        if try readPiece(piece, &seen) { unknownPieces += 1 }
        checked += bytes[start..<reader.position]
      case (2, .bytes(let trainer)):
        modelType = try readModelType(trainer)
        checked += bytes[start..<reader.position]
      case (3, .bytes(let normalizer)):
        charsmap = try readCharsmap(normalizer)
      default: break
      }
    }
    guard pieceCount > 0 else { throw malformed("no pieces") }
    guard unknownPieces == 1 else { throw malformed("\(unknownPieces) pieces of the unknown type instead of one") }
    guard modelType == 1 else {
      throw TokenizerError.unsupported(path: path, component: "SentencePiece model type \(modelType); unigram is 1")
    }
  }

  private func malformed(_ found: String) -> TokenizerError {
    .malformed(path: path, expected: "a SentencePiece model", found: found)
  }

  /// Reads one piece and returns whether it is the unknown one.
  private mutating func readPiece(_ bytes: ArraySlice<UInt8>, _ seen: inout Set<[UInt8]>) throws -> Bool {
    var reader = ProtobufReader(bytes)
    var text: [UInt8] = [], score: Float = 0, type: UInt64 = 1
    while !reader.isAtEnd {
      guard let field = reader.next() else { throw malformed("piece \(pieceCount) cut short") }
      switch (field.number, field.value) {
      case (1, .bytes(let value)): text = Array(value)
      case (2, .fixed32(let value)): score = Float(bitPattern: value)
      case (3, .varint(let value)): type = value
      default: break
      }
    }
    guard !text.isEmpty, !text.contains(0), String(validating: text, as: UTF8.self) != nil else {
      throw malformed("piece \(pieceCount) empty or not UTF-8")
    }
    guard seen.insert(text).inserted else { throw malformed("piece \(pieceCount) a second time") }
    guard score.isFinite else { throw malformed("piece \(pieceCount) with score \(score)") }
    guard (1...6).contains(type) else { throw malformed("piece \(pieceCount) of type \(type)") }
    guard pieceCount < Self.pieceLimit else { throw malformed("more than \(Self.pieceLimit) pieces") }
    if type == 3 || type == 4 { verbatim.append((pieceCount, type == 3)) }
    pieceCount += 1
    return type == 2
  }

  private func readModelType(_ bytes: ArraySlice<UInt8>) throws -> UInt64 {
    var reader = ProtobufReader(bytes)
    var type: UInt64 = 1
    while !reader.isAtEnd {
      guard let field = reader.next() else { throw malformed("a training record cut short") }
      if case (3, .varint(let value)) = (field.number, field.value) { type = value }
    }
    return type
  }

  private func readCharsmap(_ bytes: ArraySlice<UInt8>) throws -> [UInt8] {
    var reader = ProtobufReader(bytes)
    var charsmap: [UInt8] = []
    while !reader.isAtEnd {
      guard let field = reader.next() else { throw malformed("a normalizer record cut short") }
      if case (2, .bytes(let value)) = (field.number, field.value) { charsmap = Array(value) }
    }
    return charsmap
  }
}

/// Walks the fields of one protobuf message.
struct ProtobufReader {
  enum Value { case varint(UInt64), fixed64, fixed32(UInt32), bytes(ArraySlice<UInt8>) }
  struct Field { var number: Int, value: Value }

  private let bytes: ArraySlice<UInt8>
  private(set) var position: Int
  var isAtEnd: Bool { position >= bytes.endIndex }

  init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    position = bytes.startIndex
  }

  /// The next field, or nil if the bytes do not hold a whole one.
  mutating func next() -> Field? {
    guard let tag = varint(), tag >> 3 > 0, tag >> 3 < 1 << 29 else { return nil }
    let number = Int(tag >> 3)
    switch tag & 7 {
    case 0: return varint().map { Field(number: number, value: .varint($0)) }
    case 1: return take(8).map { _ in Field(number: number, value: .fixed64) }
    case 2:
      guard let length = varint(), length <= UInt64(bytes.endIndex - position) else { return nil }
      return take(Int(length)).map { Field(number: number, value: .bytes($0)) }
    case 5:
      return take(4).map { part in
        Field(number: number, value: .fixed32(part.reversed().reduce(0) { $0 << 8 | UInt32($1) }))
      }
    default: return nil
    }
  }

  private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
    guard count <= bytes.endIndex - position else { return nil }
    defer { position += count }
    return bytes[position..<position + count]
  }

  private mutating func varint() -> UInt64? {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 70, by: 7) {
      guard position < bytes.endIndex else { return nil }
      let byte = bytes[position]
      position += 1
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
    }
    return nil
  }
}
