/// The process's arguments as they were typed. The standard library repairs bytes that are not UTF-8 without a word,
/// which would draw another prompt than the one given.
enum ArgumentsDoor {
  /// The arguments without the program's name; throws a usage error for one that is not UTF-8.
  static func arguments() throws -> [String] {
    try (1..<max(1, Int(CommandLine.argc))).map { index in
      guard let bytes = unsafe CommandLine.unsafeArgv[index], let text = unsafe String(validatingCString: bytes) else {
        throw CommandError.usage("argument \(index): expected UTF-8 text, found other bytes")
      }
      return text
    }
  }
}
