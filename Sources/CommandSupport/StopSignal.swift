import Dispatch
import Foundation
import Synchronization

/// Ctrl-C, a request to end, or a closed terminal: the first asks the run to stop after its step, the second ends the
/// process at once. A reader that goes away ends nothing.
public final class StopSignal: Sendable {
  /// The process's one.
  public static let shared = StopSignal()

  private let count = Atomic<Int>(0)
  private let sources: Mutex<[any DispatchSourceSignal]> = Mutex([])

  private init() {}

  /// Whether the first has come.
  public var isRequested: Bool { count.load(ordering: .relaxed) > 0 }

  /// Begins to listen. `notice` is called at the first.
  public func listen(notice: @escaping @Sendable () -> Void) {
    sources.withLock { sources in
      guard sources.isEmpty else { return }
      signal(SIGPIPE, SIG_IGN)
      let queue = DispatchQueue(label: "tessera.stop")
      sources = [SIGINT, SIGTERM, SIGHUP].map { number in
        signal(number, SIG_IGN)
        let listener = DispatchSource.makeSignalSource(signal: number, queue: queue)
        listener.setEventHandler { [self] in
          if count.add(1, ordering: .relaxed).oldValue == 0 {
            notice()
          } else if number != SIGHUP {
            _exit(ExitStatus.stopped.rawValue)
          }
        }
        listener.activate()
        return listener
      }
    }
  }
}
