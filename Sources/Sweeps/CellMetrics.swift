import DiffusionPipelines
import Evaluation
import Foundation
import Media

/// Measures cells against their dense references.
public struct CellMetrics: Sendable {
  /// Of pictures, and of each frame of a clip; then of clips only.
  public let metrics: [any ClipMetric]
  /// Of how well results obey their prompts; `nil` to leave that out.
  public var judge: SweepJudge?
  /// Relative L2 of the final latents, measured always.
  public static let latents = "latents-l2"
  /// Share of what a prompt promises that the judge saw, 0...1. The one metric that references have too.
  public static let adherence = "adherence"

  /// - Parameters:
  ///   - names: as users write them; `nil` for all that need no weights and fit the size.
  ///   - lpips: files with LPIPS weights.
  ///   - frames: of a clip, 1 for pictures.
  /// - Returns: also the names left out since pictures of this size are too small for them.
  public static func make(
    _ names: [String]?, lpips: [URL], width: Int, height: Int, frames: Int
  ) throws -> (metrics: CellMetrics, left: [String]) {
    let networks = try lpips.map { try LPIPS(file: $0) }
    let known: [any ClipMetric] = Metrics.frame + networks + (frames > 1 ? Metrics.temporal : [])
    let chosen: [any ClipMetric] =
      try names.map { names in
        try names.flatMap { name -> [any ClipMetric] in
          let found = name == "lpips" ? networks : known.filter { $0.name == name }
          guard !found.isEmpty else { throw SweepError.unknownMetric(name, known: known.map(\.name)) }
          return found
        }
      } ?? known
    let isSmall = min(width, height) < MultiScaleSSIM.minimumSize
    let left = names == nil && isSmall ? chosen.filter { $0 is MultiScaleSSIM } : []
    return (
      CellMetrics(metrics: chosen.filter { metric in !left.contains { $0.name == metric.name } }), left.map(\.name)
    )
  }

  /// What the header of results says of them.
  public var listing: [SweepResults.Header.Metric] {
    metrics.map { .init(name: $0.name, higherIsBetter: $0.direction == .higher) }
      + [.init(name: Self.latents, higherIsBetter: false)]
      + (judge == nil ? [] : [.init(name: Self.adherence, higherIsBetter: true)])
  }

  /// Whether a cell has all metrics against its reference.
  func isMeasured(_ cell: CellResult) -> Bool {
    (metrics.map(\.name) + [Self.latents]).allSatisfy { cell.metrics[$0] != nil }
  }

  /// The cell with its metrics against its reference.
  func measured(
    _ cell: CellResult, _ pictures: [Frame], reference: [Frame], latentsError: Double
  ) throws -> CellResult {
    var result = cell
    (result.metrics, result.curves) = ([Self.latents: latentsError], [:])
    result.metrics[Self.adherence] = cell.metrics[Self.adherence]
    for metric in metrics {
      let curve = try metric.curve(pictures, reference: reference)
      result.metrics[metric.name] = curve.summary.mean
      if pictures.count > 1 { result.curves[metric.name] = curve.values }
    }
    return result
  }
  // MARK: Adherence

  /// Whether a cell of a prompt that promises this is yet to be judged, or was by another judge or promise.
  func isToJudge(_ cell: CellResult, _ expected: ExpectedScene?) -> Bool {
    guard let judge, let expected else { return false }
    return cell.adherence?.judge != judge.hash || cell.adherence?.expected != expected
  }

  /// The cell with what the judge says of it.
  func judged(_ cell: CellResult, _ pictures: [Frame], _ expected: ExpectedScene?) throws -> CellResult {
    guard let judge, let expected else { return cell }
    let seen = try judge.judge.look(pictures), adherence = judge.judge.match(expected, seen)
    var result = cell
    result.adherence = CellResult.Judgement(
      judge: judge.hash, expected: expected, seen: seen, counts: adherence.counts)
    result.metrics[Self.adherence] = adherence.share
    return result
  }
}

/// A judge, and what names its weights.
public struct SweepJudge: Sendable {
  public let judge: Judge
  let hash: String

  public init(file: URL) throws {
    judge = try Judge(file: file)
    hash = String(DiffusionPipelines.SHA256.hex(of: Array(try Data(contentsOf: file))).prefix(16))
  }
}
