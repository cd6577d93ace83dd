/// What can be wrong with a choice of attention, in one line.
public enum AttentionError: Error, Hashable, Sendable, CustomStringConvertible {
  case unknownMethod(String, known: [String])
  case unknownOption(method: String, option: String, known: [String])
  /// An option's text is not what it must be.
  case badOption(method: String, option: String, found: String, expected: String)
  /// The method cannot work on this model or grid as asked.
  case unsuitable(method: String, reason: String)
  /// A calibration file is missing, broken, or made for something else.
  case calibration(path: String, reason: String)
  /// A planner made a plan that is not sound: a defect of the method.
  case invalidPlan(String)

  public var description: String {
    switch self {
    case .unknownMethod(let name, let known):
      "unknown attention method '\(name)'; known: \(known.joined(separator: ", "))"
    case .unknownOption(let method, let option, let known):
      "attention method '\(method)' has no option '\(option)'; known: "
        + (known.isEmpty ? "none" : known.joined(separator: ", "))
    case .badOption(let method, let option, let found, let expected):
      "attention option \(method):\(option): expected \(expected), found '\(found)'"
    case .unsuitable(let method, let reason): "attention method '\(method)': \(reason)"
    case .calibration(let path, let reason): "calibration \(path): \(reason)"
    case .invalidPlan(let reason): "invalid attention plan: \(reason)"
    }
  }
}
