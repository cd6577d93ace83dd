import DiffusionPipelines
import Foundation

extension RunRecord.Settings {
  /// What to type to make the same result: the program with all flags, fit for a POSIX shell.
  func shellCommand(program: String) throws -> String {
    let data = try RunRecord.encoder().encode(self)
    let values = try JSONDecoder().decode([String: JSONValue].self, from: data)
    let flags = FlagValues.keys.compactMap { key -> String? in
      guard let value = values[key], let text = value.plainText else { return nil }
      let name = key.replacing("_", with: "-")
      guard case .bool(let isOn) = value else { return "--\(name) \(shellQuoted(text))" }
      return isOn ? "--\(name)" : "--no-\(name)"
    }
    return ([program] + flags).joined(separator: " ")
  }
}

/// A word for a POSIX shell.
func shellQuoted(_ text: String) -> String {
  let isPlain = text.wholeMatch(of: #/[A-Za-z0-9_.\/:=,@%+-]+/#) != nil
  return isPlain ? text : "'" + text.replacing("'", with: "'\\''") + "'"
}
