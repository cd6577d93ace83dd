import Evaluation
import Sweeps

/// What the cells of one variant say together.
public struct VariantSummary: Sendable, Hashable, Codable {
  /// A metric over the variant's cells.
  public struct Metric: Sendable, Hashable, Codable {
    public var name: String
    /// The mean over prompts, each the mean over its seeds, with its bootstrap interval over prompts, both over finite
    /// values; infinite where none is finite. With a single prompt the interval has no width and says nothing.
    public var mean: ConfidenceInterval
    /// Prompts and cells with a finite value, and cells left out since theirs is infinite: of PSNR, pictures equal to
    /// the reference's.
    public var prompts: Int, cells: Int, infiniteCells: Int

    /// Whether there are prompts enough for an interval.
    public var hasInterval: Bool { prompts > 1 && mean.estimate.isFinite }
  }

  public var variant: Variant
  /// Family, density and, where needed, what tells it from the others, such as `draft 0.30`.
  public var name: String
  public var cells: Int, prompts: Int, seeds: Int
  /// Shares of query-key pairs kept, of calls that a plan made sparse and of the run: means over cells.
  public var sparseDensity: Double, runDensity: Double
  /// In the header's order; metrics without any value are left out.
  public var metrics: [Metric]
  /// The reference's seconds divided by the variant's, over cells that ran in one process with their reference; `nil`
  /// where there is none. Attention is planning and computing; a step is the mean over all steps.
  public var attentionSpeedup: Spread?, stepSpeedup: Spread?
  /// Share of attention's seconds that went into planning: the median over cells.
  public var planningShare: Double?
  /// Floating-point operations of denoising divided by the reference's: the mean over cells.
  public var keptFLOPs: Double?
  /// What the process had held at most, in bytes: the least over cells, each of which bounds what the variant needs.
  public var peakMemoryBytes: Int?
  /// Share of the softmax mass kept, and relative L2 of attention's output: means over the cells, steps and layers
  /// that a plan made sparse.
  public var recall: Double?, attentionError: Double?

  public func metric(_ name: String) -> Metric? { metrics.first { $0.name == name } }

  /// Whether its calls kept a share of pairs more than a tenth off the one asked for.
  var missesTarget: Bool { variant.targetDensity.map { abs(sparseDensity / $0 - 1) > 0.1 } ?? false }

  /// The density that the variant stands for: asked for, or else measured.
  var density: Double { variant.targetDensity ?? sparseDensity }
}

extension VariantSummary.Metric {
  /// - Parameter values: by prompt, its cells' values, none NaN; `nil` where there are none at all.
  init?(_ name: String, byPrompt values: [[Double]], bootstrap: Bootstrap) {
    let finite = values.map { $0.filter(\.isFinite) }.filter { !$0.isEmpty }, all = values.flatMap { $0 }
    guard let first = all.first else { return nil }
    self.name = name
    (prompts, cells) = (finite.count, finite.reduce(0) { $0 + $1.count })
    infiniteCells = all.count - cells
    mean = finite.isEmpty ? Bootstrap(resamples: 1).interval([first]) : bootstrap.interval(byPrompt: finite)
  }
}
