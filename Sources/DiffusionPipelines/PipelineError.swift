import DiffusionModels

/// What can be wrong with a pipeline folder or a request, before and while a pipeline runs.
public enum PipelineError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A file or folder that should be there is not.
  case missing(what: String, path: String)
  /// A file is there and its content is wrong.
  case badData(path: String, reason: String)
  /// The folder is sound, and asks for something this build does not have.
  case unsupported(path: String, what: String, known: [String])
  /// The request itself makes no sense for this pipeline.
  case badRequest(String)
  /// A component's output holds infinities or NaN, first behind `part`: `layer 3`, counted from 0, or a path in its
  /// checkpoint; `step` counts from 1.
  case notFinite(component: String, part: String? = nil, step: Int? = nil)

  public var description: String {
    switch self {
    case .missing(let what, let path): return "\(path): \(what) not found"
    case .badData(let path, let reason): return "\(path): \(reason)"
    case .unsupported(let path, let what, let known):
      return "\(path): \(what) is not supported" + (known.isEmpty ? "" : "; known: " + known.joined(separator: ", "))
    case .badRequest(let reason): return reason
    case .notFinite(let component, let part, let step):
      return "\(component): its output holds infinities or NaN" + (part.map { ", first after \($0)" } ?? "")
        + (part != nil && step != nil ? "," : "")
        + (step.map { " at step \($0)" } ?? "") + "; nothing was drawn"
    }
  }
}

/// Runs a part of a component, which is named where its numbers stop being numbers.
func naming<Result>(_ component: String, step: Int? = nil, _ body: () throws -> Result) throws -> Result {
  do {
    return try body()
  } catch ModelError.notFinite(let part) {
    throw PipelineError.notFinite(component: component, part: part, step: step)
  }
}

/// Text from a stranger's file, fit for one line of an error message.
package func printable(_ text: String) -> String {
  let shown = text.unicodeScalars.prefix(80).map { $0.value < 0x20 || $0.value == 0x7f ? "?" : String($0) }.joined()
  return text.unicodeScalars.count > 80 ? shown + "..." : shown
}
