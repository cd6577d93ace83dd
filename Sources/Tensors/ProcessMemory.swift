import Foundation
import Synchronization

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// What the system says of this process's resident memory. `nil` throughout where it does not say; it does on Linux.
public enum ProcessMemory {
  /// Resident memory by where its pages come from, in bytes.
  public struct Use: Sendable, Hashable {
    /// Pages of no file: prepared weights, activations, the heap and stacks.
    public var anonymous: Int
    /// Pages of files: mapped weights, the program and its libraries. The system can drop these and read them again.
    public var mapped: Int
    public var total: Int { anonymous + mapped }

    public init(anonymous: Int, mapped: Int) {
      self.anonymous = anonymous
      self.mapped = mapped
    }
  }

  /// What is resident now.
  public static var current: Use? {
    // Asked for when memory has run out, too: no allocation.
    let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { text in
      let count = read(file, text.baseAddress, text.count)
      guard count > 0 else { return nil }
      // Numbers of pages, of which the second are those resident and the third those of files or shared memory.
      var resident = 0, shared = 0, field = 0
      for byte in text[..<count] where field <= 2 {
        guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else {
          field += 1
          continue
        }
        let digit = Int(byte - UInt8(ascii: "0"))
        if field == 1 { resident = 10 * resident + digit }
        if field == 2 { shared = 10 * shared + digit }
      }
      guard field > 2 else { return nil }
      let page = Int(sysconf(Int32(_SC_PAGESIZE)))
      return Use(anonymous: max(0, resident - shared) * page, mapped: shared * page)
    }
  }

  /// The highest moment since the process began or ``resetPeak()``.
  public struct Peak: Sendable, Hashable {
    /// The most bytes that were resident at once, as the system counts them.
    public var bytes: Int
    /// What they were. The system keeps no parts of its peak; they are looked at whenever large memory is about to be
    /// given back (``look()``), since it is only there that a process stops growing. What libraries free by themselves is
    /// not seen, so that its total may be a little below ``bytes``.
    public var use: Use
  }

  public static var peak: Peak? {
    look()
    guard let use = highest.withLock({ $0 }), let bytes = systemPeak else { return nil }
    return Peak(bytes: bytes, use: use)
  }

  private static let highest = Mutex<Use?>(nil)

  /// Notes what is resident, where that is more than ever before. For whoever is about to give memory back to the
  /// system: pages of a map, or blocks too large for the allocator to keep. Takes some microseconds.
  static func look() {
    guard let use = current else { return }
    highest.withLock { highest in
      if use.total > highest?.total ?? 0 { highest = use }
    }
  }

  private static var systemPeak: Int? {
    guard let file = FileHandle(forReadingAtPath: "/proc/self/status"), let data = try? file.readToEnd() else {
      return nil
    }
    let line = String(decoding: data, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    return line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) }.map {
      $0 << 10
    }
  }

  /// Makes the peak count from now on, where the system allows it. What others measure of this process, such as `time`,
  /// begins anew as well.
  public static func resetPeak() {
    guard let file = FileHandle(forWritingAtPath: "/proc/self/clear_refs") else { return }
    guard (try? file.write(contentsOf: Data("5".utf8))) != nil else { return }
    highest.withLock { $0 = nil }
  }
}
