import Foundation
import Kernels
import SparseAttention
import Tensors
import TolerantJSON

/// A method for tests of all that surrounds methods: a band of blocks around the diagonal, from geometry or a table.
public struct ToyBand: GeometricPlanner {
  public static let information = MethodInformation(
    name: "toy-band", summary: "Blocks near the diagonal.", source: "these tests",
    options: [
      MethodOption("block", default: "16", "Tokens of a block."),
      MethodOption("radius", default: "1", "Blocks to either side that are kept."),
      MethodOption("calibrated", default: "false", "Take the radius from the pipeline's table."),
      MethodOption("note", default: "", "Any text."),
    ],
    calibrationOptions: [MethodOption("radius", default: "2", "What to write into the table.")])

  /// The table's file.
  public struct Table: Codable {
    public var header: CalibrationHeader
    public var radius: Int
  }

  let block: Int, radius: Int

  public init(_ options: inout OptionReader, context: MethodContext) throws {
    block = try options.integer("block", default: 16, in: 1...1024)
    let radius = try options.integer("radius", default: 1, in: 0...1000)
    _ = options.text("note")
    guard try options.flag("calibrated", default: false) else {
      self.radius = radius
      return
    }
    let name = CalibrationHeader.fileName(method: Self.information.name, layout: context.layout)
    let path = (context.calibrationFolder ?? "") + "/" + name
    guard let data = FileManager.default.contents(atPath: path) else {
      throw AttentionError.calibration(path: path, reason: "no such file")
    }
    let table: Table
    do { table = try JSONDecoder().decode(Table.self, from: data) } catch {
      throw AttentionError.calibration(path: path, reason: "not a table")
    }
    try table.header.check(method: Self.information.name, context: context, path: path, interpolate: false)
    self.radius = table.radius
  }

  public func defaultDenseSteps(of stepCount: Int) -> Int { stepCount / 4 }

  public func planKey(_ site: AttentionSite) -> AttentionSite {
    var key = site
    (key.layer, key.call.step, key.call.branch) = (0, 0, 0)
    return key
  }

  public func plan(_ site: AttentionSite) throws -> BlockPlan {
    let starts = BlockPattern.uniformStarts(site.layout.count, block: block)
    var pattern = BlockPattern(queryStarts: starts, keyStarts: starts)
    for row in 0..<pattern.rows {
      pattern.keep(row: row, columns: max(0, row - radius)..<min(pattern.columns, row + radius + 1))
    }
    return BlockPlan(order: .model(site.layout.count), pattern: pattern, heads: site.heads)
  }

  public static func makeCalibrator(
    _ options: inout OptionReader, context: MethodContext, executor: any AttentionExecutor
  ) throws -> (any AttentionCalibrator)? {
    ToyCalibrator(context, executor, radius: try options.integer("radius", default: 2, in: 0...1000))
  }
}

/// Watches and counts calls; its table holds what the options say.
public final class ToyCalibrator: AttentionCalibrator {
  private let context: MethodContext, executor: any AttentionExecutor, radius: Int
  private var calls = 0

  init(_ context: MethodContext, _ executor: any AttentionExecutor, radius: Int) {
    (self.context, self.executor, self.radius) = (context, executor, radius)
  }

  public func callAsFunction(_ q: Tensor, _ k: Tensor, _ v: Tensor, at site: AttentionSite) throws -> Tensor {
    calls += 1
    return try executor.attend(q, k, v, plan: nil, scale: 1 / Float(q.shape[3]).squareRoot())
  }

  public func finish(prompts: [String]) throws -> CalibrationOutput {
    let name = ToyBand.information.name
    let header = CalibrationHeader(method: name, context: context, prompts: prompts)
    let json = try JSONEncoder().encode(ToyBand.Table(header: header, radius: radius))
    return CalibrationOutput(
      files: [
        (CalibrationHeader.fileName(method: name, layout: context.layout), Array(json)), ("toy.bin", [1, 2, 3]),
      ],
      summary: ["\(calls) calls watched"])
  }
}

/// Every query block reads its own keys, found out anew at every call.
public struct ToyContent: ContentPlanner {
  public static let information = MethodInformation(
    name: "toy-content", summary: "Own blocks.", source: "these tests", options: [], dependsOnContent: true)

  public init(_ options: inout OptionReader, context: MethodContext) throws {}

  public func plan(_ site: AttentionSite, queries: Tensor, keys: Tensor) throws -> BlockPlan {
    let starts = BlockPattern.uniformStarts(site.layout.count, block: 16)
    var pattern = BlockPattern(queryStarts: starts, keyStarts: starts)
    for row in 0..<pattern.rows { pattern[row, row] = true }
    return BlockPlan(order: .model(site.layout.count), pattern: pattern, heads: site.heads)
  }
}

extension AttentionMethods {
  public static let toys = AttentionMethods([ToyBand.self, ToyContent.self])
}
