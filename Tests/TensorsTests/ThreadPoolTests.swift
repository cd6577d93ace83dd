import Synchronization
import Tensors
import Testing

/// One pool serves the whole process and only grows, so the thread counts are tried in rising order in one test.
@Suite(.serialized)
struct ThreadPoolTests {
  /// How often each index was seen.
  private final class Tally: Sendable {
    let counts: Mutex<[Int]>
    init(_ count: Int) { counts = Mutex([Int](repeating: 0, count: count)) }
    func add(_ index: Int) { counts.withLock { $0[index] += 1 } }
    var allOnce: Bool { counts.withLock { $0.allSatisfy { $0 == 1 } } }
  }

  @Test func everyIndexOnce() {
    for threads in 1...7 {
      ThreadPool.shared.configure(threads: threads)
      #expect(ThreadPool.shared.threads >= threads)
      for count in Array(0...40) + stride(from: 41, through: 1000, by: 37) + [999, 1000] {
        for grain in [1, 3, 64] {
          let tally = Tally(count)
          ThreadPool.shared.forEach(count, grain: grain) { tally.add($0) }
          #expect(tally.allOnce, "\(count) by \(grain) on \(threads) threads")
        }
      }
    }
  }

  @Test func nestedLoops() {
    ThreadPool.shared.configure(threads: 7)
    for _ in 0..<20 {
      let tally = Tally(30 * 50)
      ThreadPool.shared.forEach(30) { outer in
        ThreadPool.shared.forEach(50) { inner in tally.add(outer * 50 + inner) }
      }
      #expect(tally.allOnce)
    }
  }

  @Test func callersOnSeveralThreads() async {
    ThreadPool.shared.configure(threads: 3)
    await withTaskGroup(of: Bool.self) { group in
      for _ in 0..<4 {
        group.addTask {
          var good = true
          for count in 1..<200 {
            let tally = Tally(count)
            ThreadPool.shared.forEach(count) { tally.add($0) }
            good = good && tally.allOnce
          }
          return good
        }
      }
      for await good in group { #expect(good) }
    }
  }

  /// Nothing of a loop happens after it has returned, however late a worker comes.
  @Test func loopsInSuccession() {
    ThreadPool.shared.configure(threads: 7)
    let slots = UnsafeMutableBufferPointer<Int>.allocate(capacity: 9 * 64)
    defer { slots.deallocate() }
    slots.initialize(repeating: 0)
    nonisolated(unsafe) let shared = slots
    for round in 1...20_000 {
      let count = 2 + round % 8
      ThreadPool.shared.forEach(count) { shared[$0 * 64] = round }
      for index in 0..<count where slots[index * 64] != round {
        Issue.record("index \(index) of loop \(round) holds \(slots[index * 64])")
        return
      }
    }
  }

  /// Workers that join while another thread loops are neither waited for too soon nor forgotten.
  @Test func growsWhileLoopsRun() async {
    await withTaskGroup(of: Bool.self) { group in
      group.addTask {
        var good = true
        for _ in 0..<3000 {
          let tally = Tally(12)
          ThreadPool.shared.forEach(12) { tally.add($0) }
          good = good && tally.allOnce
        }
        return good
      }
      group.addTask {
        for threads in 2...12 {
          ThreadPool.shared.configure(threads: threads)
          try? await Task.sleep(for: .milliseconds(1))
        }
        return ThreadPool.shared.threads >= 12
      }
      for await good in group { #expect(good) }
    }
  }
}
