import SparseAttention

extension AttentionMethods {
  /// What `--attention list` prints: every method with its options, defaults and sources.
  var listing: String {
    let dense = """
      dense
        Every query reads every key.

      """
    let shared = """
      Every method also takes dense-steps=N and dense-layers=N: first steps and layers kept dense, as --dense-steps
      and --dense-layers do, which win.

      """
    return ([dense] + types.map { Self.entry($0.information) } + [shared]).joined(separator: "\n")
  }

  private static func entry(_ method: MethodInformation) -> String {
    var text = method.name + "\n" + wrapped(method.summary, indent: 2)
    text += wrapped("Source: \(method.source)", indent: 2)
    text += "  Density: \(method.dependsOnContent ? "depends on content" : "known beforehand")\n"
    text += section("Options", method.options)
    return text + section("Options of sweep-attention calibrate", method.calibrationOptions)
  }

  private static func section(_ title: String, _ options: [MethodOption]) -> String {
    guard !options.isEmpty else { return "" }
    return "  \(title):\n"
      + options.map { option in
        let setting = option.defaultText.isEmpty ? "" : " (default: \(option.defaultText))"
        return "    \(option.name)\(setting)\n" + wrapped(option.summary, indent: 6)
      }.joined()
  }

  /// Lines of at most 100 columns.
  private static func wrapped(_ text: String, indent: Int) -> String {
    let margin = String(repeating: " ", count: indent)
    var lines: [String] = [], line = ""
    for word in text.split(whereSeparator: \.isWhitespace) {
      if !line.isEmpty, indent + line.count + 1 + word.count > 100 {
        lines.append(line)
        line = ""
      }
      line += line.isEmpty ? word : " \(word)"
    }
    return (lines + [line]).map { margin + $0 + "\n" }.joined()
  }
}
