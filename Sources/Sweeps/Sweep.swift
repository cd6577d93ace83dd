import DiffusionPipelines
import Evaluation

/// A sweep, planned: which runs, in which groups. Made before anything is loaded.
public struct Sweep: Sendable {
  /// One run: one prompt and seed, one way.
  public struct Cell: Sendable {
    /// Below the sweep's folder.
    public var folder: String
    public var request: GenerationRequest
    public var variant: Variant
    /// What to type to make the result by itself.
    public var command: String

    public init(folder: String, request: GenerationRequest, variant: Variant, command: String) {
      (self.folder, self.request, self.variant, self.command) = (folder, request, variant, command)
    }
  }

  /// Runs of one prompt, seed and sampling, which share noise and the dense reference.
  public struct Group: Sendable {
    public var prompt: String
    /// The prompt's place in the spec, from 0.
    public var promptIndex: Int
    public var seed: UInt64
    public var reference: Cell
    public var cells: [Cell]
    /// What the prompt promises, for a judge to look for.
    public var expected: ExpectedScene?
    /// Whether attention's loss is measured too, in a second run of each cell.
    public var probes = false

    public init(prompt: String, promptIndex: Int, seed: UInt64, reference: Cell, cells: [Cell], probes: Bool = false) {
      (self.prompt, self.promptIndex, self.seed) = (prompt, promptIndex, seed)
      (self.reference, self.cells, self.probes) = (reference, cells, probes)
    }
  }

  public var header: SweepResults.Header
  public var groups: [Group]
  /// Queries sampled a call where attention's loss is measured.
  public var probedQueries = 64

  public init(header: SweepResults.Header, groups: [Group]) { (self.header, self.groups) = (header, groups) }

  public var cellCount: Int { groups.reduce(0) { $0 + 1 + $1.cells.count } }

  /// Part `index` of `count`, from 1: whole groups, so that no reference is made twice.
  public func shard(_ index: Int, of count: Int) -> Sweep {
    var part = self
    part.groups = groups.enumerated().filter { $0.offset % count == index - 1 }.map(\.element)
    return part
  }

  /// The folder of a cell: it names prompt, seed and variant for people, and by a hash all that makes the result what it
  /// is. Other settings are another folder, so that cells of an older spec are never taken for those of a newer one.
  /// - Parameters:
  ///   - settings: of the run, the pipeline's place in the file system left out.
  ///   - modelHash: names the weights.
  ///   - calibration: what the method plans by.
  public static func folder(
    promptIndex: Int, variant: Variant, settings: RunRecord.Settings, modelHash: String,
    calibration: [RunRecord.CalibrationFile]
  ) throws -> String {
    var settings = settings
    settings.pipeline = ""
    let json = try RunRecord.encoder().encode(settings)
    let inputs = [modelHash, variant.role.rawValue] + calibration.map(\.fingerprint)
    let hash = DiffusionPipelines.SHA256.hex(of: Array(json) + Array(inputs.joined(separator: " ").utf8)).prefix(8)
    let allowed = variant.family.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }
    let target = variant.targetDensity.map { "-d\($0)" } ?? ""
    let digits = String(promptIndex), prompt = String(repeating: "0", count: max(0, 3 - digits.count)) + digits
    return "cells/p\(prompt)-s\(settings.seed)/\(String(allowed).prefix(40))\(target)-\(hash)"
  }
}
