import Dispatch
import Foundation
import Synchronization

/// Writes files in the order they are given, while the next ones are made: waiting for the disk takes a good part of a
/// short run. The first error stops all later writes, and is thrown by the next call.
final class BackgroundWriter: Sendable {
  private let queue = DispatchQueue(label: "sweep files")
  /// Of files that wait, so that a slow disk bounds what is held in memory.
  private let places: DispatchSemaphore
  private let failure = Mutex<(any Error)?>(nil)

  /// - Parameter waiting: how many files may wait.
  init(waiting: Int = 32) { places = DispatchSemaphore(value: waiting) }

  /// Puts a write behind those before it.
  func add(_ write: @escaping @Sendable () throws -> Void) throws {
    try check()
    places.wait()
    queue.async { [self] in
      defer { places.signal() }
      guard failure.withLock({ $0 == nil }) else { return }
      do { try write() } catch { failure.withLock { $0 = error } }
    }
  }

  /// Returns when everything is written.
  func finish() throws {
    queue.sync {}
    try check()
  }

  private func check() throws { if let error = failure.withLock({ $0 }) { throw error } }
}
