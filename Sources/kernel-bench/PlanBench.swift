import Foundation
import Kernels
import SparseAttention
import Tensors

/// What planning costs: seconds, bytes and growth of the process, beside dense attention at the same size.
struct PlanBench {
  let layout: TokenLayout, heads: Int, headDim: Int, precision: Precision, repeats: Int

  /// - Parameter text: a method as `--attention` of the other programs takes it, `name:key=value,...`.
  func row(_ text: String, denseSeconds: Double) throws -> PlanRow {
    let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
    // Only where they are read: they would hide what a plan takes.
    let readsContent = try AttentionMethods.standard.information(parts[0])?.dependsOnContent == true
    let shape = readsContent ? [heads, layout.count, headDim] : [1, 1, 1]
    let queries = caseTensor(shape, seed: 7), keys = caseTensor(shape, seed: 8)
    var options: [String: String] = [:]
    for pair in parts.dropFirst().first?.split(separator: ",") ?? [] {
      let sides = pair.split(separator: "=", maxSplits: 1).map(String.init)
      options[sides[0]] = sides.count == 2 ? sides[1] : ""
    }
    let before = peakBytes()
    let context = MethodContext(layout: layout, layerCount: 1, stepCount: 1, heads: heads)
    let method = try AttentionMethods.standard.make(parts[0], options: options, context: context).method
    let site = AttentionSite(
      layout: layout, layer: 0, layerCount: 1, call: DenoisingCall(step: 0, of: 1), heads: heads)
    let make: () throws -> BlockPlan
    if let planner = method as? any GeometricPlanner {
      make = { try planner.plan(site) }
    } else if let planner = method as? any ContentPlanner {
      make = { try planner.plan(site, queries: queries, keys: keys) }
    } else {
      make = { .dense(layout, heads: heads) }
    }
    var plan = try make()
    let growth = peakBytes() - before
    let clock = ContinuousClock()
    let seconds = try (0..<repeats).map { _ -> Double in
      let start = clock.now
      plan = try make()
      return (clock.now - start) / .seconds(1)
    }
    try plan.validate(for: site)
    return PlanRow(
      method: text, grid: layout.gridName, heads: heads, density: plan.density, seconds: seconds.sorted()[repeats / 2],
      planBytes: plan.byteCount, peakGrowth: growth, denseSeconds: denseSeconds)
  }

  /// Median seconds of dense attention.
  func denseSeconds() -> Double {
    let shape = [1, heads, layout.count, headDim]
    let (q, k, v) = (caseTensor(shape, seed: 7), caseTensor(shape, seed: 8), caseTensor(shape, seed: 9))
    let clock = ContinuousClock()
    let seconds = (0...repeats).map { _ -> Double in
      let start = clock.now
      _ = blockSparseAttention(q, k, v, scale: 1 / Float(headDim).squareRoot(), precision: precision)
      return (clock.now - start) / .seconds(1)
    }
    return seconds.dropFirst().sorted()[repeats / 2]
  }

  /// The largest the process has been, in bytes; 0 where the system does not tell.
  private func peakBytes() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    return line.flatMap { Int($0.filter(\.isNumber)) }.map { $0 * 1024 } ?? 0
  }
}

/// One printed row.
struct PlanRow: Encodable {
  let op = "plan"
  var method: String, grid: String, heads: Int, density: Double, seconds: Double
  var planBytes: Int, peakGrowth: Int, denseSeconds: Double

  var text: String {
    let name = "\(method) \(grid) x \(heads) heads".padding(toLength: 72, withPad: " ", startingAt: 0)
    return name
      + String(
        format: " density %.4f  planned in %8.3f ms = %5.2f %% of dense %.1f ms  plan %.2f MiB, peak +%.2f MiB",
        density,
        seconds * 1e3, 100 * seconds / denseSeconds, denseSeconds * 1e3, Double(planBytes) / 1_048_576,
        Double(peakGrowth) / 1_048_576)
  }
}
