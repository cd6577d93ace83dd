import Synchronization

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// The one pool of worker threads. Every parallel loop of the library runs here; libraries underneath (OpenBLAS) are
/// called single-threaded from it.
///
/// Work is cut into items whose number and extent do not depend on the number of threads, and an item writes only its
/// own part of the result: so results are the same bytes for any thread count. Workers spin briefly for the next loop,
/// since waking a sleeping thread costs 25-45 microseconds, and sleep when none comes.
public final class ThreadPool: @unchecked Sendable {
  /// The pool in use. Set the number of threads once, at start-up, with ``configure(threads:)``.
  public static let shared = ThreadPool()

  private struct Job {
    var body: ((Int) -> Void)?
    var count = 0
    var grain = 1
  }

  private var job = Job()
  private let generation = Atomic<Int>(0)
  private let next = Atomic<Int>(0)
  private let working = Atomic<Int>(0)
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
    // No loop may begin between counting a worker and its reading which loop is the last: it would wait for a worker
    // that never joins.
    while busy.exchange(true, ordering: .acquiring) { sched_yield() }
    while workers.load(ordering: .relaxed) < threads - 1 {
      startWorker()
      workers.add(1, ordering: .relaxed)
    }
    busy.store(false, ordering: .releasing)
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
      working.store(workers.load(ordering: .relaxed), ordering: .relaxed)
      generation.add(1, ordering: .sequentiallyConsistent)
      if sleeping.load(ordering: .sequentiallyConsistent) > 0 {
        pthread_mutex_lock(&mutex)
        pthread_cond_broadcast(&wake)
        pthread_mutex_unlock(&mutex)
      }
      run()
      var spins = 0
      while working.load(ordering: .acquiring) > 0 {
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
    let seen = generation.load(ordering: .acquiring)
    let box = Unmanaged.passRetained(WorkerStart(pool: self, generation: seen))
    #if canImport(Glibc)
      var thread = pthread_t()
    #else
      var thread: pthread_t?
    #endif
    let status = pthread_create(
      &thread, nil,
      { argument in
        let start = Unmanaged<WorkerStart>.fromOpaque(unwrapArgument(argument)).takeRetainedValue()
        start.pool.work(from: start.generation)
        return nil
      }, box.toOpaque())
    precondition(status == 0, "cannot start a worker thread: error \(status)")
  }

  private func work(from start: Int) {
    var seen = start
    while true {
      var spins = 0
      while generation.load(ordering: .acquiring) == seen {
        spins += 1
        if spins > 4_000 { sleep(until: seen) }
      }
      seen += 1
      run()
      working.subtract(1, ordering: .releasing)
    }
  }

  private func sleep(until seen: Int) {
    pthread_mutex_lock(&mutex)
    sleeping.add(1, ordering: .sequentiallyConsistent)
    while generation.load(ordering: .sequentiallyConsistent) == seen { pthread_cond_wait(&wake, &mutex) }
    sleeping.subtract(1, ordering: .sequentiallyConsistent)
    pthread_mutex_unlock(&mutex)
  }
}

private final class WorkerStart {
  let pool: ThreadPool
  let generation: Int
  init(pool: ThreadPool, generation: Int) {
    self.pool = pool
    self.generation = generation
  }
}

#if canImport(Glibc)
  private func unwrapArgument(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer { argument! }
#else
  private func unwrapArgument(_ argument: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer { argument }
#endif
