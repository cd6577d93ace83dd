/// Reads a method's options from text, each with its default and range, and remembers what they resolved to.
public struct OptionReader: Sendable {
  public let method: String
  private let given: [String: String]
  private let known: [String]
  /// Every option read so far with the value in force, as text.
  public private(set) var resolved: [String: String] = [:]

  /// Throws on an option that the method does not have.
  /// - Parameter calibrating: whether the options are those of making the method's tables.
  public init(_ given: [String: String], for information: MethodInformation, calibrating: Bool = false) throws {
    method = information.name
    self.given = given
    known = (calibrating ? information.calibrationOptions : information.options).map(\.name)
    for name in given.keys.sorted() where !known.contains(name) {
      throw AttentionError.unknownOption(method: method, option: name, known: known)
    }
  }

  public mutating func integer(_ name: String, default value: Int, in range: ClosedRange<Int>) throws -> Int {
    try read(name, value, "a whole number from \(range.lowerBound) to \(range.upperBound)") {
      Int($0).flatMap { range.contains($0) ? $0 : nil }
    }
  }

  public mutating func number(_ name: String, default value: Double, in range: ClosedRange<Double>) throws -> Double {
    try read(name, value, "a number from \(range.lowerBound) to \(range.upperBound)") {
      Double($0).flatMap { range.contains($0) ? $0 : nil }
    }
  }

  public mutating func flag(_ name: String, default value: Bool) throws -> Bool {
    try read(name, value, "true or false") { ["true": true, "false": false][$0] }
  }

  /// One of an enumeration's cases by its raw value.
  public mutating func choice<T: RawRepresentable & CaseIterable>(_ name: String, default value: T) throws -> T
  where T.RawValue == String {
    let names = T.allCases.map(\.rawValue).joined(separator: ", ")
    let text = try read(name, value.rawValue, "one of \(names)") { T(rawValue: $0)?.rawValue }
    return T(rawValue: text)!
  }

  /// Whole numbers joined by `x`, such as `6x8x8`: as many as the default has.
  public mutating func extents(_ name: String, default value: [Int], in range: ClosedRange<Int>) throws -> [Int] {
    let shape = value.map { _ in "N" }.joined(separator: "x")
    let text = try read(
      name, value.map(String.init).joined(separator: "x"),
      "\(shape), each from \(range.lowerBound) to \(range.upperBound)"
    ) { text -> String? in
      let parts = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
      let isSound = parts.count == value.count && parts.allSatisfy { $0.map(range.contains) == true }
      return isSound ? text : nil
    }
    return text.split(separator: "x").map { Int($0)! }
  }

  /// Text as it is; `nil` where the user says nothing.
  public mutating func text(_ name: String) -> String? {
    if let text = given[name] { resolved[name] = text }
    return given[name]
  }

  /// An error about an option's value that only the method can judge.
  public func invalid(_ name: String, expected: String) -> AttentionError {
    .badOption(method: method, option: name, found: given[name] ?? resolved[name] ?? "", expected: expected)
  }

  private mutating func read<T>(_ name: String, _ value: T, _ expected: String, _ parse: (String) -> T?) throws -> T {
    precondition(known.contains(name), "method \(method) reads option \(name), which it does not list")
    var result = value
    if let text = given[name] {
      guard let parsed = parse(text) else {
        throw AttentionError.badOption(method: method, option: name, found: text, expected: expected)
      }
      result = parsed
    }
    resolved[name] = "\(result)"
    return result
  }
}
