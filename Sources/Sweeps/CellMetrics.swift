import Evaluation
import Foundation
import Media

/// Measures cells against their dense references.
public struct CellMetrics: Sendable {
  /// Of pictures, and of each frame of a clip; then of clips only.
  public let metrics: [any ClipMetric]
  /// Relative L2 of the final latents, measured always.
  public static let latents = "latents-l2"

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
  }

  /// The cell with its metrics.
  func measured(
    _ cell: CellResult, _ pictures: [Frame], reference: [Frame], latentsError: Double
  ) throws -> CellResult {
    var result = cell
    (result.metrics, result.curves) = ([Self.latents: latentsError], [:])
    for metric in metrics {
      let curve = try metric.curve(pictures, reference: reference)
      result.metrics[metric.name] = curve.summary.mean
      if pictures.count > 1 { result.curves[metric.name] = curve.values }
    }
    return result
  }
}
