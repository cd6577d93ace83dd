import DiffusionPipelines
import Evaluation
import Foundation
import Media
import SparseAttention
import Tensors

/// What a sweep reports while it goes.
public enum SweepEvent: Sendable {
  /// A run begins: its number from 1, of how many that are left to do.
  case cell(Int, of: Int, Sweep.Cell, probing: Bool)
  /// What the run reports.
  case generation(GenerationEvent)
  /// A run is over: seconds of wall clock.
  case ran(seconds: Double)
  /// A control cell equals its reference.
  case controlPassed(Sweep.Cell)
  /// A group's cells are measured.
  case measured(group: Int, of: Int)
  /// All groups that are left are being run by other processes.
  case waiting
}

/// Runs what is not finished of a sweep: within a group the reference and its cells one after another, forwards and
/// backwards in turn, so that what changes with time weighs on all alike; then measures them from what was written.
public struct SweepRunner {
  private let sweep: Sweep
  private let folder: SweepFolder
  private let metrics: CellMetrics
  private let generator: any MediaGenerator
  private let resolveAttention: AttentionResolver
  /// Floating-point operations of denoising, when so many of the pairs are kept.
  private let flops: (GenerationRequest, Double) -> Double
  private let writer = BackgroundWriter()
  private let process = UUID().uuidString
  private var order = 0

  public init(
    _ sweep: Sweep, in folder: SweepFolder, metrics: CellMetrics, generator: any MediaGenerator,
    resolveAttention: AttentionResolver, flops: @escaping (GenerationRequest, Double) -> Double
  ) {
    (self.sweep, self.folder, self.metrics, self.generator) = (sweep, folder, metrics, generator)
    (self.resolveAttention, self.flops) = (resolveAttention, flops)
  }

  /// Cells that have not run yet.
  public static func pending(_ sweep: Sweep, in folder: SweepFolder) throws -> [Sweep.Cell] {
    try sweep.groups.flatMap { [$0.reference] + $0.cells }.filter {
      if case .missing = try folder.state($0.folder) { true } else { false }
    }
  }

  /// - Parameter onEvent: `false` stops the sweep, which throws `GenerationStopped`; what is finished stays.
  public mutating func run(onEvent: (SweepEvent) throws -> Bool) throws {
    // Whatever ends a sweep, cells that ran are not lost.
    defer { try? writer.finish() }
    try folder.begin(sweep.header)
    let pending = try Self.pending(sweep, in: folder)
    if !pending.isEmpty {
      generator.keepsModels = true
      try generator.prepare(pending.map(\.request)) { try onEvent(.generation($0)) }
    }
    var number = 0, left = Array(sweep.groups.indices)
    while !left.isEmpty {
      var taken: [Int] = []
      for index in left {
        let group = sweep.groups[index]
        guard let claim = try folder.claim(group) else {
          taken.append(index)
          continue
        }
        defer { claim.release() }
        let cells = [group.reference] + group.cells
        for cell in index.isMultiple(of: 2) ? cells : cells.reversed() {
          guard case .missing = try folder.state(cell.folder) else { continue }
          number += 1
          _ = try onEvent(.cell(number, of: pending.count, cell, probing: false))
          let start = ContinuousClock.now
          try run(cell, of: group, onEvent)
          guard try onEvent(.ran(seconds: (ContinuousClock.now - start) / .seconds(1))) else {
            throw GenerationStopped(steps: cell.request.steps)
          }
        }
        try writer.finish()
        try measure(group, onEvent)
        let isLast = index == left.last && taken.isEmpty
        guard try onEvent(.measured(group: index + 1, of: sweep.groups.count)) || isLast else {
          throw GenerationStopped(steps: 0)
        }
      }
      if taken.count == left.count {
        guard try onEvent(.waiting) else { throw GenerationStopped(steps: 0) }
        Thread.sleep(forTimeInterval: 0.2)
      }
      left = taken
    }
  }

  // MARK: Running

  private mutating func run(
    _ cell: Sweep.Cell, of group: Sweep.Group, _ onEvent: (SweepEvent) throws -> Bool
  ) throws {
    ProcessMemory.resetPeak()
    var marks: [ContinuousClock.Instant] = [], isDenoising = false
    let denoised = try generator.denoise(cell.request) { event in
      switch event {
      case .phase(let name):
        isDenoising = name == "denoise"
        if isDenoising { marks = [.now] }
      case .step where isDenoising: marks.append(.now)
      default: break
      }
      return try onEvent(.generation(event))
    }
    let isClip = cell.request.frames > 1, (folder, writer) = (folder, writer)
    var pictures: [String] = [], writing = Duration.zero
    let decoding = try generator.decode(denoised) { frame in
      let start = ContinuousClock.now, digits = String(pictures.count)
      let name =
        isClip ? "frame-" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits + ".png" : "image.png"
      try writer.add { try folder.write(frame, cell.folder, name) }
      pictures.append(name)
      writing += ContinuousClock.now - start
    } onEvent: {
      try onEvent(.generation($0))
    }
    let latents = denoised.latents, record = try denoised.record.json()
    var result = result(
      of: cell, group, denoised, steps: zip(marks, marks.dropFirst()).map { ($1 - $0) / .seconds(1) },
      decodeSeconds: decoding - writing / .seconds(1), pictures: pictures)
    if group.probes, cell.variant.role == .method || cell.variant.role == .baseline {
      result.recall = try probe(cell, onEvent)
    }
    try writer.add { [result] in
      try folder.write(latents: latents, cell.folder)
      try folder.write(Array(record.utf8), cell.folder, "record.json")
      try folder.write(ran: result)
    }
    order += 1
  }

