import Evaluation
import Sweeps

/// Cells with the dense run of the same prompt, seed and sampling.
struct Pairing: Sendable {
  /// What a cell shares with its reference.
  private struct Key: Hashable {
    var prompt: String, promptIndex: Int, seed: UInt64, dtype: String, scheduler: String?, steps: Int

    init(_ cell: CellResult) {
      (prompt, promptIndex, seed) = (cell.prompt, cell.promptIndex, cell.seed)
      (dtype, scheduler, steps) = (cell.variant.dtype, cell.variant.scheduler, cell.variant.steps)
    }
  }

  private let references: [Key: [CellResult]]

  init(_ cells: [CellResult]) {
    references = Dictionary(grouping: cells.filter { $0.variant.role == .dense }, by: Key.init)
  }

  /// The cell's reference; of several, one of its process and KV compression where there is one.
  func reference(of cell: CellResult) -> CellResult? {
    let found = references[Key(cell)] ?? []
    return found.first {
      $0.cost.process == cell.cost.process && $0.variant.kvCompression == cell.variant.kvCompression
    }
      ?? found.first { $0.cost.process == cell.cost.process } ?? found.first
  }

  /// How many times as fast as the reference the cell was, by `seconds`; `nil` unless both ran in one process.
  ///
  /// All steps count, the first too: it is often a dense one, so leaving it out as a warm-up would flatter sparse runs,
  /// and its plans are part of their cost. Warm-up weighs on references as on others since their order alternates, and
  /// medians are taken over cells.
  func speedup(_ cell: CellResult, _ seconds: (CellResult.Cost) -> Double) -> Double? {
    guard cell.variant.role != .dense, let reference = reference(of: cell),
      reference.cost.process == cell.cost.process
    else { return nil }
    let ratio = seconds(reference.cost) / seconds(cell.cost)
    return ratio.isFinite && ratio > 0 ? ratio : nil
  }
}

extension CellResult.Cost {
  /// Planning and computing.
  var attentionAndPlanSeconds: Double { attentionSeconds + planSeconds }
  /// The mean over steps.
  var secondsPerStep: Double { stepSeconds.isEmpty ? denoiseSeconds : stepSeconds.mean }
  var planningShare: Double? { attentionAndPlanSeconds > 0 ? planSeconds / attentionAndPlanSeconds : nil }
}

/// One variant against another over the prompts and seeds that both ran.
struct PairedComparison: Sendable, Hashable {
  /// What can be said of the difference.
  enum Outcome: Sendable, Hashable {
    /// The interval of the mean difference lies on one side of 0.
    case significant
    case notSignificant
    /// Too few prompts for any difference to be significant.
    case tooFewPrompts
    /// Nothing finite was shared.
    case nothingShared
  }

  /// Of one value a prompt, the mean over the seeds shared; `nil` where nothing is shared.
  var difference: PairedDifference?
  /// Prompts in the difference, pairs of cells in it, and pairs left out since a value is infinite.
  var prompts: Int, pairs: Int, infinitePairs: Int

  /// With fewer prompts not even a difference of one sign in all of them passes a two-sided sign test at 5 %:
  /// 2 / 2^5 = 0.0625, 2 / 2^6 = 0.031.
  static let fewestPrompts = 6

  private struct Key: Hashable { var prompt: String, seed: UInt64 }

  init(_ cells: [CellResult], _ others: [CellResult], metric: SweepResults.Header.Metric, bootstrap: Bootstrap) {
    func values(_ cells: [CellResult]) -> [Key: Double] {
      Dictionary(
        cells.compactMap { cell in
          cell.metrics[metric.name].flatMap {
            $0.isNaN ? nil : (Key(prompt: cell.prompt, seed: cell.seed), $0)
          }
        }, uniquingKeysWith: { first, _ in first })
    }
    let a = values(cells), b = values(others), shared = a.keys.filter { b[$0] != nil }
    let finite = shared.filter { a[$0]?.isFinite == true && b[$0]?.isFinite == true }
    let byPrompt = Dictionary(grouping: finite, by: \.prompt).sorted { $0.key < $1.key }.map {
      $0.value.sorted { $0.seed < $1.seed }
    }
    (prompts, pairs, infinitePairs) = (byPrompt.count, finite.count, shared.count - finite.count)
    difference =
      byPrompt.isEmpty
      ? nil
      : PairedDifference(
        byPrompt.map { keys in keys.compactMap { a[$0] }.mean },
        baseline: byPrompt.map { keys in keys.compactMap { b[$0] }.mean }, direction: metric.direction,
        bootstrap: bootstrap)
  }

  var outcome: Outcome {
    guard let difference else { return .nothingShared }
    guard prompts >= Self.fewestPrompts else { return .tooFewPrompts }
    return difference.isSignificant ? .significant : .notSignificant
  }
}
