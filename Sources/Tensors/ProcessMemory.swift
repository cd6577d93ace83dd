import Foundation

/// What the system says of this process's memory.
public enum ProcessMemory {
  /// The most bytes that were resident at once since the process began, mapped files included; `nil` where the system
  /// does not say (it does on Linux).
  public static var peakBytes: Int? {
    guard let file = FileHandle(forReadingAtPath: "/proc/self/status"), let data = try? file.readToEnd() else {
      return nil
    }
    let line = String(decoding: data, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    return line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) }.map {
      $0 << 10
    }
  }

  /// Makes ``peakBytes`` count from now on, where the system allows it. What others measure of this process, such as
  /// `time`, begins anew as well.
  public static func resetPeak() {
    guard let file = FileHandle(forWritingAtPath: "/proc/self/clear_refs") else { return }
    try? file.write(contentsOf: Data("5".utf8))
  }
}
