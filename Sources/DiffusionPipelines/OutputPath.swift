import Foundation

/// Where results go: a file, a folder, or a pattern with a counter. Names are decided before anything is made.
public struct OutputPath: Sendable, Hashable {
  enum Form: Sendable, Hashable {
    case file(String)
    case folder(String)
    /// Text around a counter of at least `width` digits.
    case pattern(head: String, width: Int, tail: String)
  }

  let form: Form
  /// `image` or `video`, the first part of names made here.
  let kind: String
  /// The extension of names made here, without a dot.
  let defaultExtension: String

  /// - Parameters:
  ///   - text: a file, `folder/`, or a pattern such as `out-%04d.png`; `nil` for the folder `outputs`.
  ///   - extensions: those that can be written, the usual one first, without dots.
  public init(_ text: String?, kind: String, extensions: [String]) throws {
    precondition(!extensions.isEmpty)
    self.kind = kind
    defaultExtension = extensions[0]
    guard let text else {
      form = .folder("outputs")
      return
    }
    guard !text.isEmpty, !text.utf8.contains(0) else {
      throw PipelineError.badRequest("the output path is empty or holds a zero byte")
    }
    if text.hasSuffix("/") || isFolder(text) {
      let trimmed = text.count > 1 && text.hasSuffix("/") ? String(text.dropLast()) : text
      form = .folder(trimmed)
      return
    }
    let ending = (text as NSString).pathExtension
    guard extensions.contains(ending.lowercased()) else {
      let known = extensions.map { "." + $0 }.joined(separator: ", ")
      throw PipelineError.badRequest(
        "output '\(printable(text))': expected the extension \(known), found "
          + (ending.isEmpty ? "none (a folder ends in /)" : "'.\(printable(ending))'"))
    }
    form = try Self.pattern(in: text) ?? .file(text)
  }

  private static func pattern(in text: String) throws -> Form? {
    var found: Form?
    for match in text.matches(of: #/%(?:0(?<width>[0-9]{1,2}))?d/#) {
      guard found == nil else {
        throw PipelineError.badRequest("output '\(printable(text))': expected one counter such as %04d, found two")
      }
      let width = match.width.flatMap { Int($0) } ?? 1
      found = .pattern(
        head: String(text[..<match.range.lowerBound]), width: width, tail: String(text[match.range.upperBound...]))
    }
    return found
  }

  /// The path of one result.
  /// - Parameters:
  ///   - index: the result's place in the run, from 0: what a pattern's counter shows.
  ///   - isOnly: whether the run makes no other result; otherwise a plain file name gets its seed put in.
  public func path(index: Int, seed: UInt64, isOnly: Bool) -> String {
    switch form {
    case .file(let path): return isOnly ? path : Self.inserting("-\(seed)", into: path)
    case .folder(let folder):
      let name = "\(kind)-\(seed).\(defaultExtension)"
      return folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
    case .pattern(let head, let width, let tail):
      let digits = String(index)
      return head + String(repeating: "0", count: max(0, width - digits.count)) + digits + tail
    }
  }

  /// Whether several results under this path get names that differ from the one given.
  public var isPlainFile: Bool {
    if case .file = form { return true }
    return false
  }

  /// Whether results get names of their own in a folder.
  public var givesFolder: Bool {
    if case .folder = form { return true }
    return false
  }

  /// `path` with `text` before its extension.
  public static func inserting(_ text: String, into path: String) -> String {
    let ending = (path as NSString).pathExtension
    guard !ending.isEmpty else { return path + text }
    return String(path.dropLast(ending.count + 1)) + text + "." + ending
  }
}

/// Hands out paths, none of them twice in one run.
public struct UniquePaths: Sendable {
  private var used: Set<String> = []

  public init() {}

  /// `path`, or where it was handed out before, the same with `-2`, `-3`, ... put in.
  public mutating func claim(_ path: String) -> String {
    var candidate = path, count = 1
    while !used.insert(URL(fileURLWithPath: candidate).standardizedFileURL.path).inserted {
      count += 1
      candidate = OutputPath.inserting("-\(count)", into: path)
    }
    return candidate
  }
}
