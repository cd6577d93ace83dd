import DiffusionPipelines
import Foundation
import Sweeps

/// What `sweep-attention run --dry-run` prints.
struct SweepForecast: Encodable {
  struct Line: Encodable {
    var family: String, attention: String, role: String, dtype: String
    var kvCompression: String?
    var targetDensity: Double?
    /// Of sparse calls and of the run; absent where content decides.
    var density: Double?, runDensity: Double?
    var cells: Int
  }
  var cells: Int, pending: Int
  var peakMemoryBytes: Int
  /// Of what is left to do.
  var estimatedHours: Double
  var variants: [Line]

  init(_ plan: SweepPlan, in folder: SweepFolder, processor: ProcessorTraits) throws {
    let pending = try SweepRunner.pending(plan.sweep, in: folder)
    let cores = min(plan.threads, max(1, processor.physicalCores))
    var counts: [Variant: Int] = [:], order: [(Variant, GenerationRequest)] = []
    for group in plan.sweep.groups {
      for cell in [group.reference] + group.cells {
        if counts[cell.variant] == nil { order.append((cell.variant, cell.request)) }
        counts[cell.variant, default: 0] += 1
      }
    }
    func estimate(_ request: GenerationRequest) throws -> MemoryEstimate {
      let forecast = try plan.resolveAttention.forecast(request)
      return MemoryEstimate(
        request, geometry: plan.geometry, weights: plan.weights, attentionDensity: forecast.runDensity ?? 1)
    }
    var seconds: [Variant: Double] = [:], peak = 0
    variants = try order.map { variant, request in
      let cost = try estimate(request), forecast = try plan.resolveAttention.forecast(request)
      seconds[variant] = cost.seconds(cores: cores, speed: processor.speed)
      peak = max(peak, cost.peakBytes)
      return Line(
        family: variant.family, attention: variant.attention, role: variant.role.rawValue, dtype: variant.dtype,
        kvCompression: variant.kvCompression,
        targetDensity: variant.targetDensity, density: forecast.density, runDensity: forecast.runDensity,
        cells: counts[variant] ?? 0)
    }
    (cells, self.pending, peakMemoryBytes) = (plan.sweep.cellCount, pending.count, peak)
    estimatedHours = pending.reduce(0) { $0 + (seconds[$1.variant] ?? 0) } / 3600
  }

  func output(json: Bool) throws -> String {
    guard !json else { return String(decoding: try RunRecord.encoder().encode(self), as: UTF8.self) + "\n" }
    var lines = variants.map { line in
      let density = line.runDensity.map { ", density \(fixed(line.density ?? $0, 3)), of the run \(fixed($0, 3))" }
      return
        "\(line.cells) x \(line.role): \(line.attention)\(line.kvCompression.map { ", kv \($0)" } ?? ""), \(line.dtype)"
        + (density ?? ", density depends on content")
    }
    lines.append(
      "\(cells) cells, \(pending) to do, peak memory \(formatBytes(peakMemoryBytes)) (estimate), "
        + "about \(ProgressPrinter.clock(estimatedHours * 3600)) (estimate, from nominal speeds)")
    return lines.joined(separator: "\n") + "\n"
  }
}
