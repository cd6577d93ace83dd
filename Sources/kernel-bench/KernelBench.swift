import ArgumentParser
import Foundation
import Kernels
import SparseAttention
import Tensors

/// Checks and times the operation table: correctness against the Float64 oracle, speed against the machine's own peak.
@main
struct KernelBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kernel-bench",
    abstract: "Check every kernel against its oracle and time it against this machine's peak.",
    discussion: """
      Without an operation, runs the whole table. With one, runs its rows, or one row of the sizes given:
      kernel-bench attention --heads 12 --tokens 8192 --head-dim 128; kernel-bench linear --m 4096 --n 4608 --k 1152.
      kernel-bench plan --method radial:decay=0.2 --grid 21x30x52 times the making of plans beside dense attention.
      """)

  @Argument(help: "linear, conv2d, attention, group-norm, ...: only this operation.") var operation: String?
  @Option(help: "Attention heads.") var heads: Int?
  @Option(help: "Queries and keys of an attention call.") var tokens: Int?
  @Option(name: .customLong("head-dim"), help: "Size of a head.") var headDim: Int?
  @Option(help: "Rows of a linear layer.") var m: Int?
  @Option(help: "Outputs of a linear layer.") var n: Int?
  @Option(help: "Inputs of a linear layer.") var k: Int?
  @Option(help: "float32, bfloat16 or int8 (linear, attention): only this type.") var dtype: String?
  @Option(help: "Share of key blocks that attention keeps.") var density: Double?
  @Option(help: "Which blocks attention keeps: random, window or dense.") var pattern: String?
  @Option(help: "Tokens of a block.") var block: Int = 128
  @Option(help: "Timed runs of each row.") var repeats: Int = 5
  @Option(name: [.short, .long], help: "Worker threads; physical cores by default.") var threads: Int?
  @Option(help: "plan: an attention method with its options; repeatable.") var method: [String] = []
  @Option(help: "plan: frames x rows x columns of tokens.") var grid: String = "8x32x32"
  @Flag(help: "Small sizes that go wrong, checked in full and not timed.") var check = false
  @Flag(help: "One JSON object a row.") var json = false

  func validate() throws {
    if let dtype, Precision(rawValue: dtype) == nil {
      throw ValidationError(
        "--dtype is '\(dtype)', expected \(Precision.allCases.map(\.rawValue).joined(separator: " or "))")
    }
    if let pattern, KeptBlocks(rawValue: pattern) == nil {
      throw ValidationError("--pattern is '\(pattern)', expected random, window or dense")
    }
    guard density.map({ $0 > 0 && $0 <= 1 }) ?? true else {
      throw ValidationError("--density is \(density!), expected above 0 and at most 1")
    }
    if pattern == "dense", let density, density != 1 {
      throw ValidationError("--pattern dense has density 1, found --density \(density)")
    }
    guard (1...1000).contains(repeats) else { throw ValidationError("--repeats is \(repeats), expected 1 to 1000") }
    guard (1...256).contains(threads ?? 1) else { throw ValidationError("--threads is \(threads!), expected 1 to 256") }
    for (name, value) in [
      ("heads", heads), ("tokens", tokens), ("head-dim", headDim), ("block", block), ("m", m), ("n", n), ("k", k),
    ] as [(String, Int?)] {
      if let value, !(1...1_000_000).contains(value) {
        throw ValidationError("--\(name) is \(value), expected 1 to 1000000")
      }
    }
    let known = Set(KernelCase.correctnessCases().map(\.operation))
    if operation == "plan" {
      let extents = grid.split(separator: "x").map { Int($0) ?? 0 }
      guard extents.count == 3, extents.allSatisfy({ (1...10_000).contains($0) }) else {
        throw ValidationError("--grid is '\(grid)', expected FxHxW, each from 1 to 10000")
      }
    } else if let operation, !known.contains(operation) {
      throw ValidationError("unknown operation '\(operation)'; known: \(known.sorted().joined(separator: ", "))")
    }
    if let operation, dtype == Precision.int8.rawValue, !["linear", "attention", "plan"].contains(operation) {
      throw ValidationError("--dtype int8: expected operation linear or attention, found \(operation)")
    }
  }

  func run() throws {
    ThreadPool.shared.configure(threads: threads ?? Processor.physicalCores)
    if operation == "plan" { return try runPlans() }
    var failures = 0
    for item in cases() {
      let row = check ? checked(item) : timed(item)
      if row.error > item.tolerance { failures += 1 }
      print(json ? row.json : row.text)
    }
    if failures > 0 {
      FileHandle.standardError.write(
        Data("error: \(failures) rows are further from the oracle than they may be\n".utf8))
      throw ExitCode(1)
    }
  }

  private func runPlans() throws {
    let extents = grid.split(separator: "x").map { Int($0)! }
    let bench = PlanBench(
      layout: TokenLayout(frames: extents[0], height: extents[1], width: extents[2]), heads: heads ?? 12,
      headDim: headDim ?? 128, precision: dtype.flatMap(Precision.init) ?? .bfloat16, repeats: repeats)
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Plans first: peaks of memory only grow.
    var rows: [PlanRow] = []
    for text in method.isEmpty ? ["sliding-tile", "radial", "draft"] : method {
      rows.append(try bench.row(text, denseSeconds: 0))
    }
    let dense = bench.denseSeconds()
    for var row in rows {
      row.denseSeconds = dense
      print(json ? String(decoding: try encoder.encode(row), as: UTF8.self) : row.text)
    }
  }

  private func cases() -> [KernelCase] {
    let precisions = dtype.flatMap(Precision.init).map { [$0] } ?? Precision.allCases
    let isSized = heads != nil || tokens != nil || headDim != nil || density != nil || pattern != nil
    if operation == "attention", isSized {
      let count = tokens ?? 4096, density = density ?? (pattern == "window" || pattern == "random" ? 0.25 : 1)
      let kept = pattern.flatMap(KeptBlocks.init) ?? (density == 1 ? .dense : .random)
      return precisions.map {
        .attention(heads ?? 12, count, count, headDim ?? 128, density: density, pattern: kept, block: block, $0)
      }
    }
    if operation == "linear", m != nil || n != nil || k != nil {
      return precisions.map { .linear(m ?? 1024, n ?? 1152, k ?? 1152, $0) }
    }
    let table = check ? KernelCase.correctnessCases() : KernelCase.speedCases()
    return table.filter { (operation == nil || $0.operation == operation) && precisions.contains($0.precision) }
  }

  private func checked(_ item: KernelCase) -> Row {
    Row(item: item, seconds: [], peak: 0, error: relativeError(item.run(), item.reference()))
  }

  private func timed(_ item: KernelCase) -> Row {
    let clock = ContinuousClock()
    let result = item.run()
    let error = item.sampledError?(result) ?? relativeError(result, item.reference())
    var peak = 0.0
    let seconds = (0..<repeats).map { _ -> Double in
      peak = max(peak, measuredPeak(item.precision))
      let start = clock.now
      _ = item.run()
      return (clock.now - start) / .seconds(1)
    }
    return Row(item: item, seconds: seconds.sorted(), peak: peak, error: error)
  }
}

