import Foundation
import TolerantJSON

/// What every calibration file says of itself first: which method, which model and which grid it is for.
public struct CalibrationHeader: Codable, Hashable, Sendable {
  public static let schemaName = "tessera.attention-calibration"

  public var schema = CalibrationHeader.schemaName
  public var schemaVersion = 1
  public var method: String
  /// Names the transformer's weights.
  public var modelHash: String
  /// Frames, height and width in tokens; text tokens before and after.
  public var grid: [Int]
  public var prefix: Int, suffix: Int
  public var layers: Int, heads: Int
  /// Denoising steps of the runs it was made from.
  public var steps: Int
  /// Prompts and seeds it was made from.
  public var prompts: [String]

  public init(method: String, context: MethodContext, prompts: [String]) {
    let layout = context.layout
    self.method = method
    modelHash = context.modelHash ?? ""
    grid = [layout.frames, layout.height, layout.width]
    (prefix, suffix) = (layout.prefix, layout.suffix)
    (layers, heads, steps) = (context.layerCount, context.heads, context.stepCount)
    self.prompts = prompts
  }

  /// The file of a method for a grid, inside a pipeline's `attention` folder.
  public static func fileName(method: String, layout: TokenLayout) -> String {
    "\(method)-\(layout.gridName).json"
  }

  /// Throws unless the file is for this method, model and, but for `interpolate`, this grid and number of steps.
  /// - Parameter otherGrids: whether the method can make anything of a table for another grid.
  public func check(
    method: String, context: MethodContext, path: String, interpolate: Bool, otherGrids: Bool = true
  ) throws {
    func refuse(_ reason: String) -> AttentionError { .calibration(path: path, reason: reason) }
    guard schema == Self.schemaName, schemaVersion == 1 else {
      throw refuse("expected schema \(Self.schemaName) version 1, found '\(schema)' version \(schemaVersion)")
    }
    guard self.method == method else { throw refuse("made for method '\(self.method)', not '\(method)'") }
    guard modelHash == context.modelHash else {
      throw refuse("made for other weights (\(modelHash)); this transformer is \(context.modelHash ?? "unknown")")
    }
    guard layers == context.layerCount, heads == context.heads else {
      throw refuse(
        "made for \(layers) layers of \(heads) heads; this model has \(context.layerCount) of \(context.heads)")
    }
    guard grid.count == 3, grid.allSatisfy({ (1...1_000_000).contains($0) }), (1...100_000).contains(steps) else {
      throw refuse("grid \(grid) or steps \(steps) out of range")
    }
    let layout = context.layout
    let own = [layout.frames, layout.height, layout.width]
    guard interpolate || (grid == own && prefix == layout.prefix && suffix == layout.suffix) else {
      throw refuse(
        "made for a grid of \(grid.map(String.init).joined(separator: "x")) tokens, this run has \(layout.gridName); "
          + (otherGrids || grid == own ? "calibrate for it, or allow interpolate=true" : "calibrate for it"))
    }
    guard interpolate || steps == context.stepCount else {
      throw refuse(
        "made for \(steps) steps, this run has \(context.stepCount); calibrate for it, or allow interpolate=true")
    }
  }
}

/// Watches dense attention while a pipeline runs, passes its result on, and gathers what a method's tables need.
public protocol AttentionCalibrator: AttentionEngine {
  /// The files to put into the pipeline's `attention` folder, the JSON one first, and what to tell the user.
  func finish(prompts: [String]) throws -> CalibrationOutput
}

public struct CalibrationOutput: Sendable {
  public var files: [(name: String, bytes: [UInt8])]
  /// One line a finding.
  public var summary: [String]
  public init(files: [(name: String, bytes: [UInt8])], summary: [String]) {
    (self.files, self.summary) = (files, summary)
  }
}
