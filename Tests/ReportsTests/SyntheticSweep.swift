import Foundation
import Media
import Sweeps

/// A sweep that never ran, with every number known.
struct SyntheticSweep {
  /// What a family's quality is at a density: PSNR in dB, from which the other metrics follow.
  struct Family {
    var name: String, offset: Double
    var role = Variant.Role.method
  }

  var families = [
    Family(name: "random", offset: -6, role: .baseline), Family(name: "draft", offset: 2.2),
    Family(name: "sliding-tile", offset: 0), Family(name: "radial", offset: 1.9),
  ]
  var densities = [0.5, 0.3, 0.2, 0.1]
  var prompts = (0..<8).map { "prompt \($0): a red sphere on a grey floor" }
  var seeds: [UInt64] = [1, 2]
  var frames = 1, side = 64
  var layers = 6, heads = 4, steps = 8
  var hasRecall = true, hasTargets = true, hasControl = true
  /// Of a cell of a prompt, by its role.
  var process: (Int, Variant.Role) -> String = { prompt, _ in "process-\(prompt % 2)" }
  var metrics = [
    SweepResults.Header.Metric(name: "psnr", higherIsBetter: true), .init(name: "ssim", higherIsBetter: true),
    .init(name: "flip", higherIsBetter: false),
  ]
  var folder = URL(fileURLWithPath: "/nowhere")

  /// Even over 0...1, the same for the same words.
  static func noise(_ name: String, _ numbers: Int...) -> Double {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    for number in numbers {
      hash = (hash ^ UInt64(truncatingIfNeeded: number)) &* 0xbf58_476d_1ce4_e5b9
      hash ^= hash >> 29
    }
    return Double((hash &* 0x94d0_49bb_1331_11eb) >> 11) / Double(1 << 53)
  }

  func variant(_ family: String, _ density: Double?, _ role: Variant.Role) -> Variant {
    Variant(
      family: family, attention: density.map { "\(family):keep=\($0)" } ?? family,
      targetDensity: hasTargets ? density : nil, dtype: "float32", steps: steps, role: role)
  }

  var results: SweepResults {
    var header = SweepResults.Header(
      pipeline: "pipelines/tabletop-video", pipelineClass: "WanPipeline", tokenGrid: [frames, 8, 8], layers: layers,
      heads: heads, cpu: "AVX-512 with bf16", threads: 4, version: "0.5.0", metrics: metrics)
    if frames > 1 { header.metrics.append(.init(name: "temporal-difference-error", higherIsBetter: false)) }
    let cells = prompts.indices.flatMap { prompt in
      seeds.flatMap { seed in
        var order = 0
        func cell(_ variant: Variant, _ density: Double, _ offset: Double) -> CellResult {
          order += 1
          return self.cell(prompt, seed, variant, density, offset, order, header.metrics)
        }
        return [cell(variant("dense", nil, .dense), 1, 0)]
          + (hasControl ? [cell(variant("control", nil, .control), 1, .infinity)] : [])
          + families.flatMap { family in
            densities.map { cell(variant(family.name, $0, family.role), $0, family.offset) }
          }
      }
    }
    return SweepResults(header: header, cells: cells, folder: folder)
  }

