import Foundation

/// What one finished cell of a sweep says: one prompt and seed, run one way, against the dense run of the same prompt,
/// seed and sampling. Written last into the cell's folder, as `cell.json`: where it is, the cell is done.
public struct CellResult: Sendable, Hashable, Codable {
  public static let schemaName = "tessera.cell"

  /// Shares of query-key pairs kept.
  public struct Densities: Sendable, Hashable, Codable {
    /// Of the calls that the method planned, and of all self-attention calls of the run.
    public var sparseCalls: Double, run: Double
    /// By step, over its layers, heads and guidance branches.
    public var bySteps: [Double]
    /// By step and layer, `[step][layer]`.
    public var byStepAndLayer: [[Double]]

    public init(sparseCalls: Double, run: Double, bySteps: [Double], byStepAndLayer: [[Double]]) {
      (self.sparseCalls, self.run) = (sparseCalls, run)
      (self.bySteps, self.byStepAndLayer) = (bySteps, byStepAndLayer)
    }
  }

  /// Wall-clock seconds, and what they were spent on.
  public struct Cost: Sendable, Hashable, Codable {
    /// All steps of denoising, and self-attention in it: computing, and planning.
    public var denoiseSeconds: Double, attentionSeconds: Double, planSeconds: Double
    public var decodeSeconds: Double
    /// Of each step.
    public var stepSeconds: [Double]
    /// Floating-point operations of denoising with the pairs that were kept.
    public var denoiseFLOPs: Double
    /// The most memory that the process had held by the end of denoising, in bytes.
    public var peakMemoryBytes: Int?
    /// The process that ran the cell: only cells of one process compare in time. And its place in that process.
    public var process: String, order: Int

    private enum CodingKeys: String, CodingKey {
      case denoiseSeconds, attentionSeconds, planSeconds, decodeSeconds, stepSeconds, peakMemoryBytes, process, order
      // The spelling that survives the way to snake case and back.
      case denoiseFLOPs = "denoiseFlops"
    }

    public init(
      denoiseSeconds: Double, attentionSeconds: Double, planSeconds: Double, decodeSeconds: Double,
      stepSeconds: [Double], denoiseFLOPs: Double, peakMemoryBytes: Int?, process: String, order: Int
    ) {
      (self.denoiseSeconds, self.attentionSeconds) = (denoiseSeconds, attentionSeconds)
      (self.planSeconds, self.decodeSeconds, self.stepSeconds) = (planSeconds, decodeSeconds, stepSeconds)
      (self.denoiseFLOPs, self.peakMemoryBytes) = (denoiseFLOPs, peakMemoryBytes)
      (self.process, self.order) = (process, order)
    }
  }

  /// What attention lost, on sampled queries; means over guidance branches.
  public struct Recall: Sendable, Hashable, Codable {
    /// Share of the softmax mass kept, and relative L2 of the output, `[step][layer]` over heads.
    public var recallByStepAndLayer: [[Double]], errorByStepAndLayer: [[Double]]
    /// The same `[layer][head]` over steps.
    public var recallByLayerAndHead: [[Double]], errorByLayerAndHead: [[Double]]

    public init(
      recallByStepAndLayer: [[Double]], errorByStepAndLayer: [[Double]], recallByLayerAndHead: [[Double]],
      errorByLayerAndHead: [[Double]]
    ) {
      (self.recallByStepAndLayer, self.errorByStepAndLayer) = (recallByStepAndLayer, errorByStepAndLayer)
      (self.recallByLayerAndHead, self.errorByLayerAndHead) = (recallByLayerAndHead, errorByLayerAndHead)
    }
  }

  public var schema = CellResult.schemaName
  public var schemaVersion = 1
  /// The cell's folder in the sweep's, such as `cells/p003-s1/draft-d0.30-5f0c9a1e`.
  public var folder: String
  public var prompt: String
  /// The prompt's place in the spec, from 0.
  public var promptIndex: Int
  public var seed: UInt64
  public var variant: Variant
  public var densities: Densities
  /// By metric: a picture's value, or the mean over a clip's frames. Infinite where all frames are equal. Of the
  /// reference itself only what needs no reference, such as `adherence`.
  public var metrics: [String: Double] = [:]
  /// By metric, a clip's values frame by frame (or frame pair by frame pair).
  public var curves: [String: [Double]] = [:]
  public var cost: Cost
  public var recall: Recall?
  /// Where the prompt's expectation and a judge were given.
  public var adherence: Judgement?
  public var width: Int, height: Int, frames: Int
  /// The picture's file in the folder, or the frames' in order.
  public var pictures: [String]
  /// What to type to make the cell's result again.
  public var command: String

  public init(
    folder: String, prompt: String, promptIndex: Int, seed: UInt64, variant: Variant, densities: Densities, cost: Cost,
    width: Int, height: Int, frames: Int, pictures: [String], command: String
  ) {
    (self.folder, self.prompt, self.promptIndex, self.seed) = (folder, prompt, promptIndex, seed)
    (self.variant, self.densities, self.cost) = (variant, densities, cost)
    (self.width, self.height, self.frames) = (width, height, frames)
    (self.pictures, self.command) = (pictures, command)
  }
}

/// All finished cells of a sweep's folder, and what the sweep was.
public struct SweepResults: Sendable {
  public struct Header: Sendable, Hashable, Codable {
    /// The folder as it was given, its class, and what names the transformer's weights.
    public var pipeline: String, pipelineClass: String, modelHash: String
    /// Of a result, in pixels, and of a clip.
    public var width: Int, height: Int, frames: Int
    /// Frames, height and width in tokens; layers and heads of the transformer.
    public var tokenGrid: [Int], layers: Int, heads: Int
    /// The kernels' code path, threads and the program's version.
    public var cpu: String, threads: Int, version: String
    /// Names of metrics in the order they are shown, with whether more is better.
    public var metrics: [Metric]

    public struct Metric: Sendable, Hashable, Codable {
      public var name: String, higherIsBetter: Bool
      public init(name: String, higherIsBetter: Bool) { (self.name, self.higherIsBetter) = (name, higherIsBetter) }
    }

    public init(
      pipeline: String, pipelineClass: String, modelHash: String = "", width: Int = 0, height: Int = 0,
      frames: Int = 1, tokenGrid: [Int], layers: Int, heads: Int, cpu: String, threads: Int, version: String,
      metrics: [Metric]
    ) {
      (self.width, self.height, self.frames) = (width, height, frames)
      (self.pipeline, self.pipelineClass, self.modelHash) = (pipeline, pipelineClass, modelHash)
      self.tokenGrid = tokenGrid
      (self.layers, self.heads, self.cpu, self.threads) = (layers, heads, cpu, threads)
      (self.version, self.metrics) = (version, metrics)
    }
  }

  public var header: Header
  /// Sorted by prompt, seed and variant; references among them.
  public var cells: [CellResult]
  /// The sweep's folder, where pictures lie below.
  public var folder: URL

  public init(header: Header, cells: [CellResult], folder: URL) {
    (self.header, self.cells, self.folder) = (header, cells, folder)
  }
}
