import Foundation
import TolerantJSON

/// The windows of ``SlidingTileAttention`` by step, layer and head, and the file they are kept in: the header's fields,
/// then these.
struct SlidingTileTable: Codable, Sendable {
  var header: CalibrationHeader
  /// Frames, rows and columns of a box in tokens.
  var tileExtents: TileWindow
  var candidates: [TileWindow]
  /// Index of the candidate by step, layer and head.
  var choices: [[[Int]]]
  /// Mean squared difference from dense attention of each candidate by step, layer and head. For readers: planning
  /// needs only the choices.
  var losses: [[[[Float]]]]?

  static let candidateLimit = 64

  private enum CodingKeys: String, CodingKey {
    case tileExtents = "tile"
    case candidates, choices, losses
  }

  init(
    header: CalibrationHeader, tile: TileWindow, candidates: [TileWindow], choices: [[[Int]]], losses: [[[[Float]]]]
  ) {
    (self.header, tileExtents, self.candidates) = (header, tile, candidates)
    (self.choices, self.losses) = (choices, losses)
  }

  init(from decoder: any Decoder) throws {
    header = try CalibrationHeader(from: decoder)
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    tileExtents = try fields.decode(TileWindow.self, forKey: .tileExtents)
    candidates = try fields.decode([TileWindow].self, forKey: .candidates)
    choices = try fields.decode([[[Int]]].self, forKey: .choices)
  }

  func encode(to encoder: any Encoder) throws {
    try header.encode(to: encoder)
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(tileExtents, forKey: .tileExtents)
    try fields.encode(candidates, forKey: .candidates)
    try fields.encode(choices, forKey: .choices)
    try fields.encodeIfPresent(losses, forKey: .losses)
  }

  /// The file's content.
  func bytes() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys]
    return try Array(encoder.encode(self))
  }

  /// Reads a table for a run.
  /// - Parameter interpolate: whether it may be for another grid or number of steps; it is then fitted to this run.
  init(path: String, context: MethodContext, interpolate: Bool) throws {
    func refuse(_ reason: String) -> AttentionError { .calibration(path: path, reason: reason) }
    var table: SlidingTileTable
    do {
      table = try TolerantJSON.decode(SlidingTileTable.self, from: URL(fileURLWithPath: path))
    } catch let failure as TolerantJSON.Failure {
      throw refuse(
        failure.isMissing ? "no such file; make it with sweep-attention calibrate" : failure.reason)
    }
    try table.header.check(
      method: SlidingTileAttention.information.name, context: context, path: path, interpolate: interpolate)
    guard (1...Self.candidateLimit).contains(table.candidates.count) else {
      throw refuse("expected 1 to \(Self.candidateLimit) candidates, found \(table.candidates.count)")
    }
    guard
      table.choices.count == table.header.steps,
      table.choices.allSatisfy({ layers in
        layers.count == table.header.layers && layers.allSatisfy { $0.count == table.header.heads }
      })
    else {
      throw refuse(
        "expected choices of \(table.header.steps) steps by \(table.header.layers) layers by "
          + "\(table.header.heads) heads")
    }
    guard table.choices.allSatisfy({ $0.allSatisfy { $0.allSatisfy(table.candidates.indices.contains) } }) else {
      throw refuse("a choice is not one of the \(table.candidates.count) candidates")
    }
    let boxes = TileWindow.counts(context.layout, tile: table.tileExtents.extents).reduce(1, *)
    guard boxes <= BlockPlan.blockLimit else {
      throw refuse("tiles of \(table.tileExtents) cut this grid into \(boxes) boxes, more than \(BlockPlan.blockLimit)")
    }
    table.fit(to: context)
    self = table
  }

  /// Takes windows to the run's grid, and choices to its steps: a step takes those of the step that its middle falls
  /// into when both runs are stretched to one length. Changes nothing where grid and steps are the same.
  private mutating func fit(to context: MethodContext) {
    let made = TokenLayout(frames: header.grid[0], height: header.grid[1], width: header.grid[2])
    let old = TileWindow.counts(made, tile: tileExtents.extents)
    let new = TileWindow.counts(context.layout, tile: tileExtents.extents)
    candidates = candidates.map { $0.scaled(from: old, to: new) }
    let (own, count) = (choices, context.stepCount)
    choices = (0..<count).map { step in own[(2 * step + 1) * own.count / (2 * count)] }
  }

  /// Frames, rows and columns of a box, as ``TileGrid`` takes them.
  var tile: (frames: Int, height: Int, width: Int) {
    (tileExtents.extents[0], tileExtents.extents[1], tileExtents.extents[2])
  }

  /// The window of each head.
  func windows(_ site: AttentionSite) throws -> [TileWindow] {
    guard site.call.stepCount == choices.count, choices.indices.contains(site.call.step),
      choices[site.call.step].indices.contains(site.layer)
    else {
      throw AttentionError.unsuitable(
        method: SlidingTileAttention.information.name,
        reason: "its table has no step \(site.call.step) of \(site.call.stepCount), layer \(site.layer)")
    }
    return choices[site.call.step][site.layer].map { candidates[$0] }
  }
}