  private func cell(
    _ prompt: Int, _ seed: UInt64, _ variant: Variant, _ density: Double, _ offset: Double, _ order: Int,
    _ metrics: [SweepResults.Header.Metric]
  ) -> CellResult {
    // A quarter of the steps is dense.
    let dense = steps / 4, family = variant.family
    let bySteps = (0..<steps).map { $0 < dense ? 1 : density }
    let run = bySteps.reduce(0, +) / Double(steps)
    let byLayer = (0..<steps).map { step in
      (0..<layers).map { layer in
        step < dense ? 1 : min(1, density * (0.7 + 0.6 * Self.noise(family, step, layer)))
      }
    }
    let attention = 8 * (0.06 + 0.94 * run) * (1 + 0.1 * Self.noise(family, prompt, Int(seed)))
    let plan = variant.role == .dense ? 0 : 0.25
    var cell = CellResult(
      folder: "cells/p\(prompt)-s\(seed)/\(family)-\(density)", prompt: prompts[prompt], promptIndex: prompt,
      seed: seed,
      variant: variant, densities: .init(sparseCalls: density, run: run, bySteps: bySteps, byStepAndLayer: byLayer),
      cost: .init(
        denoiseSeconds: 6 + attention + plan, attentionSeconds: attention, planSeconds: plan, decodeSeconds: 0.5,
        stepSeconds: bySteps.map { 0.75 + $0 / run * (attention + plan) / Double(steps) },
        denoiseFLOPs: 1e12 * (0.4 + 0.6 * run), peakMemoryBytes: 900_000_000 + order * 1_000_000,
        process: process(prompt, variant.role), order: order),
      width: side, height: side, frames: frames, pictures: (0..<frames).map { "\($0).png" },
      command: "generate-video --prompt '\(prompts[prompt])' --seed \(seed) --attention \(variant.attention)")
    guard variant.role != .dense else { return cell }
    let psnr =
      34 + offset + 8 * log10(density) + 3 * Self.noise(prompts[prompt])
      + Self.noise(family, prompt, Int(seed), Int(density * 1000))
    for metric in metrics {
      let curve = (0..<frames).map { value(metric.name, psnr - 0.4 * Double($0) + Self.noise(family, $0, Int(seed))) }
      cell.metrics[metric.name] = curve.reduce(0, +) / Double(frames)
      if frames > 1 { cell.curves[metric.name] = curve }
    }
    if hasRecall {
      func recall(_ a: Int, _ b: Int) -> Double { 1 - (1 - density) * (0.1 + 0.5 * Self.noise(family, a, b)) }
      let bySteps = (0..<steps).map { step in (0..<layers).map { step < dense ? 1 : recall(step, $0) } }
      let byHeads = (0..<layers).map { layer in (0..<heads).map { recall(100 + layer, $0) } }
      cell.recall = .init(
        recallByStepAndLayer: bySteps, errorByStepAndLayer: bySteps.map { $0.map { (1 - $0) * 1.4 } },
        recallByLayerAndHead: byHeads, errorByLayerAndHead: byHeads.map { $0.map { (1 - $0) * 1.4 } })
    }
    return cell
  }

  private func value(_ metric: String, _ psnr: Double) -> Double {
    switch metric {
    case "psnr": psnr
    case "ssim", "ms-ssim": 1 - pow(10, -psnr / 20)
    default: psnr.isInfinite ? 0 : pow(10, -psnr / 20) * 2.5
    }
  }

  // MARK: Pictures

  /// The results, with their pictures in a folder.
  func written(to folder: URL) throws -> SweepResults {
    var sweep = self
    sweep.folder = folder
    let results = sweep.results
    for cell in results.cells {
      for (index, name) in cell.pictures.enumerated() {
        let file = folder.appendingPathComponent(cell.folder).appendingPathComponent(name)
        try AtomicFile.write(PNGFile.encode(picture(cell, index)), to: file)
      }
    }
    return results
  }

  /// A disc that moves over a gradient; where less is kept, it is coarser.
  private func picture(_ cell: CellResult, _ frame: Int) -> Frame {
    let scale = Double(side),
      block = max(1, Int((1 - cell.densities.sparseCalls) * 5 + Self.noise(cell.variant.family) * 2))
    let middle = (x: scale * (0.3 + 0.08 * Double(frame)), y: scale * (0.5 + 0.1 * Self.noise(cell.prompt)))
    var pixels: [UInt8] = []
    for y in 0..<side {
      for x in 0..<side {
        let (bx, by) = (Double(x / block * block), Double(y / block * block))
        let isDisc = (bx - middle.x) * (bx - middle.x) + (by - middle.y) * (by - middle.y) < scale * scale / 16
        let grain = 12 * Self.noise(cell.prompt, x, y)
        let shade = isDisc ? (200.0, 60.0, 50.0) : (80 + 110 * by / scale, 110 + 60 * bx / scale, 160.0)
        for value in [shade.0, shade.1, shade.2] { pixels.append(UInt8(min(255, value + grain))) }
      }
    }
    return Frame(width: side, height: side, pixels: pixels)
  }
}
