import Dispatch
import Foundation
import Synchronization

/// Ctrl-C: the first asks the run to stop after its step, the second ends the process at once.
public final class StopSignal: Sendable {
  /// The process's one.
  public static let shared = StopSignal()

  private let count = Atomic<Int>(0)
  private let source: Mutex<(any DispatchSourceSignal)?> = Mutex(nil)

  private init() {}

  /// Whether the first has come.
  public var isRequested: Bool { count.load(ordering: .relaxed) > 0 }

  /// Begins to listen. `notice` is called at the first.
  public func listen(notice: @escaping @Sendable () -> Void) {
    source.withLock { source in
      guard source == nil else { return }
      signal(SIGINT, SIG_IGN)
      let listener = DispatchSource.makeSignalSource(signal: SIGINT, queue: DispatchQueue(label: "tessera.stop"))
      listener.setEventHandler { [self] in
        if count.add(1, ordering: .relaxed).oldValue == 0 {
          notice()
        } else {
          _exit(ExitStatus.stopped.rawValue)
        }
      }
      listener.activate()
      source = listener
    }
  }
}
