import Synchronization

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// The one pool of worker threads. Every parallel loop of the library runs here.
///
/// An item writes only its own part of the result, and how work is cut into items either does not depend on the number of
/// threads or changes no sum's order: so results are the same bytes for any thread count. Workers spin for the next loop, since waking
/// a sleeping thread costs 25-45 microseconds, and sleep when none comes. A loop waits for no worker that has not joined
/// it: one whose core is taken by another process is not missed.
public final class ThreadPool: @unchecked Sendable {
  /// The pool in use. Set the number of threads once, at start-up, with ``configure(threads:)``.
  public static let shared = ThreadPool()

  private struct Job {
    var body: ((Int) -> Void)?
    var count = 0
    var grain = 1
  }

  private var job = Job()
  /// The loop's number, from 1; below it the workers that are in it, in steps of ``joined``; below those ``isOpen``.
  private let gate = Atomic<Int>(0)
  private static let isOpen = 1, joined = 2, number = 1 << 20
  private let next = Atomic<Int>(0)
  private let sleeping = Atomic<Int>(0)
  private let busy = Atomic<Bool>(false)
  private var mutex = pthread_mutex_t()
  private var wake = pthread_cond_t()
  private let workers = Atomic<Int>(0)

  /// Threads that take part in a loop, the caller's own included.
  public var threads: Int { workers.load(ordering: .relaxed) + 1 }

  private init() {
    pthread_mutex_init(&mutex, nil)
    pthread_cond_init(&wake, nil)
  }

  /// Starts workers until `threads` take part in loops. More can be added later, not fewer; not from inside a loop.
  public func configure(threads: Int) {
    precondition(threads >= 1 && threads <= 1024, "thread count \(threads)")
    while workers.load(ordering: .relaxed) < threads - 1 {
      startWorker()
      workers.add(1, ordering: .relaxed)
    }
  }

  /// Calls `body` with every index in `0 ..< count`, in parallel, each exactly once, and returns when all are done.
  /// - Parameter grain: how many neighbouring indices one worker takes at a time; fewer towards the end, so that none
  ///   waits long for another.
  /// A loop inside a loop runs on the calling thread.
  public func forEach(_ count: Int, grain: Int = 1, _ body: (Int) -> Void) {
    let alone = workers.load(ordering: .relaxed) == 0 || count <= grain || count <= 1
    if alone || busy.exchange(true, ordering: .acquiring) {
      for index in 0..<count { body(index) }
      return
    }
    withoutActuallyEscaping(body) { escaping in
      job = Job(body: escaping, count: count, grain: grain)
      next.store(0, ordering: .relaxed)
      gate.add(Self.number + Self.isOpen, ordering: .sequentiallyConsistent)
      if sleeping.load(ordering: .sequentiallyConsistent) > 0 {
        pthread_mutex_lock(&mutex)
        pthread_cond_broadcast(&wake)
        pthread_mutex_unlock(&mutex)
      }
      run()
      gate.subtract(Self.isOpen, ordering: .acquiringAndReleasing)
      var spins = 0
      while gate.load(ordering: .acquiring) % Self.number != 0 {
        spins += 1
        if spins > 20_000 { sched_yield() }
      }
      job.body = nil
    }
    busy.store(false, ordering: .releasing)
  }

  private func run() {
    let body = job.body!, count = job.count, grain = job.grain, shares = 2 * threads
    var start = next.load(ordering: .relaxed)
    while start < count {
      let end = start + max(1, min(grain, (count - start) / shares))
      let (isTaken, found) = next.weakCompareExchange(expected: start, desired: end, ordering: .relaxed)
      if isTaken {
        for index in start..<end { body(index) }
        start = next.load(ordering: .relaxed)
      } else {
        start = found
      }
    }
  }

  private func startWorker() {
    #if canImport(Glibc)
      var thread = pthread_t()
    #else
      var thread: pthread_t?
    #endif
    let status = pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<ThreadPool>.fromOpaque(unwrapArgument(argument)).takeUnretainedValue().work()
        return nil
      }, Unmanaged.passUnretained(self).toOpaque())
    precondition(status == 0, "cannot start a worker thread: error \(status)")
  }

  private func work() {
    let processors = sysconf(Int32(_SC_NPROCESSORS_ONLN))
    var last = 0, spins = 0
    while true {
      let found = gate.load(ordering: .acquiring)
      if isNew(found, after: last) {
        guard gate.weakCompareExchange(expected: found, desired: found + Self.joined, ordering: .acquiring).exchanged
        else { continue }
        run()
        gate.subtract(Self.joined, ordering: .releasing)
        (last, spins) = (found / Self.number, 0)
      } else {
        spins += 1
        // More threads than processors would spin on one another's time.
        if spins > (threads <= processors ? 50_000 : 1_000) {
          sleep(after: last)
          spins = 0
        }
      }
    }
  }

  /// Whether a loop is open that is not the one `last` names.
  private func isNew(_ gate: Int, after last: Int) -> Bool {
    gate & Self.isOpen != 0 && gate / Self.number != last
  }

  private func sleep(after last: Int) {
    pthread_mutex_lock(&mutex)
    sleeping.add(1, ordering: .sequentiallyConsistent)
    while !isNew(gate.load(ordering: .sequentiallyConsistent), after: last) { pthread_cond_wait(&wake, &mutex) }
    sleeping.subtract(1, ordering: .sequentiallyConsistent)
    pthread_mutex_unlock(&mutex)
  }
}

#if canImport(Glibc)
  private func unwrapArgument(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer { argument! }
#else
  private func unwrapArgument(_ argument: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer { argument }
#endif