  private func result(
    of cell: Sweep.Cell, _ group: Sweep.Group, _ denoised: DenoisedResult, steps: [Double], decodeSeconds: Double,
    pictures: [String]
  ) -> CellResult {
    let statistics = denoised.attention.statistics
    let cost = CellResult.Cost(
      denoiseSeconds: steps.reduce(0, +), attentionSeconds: statistics.computeSeconds,
      planSeconds: statistics.planSeconds, decodeSeconds: decodeSeconds, stepSeconds: steps,
      denoiseFLOPs: flops(cell.request, statistics.runDensity),
      peakMemoryBytes: denoised.record.peakMemoryBytes?["denoise"], process: process, order: order)
    return CellResult(
      folder: cell.folder, prompt: group.prompt, promptIndex: group.promptIndex, seed: group.seed,
      variant: cell.variant, densities: .init(statistics), cost: cost, width: cell.request.width,
      height: cell.request.height, frames: cell.request.frames, pictures: pictures, command: cell.command)
  }

  /// Runs a cell once more, and compares its attention with dense attention on sampled queries.
  private func probe(_ cell: Sweep.Cell, _ onEvent: (SweepEvent) throws -> Bool) throws -> CellResult.Recall {
    _ = try onEvent(.cell(0, of: 0, cell, probing: true))
    let engine = try resolveAttention(cell.request).engine(cell.request.precision)
    let probe = AttentionProbe(
      engine, dense: BlockSparseExecutor(cell.request.precision), queryCount: sweep.probedQueries)
    _ = try generator.denoise(cell.request, with: probe) { try onEvent(.generation($0)) }
    return CellResult.Recall(probe.records)
  }

  // MARK: Measuring

  /// Measures what has run and is not measured yet, or lacks a metric.
  private func measure(_ group: Sweep.Group, _ onEvent: (SweepEvent) throws -> Bool) throws {
    var dense: CellResult
    let hasRun: Bool
    switch try folder.state(group.reference.folder) {
    case .missing: return
    case .ran(let result): (dense, hasRun) = (result, true)
    case .done(let result): (dense, hasRun) = (result, false)
    }
    let isToJudge = metrics.isToJudge(dense, group.expected)
    if isToJudge { dense = try metrics.judged(dense, folder.pictures(of: dense), group.expected) }
    if hasRun || isToJudge { try folder.write(done: dense) }
    var reference: [Frame]?, latents: Tensor?
    for cell in group.cells {
      var result: CellResult
      let isMeasured: Bool
      switch try folder.state(cell.folder) {
      case .missing: continue
      case .ran(let ran): (result, isMeasured) = (ran, false)
      case .done(let done): (result, isMeasured) = (done, metrics.isMeasured(done))
      }
      let isToJudge = metrics.isToJudge(result, group.expected)
      guard !isMeasured || isToJudge else { continue }
      let pictures = try folder.pictures(of: result)
      if !isMeasured {
        let frames = try reference ?? folder.pictures(of: dense)
        let expected = try latents ?? folder.latents(of: dense.folder)
        (reference, latents) = (frames, expected)
        let error = try latentsError(cell, expected, onEvent)
        result = try metrics.measured(result, pictures, reference: frames, latentsError: error)
      }
      if isToJudge { result = try metrics.judged(result, pictures, group.expected) }
      try folder.write(done: result)
    }
  }

  /// Relative L2 of a cell's latents; throws where a control's differ from the reference's.
  private func latentsError(
    _ cell: Sweep.Cell, _ expected: Tensor, _ onEvent: (SweepEvent) throws -> Bool
  ) throws -> Double {
    let own = try folder.latents(of: cell.folder), error = try relativeL2(own, reference: expected)
    if cell.variant.role == .control {
      guard own == expected else { throw SweepError.controlDiffers(folder: cell.folder, error: error) }
      _ = try onEvent(.controlPassed(cell))
    }
    return error
  }
}

extension CellResult.Densities {
  init(_ statistics: AttentionStatistics) {
    func grouped(_ key: (AttentionRecord) -> Int) -> [[AttentionRecord]] {
      Dictionary(grouping: statistics.records, by: key).sorted { $0.key < $1.key }.map(\.value)
    }
    func density(_ records: [AttentionRecord]) -> Double { AttentionStatistics.density(records) ?? 1 }
    let steps = grouped(\.step)
    self.init(
      sparseCalls: statistics.sparseDensity ?? statistics.runDensity, run: statistics.runDensity,
      bySteps: steps.map(density),
      byStepAndLayer: steps.map { step in
        Dictionary(grouping: step, by: \.layer).sorted { $0.key < $1.key }.map { density($0.value) }
      })
  }
}

extension CellResult.Recall {
  init(_ records: [AttentionQuality]) {
    func table(
      _ row: (AttentionQuality) -> Int, _ column: (AttentionQuality) -> Int, _ value: (AttentionQuality) -> Double
    ) -> [[Double]] {
      Dictionary(grouping: records, by: row).sorted { $0.key < $1.key }.map { line in
        Dictionary(grouping: line.value, by: column).sorted { $0.key < $1.key }.map { entry in
          entry.value.reduce(0) { $0 + value($1) } / Double(entry.value.count)
        }
      }
    }
    self.init(
      recallByStepAndLayer: table(\.step, \.layer, \.recall), errorByStepAndLayer: table(\.step, \.layer, \.relativeL2),
      recallByLayerAndHead: table(\.layer, \.head, \.recall), errorByLayerAndHead: table(\.layer, \.head, \.relativeL2))
  }
}