/// GFLOP/s of multiply-adds on all threads at once, over at least a fifth of a second.
private func measuredPeak(_ precision: Precision) -> Double {
  let threads = ThreadPool.shared.threads, clock = ContinuousClock()
  let iterations = 2_000_000
  var operations = 0.0
  let start = clock.now
  while (clock.now - start) / .seconds(1) < 0.2 {
    let done = Mutexed(0.0)
    ThreadPool.shared.forEach(threads) { _ in done.add(Processor.probe(precision, iterations: iterations)) }
    operations += done.value
  }
  return operations / ((clock.now - start) / .seconds(1)) / 1e9
}

/// A sum that threads add to.
private final class Mutexed: @unchecked Sendable {
  private let lock = NSLock()
  private(set) var value: Double
  init(_ value: Double) { self.value = value }
  func add(_ more: Double) { lock.withLock { value += more } }
}

/// One printed row.
private struct Row {
  let item: KernelCase
  /// Sorted.
  let seconds: [Double]
  let peak: Double, error: Double

  private var median: Double { seconds.isEmpty ? 0 : seconds[seconds.count / 2] }
  private var gflops: Double { median > 0 ? item.operations / median / 1e9 : 0 }

  var text: String {
    let name = item.label.padding(toLength: 72, withPad: " ", startingAt: 0)
    let error = String(format: "error %.1e", self.error) + (self.error > item.tolerance ? " TOO LARGE" : "")
    guard !seconds.isEmpty else { return "\(name) \(item.precision.rawValue)  \(error)" }
    let time = String(format: "%9.3f ms (best %.3f)", median * 1e3, (seconds.first ?? 0) * 1e3)
    let rate =
      item.operations > 0
      ? String(format: "%7.1f GFLOP/s = %2.0f %% of %.0f", gflops, 100 * gflops / peak, peak) : ""
    return "\(name) \(item.precision.rawValue)  \(time)  \(rate)  \(error)"
  }

  var json: String {
    var fields: [(String, String)] = [("op", quoted(item.operation))]
    fields += item.parameters.map {
      ($0.name.replacingOccurrences(of: "-", with: "_"), Double($0.value) == nil ? quoted($0.value) : $0.value)
    }
    fields += [
      ("dtype", quoted(item.precision.rawValue)), ("seconds_median", "\(median)"),
      ("seconds_min", "\(seconds.first ?? 0)"),
      ("gflops", "\(gflops)"), ("peak_gflops", "\(peak)"), ("relative_l2", "\(error)"),
      ("threads", "\(ThreadPool.shared.threads)"), ("repeats", "\(seconds.count)"),
    ]
    return "{" + fields.map { "\(quoted($0.0)): \($0.1)" }.joined(separator: ", ") + "}"
  }

  private func quoted(_ text: String) -> String { "\"\(text)\"" }
}
