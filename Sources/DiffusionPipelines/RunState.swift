import Checkpoints
import Foundation
import Schedulers
import SparseAttention
import Tensors
import TolerantJSON

/// An interrupted run after one of its steps: all that decides the steps still to come. Kept in a safetensors file with
/// the tensors `latents` and `solver.N`, and the rest as JSON in its metadata.
public struct RunState: Sendable {
  /// The record of the run so far: request, weights, arithmetic, noise.
  public var record: RunRecord
  /// Steps done; those of the request when only decoding is left.
  public var steps: Int
  /// Latents after these steps.
  public var latents: Tensor
  var solver: SolverState
  /// The noise generator's state as JSON.
  var random: String
  var attention: [AttentionRecord]

  private static let key = "tessera.state"

  private struct Header: Codable {
    var version: String
    var record: RunRecord
    var steps: Int
    var solver: [Int]
    var random: String
    var attention: [AttentionRecord]
  }

  /// The state as a file's bytes.
  public func bytes() throws -> [UInt8] {
    let header = Header(
      version: tesseraVersion, record: record, steps: steps, solver: solver.numbers, random: random,
      attention: attention)
    let tensors = [("latents", latents)] + solver.tensors.enumerated().map { ("solver.\($0.offset)", $0.element) }
    return try SafetensorsFile.bytes(
      tensors, metadata: [Self.key: String(decoding: try RunRecord.encoder().encode(header), as: UTF8.self)])
  }

  /// Reads a state; throws where the file is none, or one of another version.
  public init(contentsOf url: URL) throws {
    let file = try SafetensorsFile(url)
    func malformed(_ reason: String) -> PipelineError { .badData(path: url.relativePath, reason: reason) }
    guard let json = file.metadata[Self.key] else { throw malformed("expected the saved state of a run, found none") }
    let header = try TolerantJSON.decode(Header.self, from: Data(json.utf8), path: url.relativePath)
    guard header.version == tesseraVersion else {
      throw malformed("expected a state of version \(tesseraVersion), found one of '\(printable(header.version))'")
    }
    func tensor(_ name: String) throws -> Tensor {
      guard let stored = file.tensors[name], stored.type == .float32 else {
        throw malformed("expected a Float32 tensor '\(name)', found none")
      }
      return stored.floats()
    }
    (record, steps, random, attention) = (header.record, header.steps, header.random, header.attention)
    latents = try tensor("latents")
    solver = SolverState(
      tensors: try (0..<(file.tensors.count - 1)).map { try tensor("solver.\($0)") }, numbers: header.solver)
    guard (1...record.request.steps).contains(steps),
      (solver.tensors + [latents]).allSatisfy({ $0.shape == latents.shape })
    else { throw malformed("steps and tensors do not belong together") }
  }

  package init(
    _ record: RunRecord, steps: Int, latents: Tensor, solver: SolverState, random: any RandomSource,
    attention: [AttentionRecord]
  ) throws {
    (self.record, self.steps, self.latents, self.solver) = (record, steps, latents, solver)
    self.random = try random.encodedState()
    self.attention = attention
  }

  /// Throws unless the state belongs to a run: the same request, weights, arithmetic and scheduler. Threads and the
  /// folder's place in the file system may differ.
  func check(against run: RunRecord) throws {
    func fail(_ what: String, _ expected: String, _ found: String) -> PipelineError {
      .badRequest("the saved state is of another run: expected \(what) \(expected), found \(found)")
    }
    func keys(_ value: some Encodable) throws -> [String: JSONValue] {
      try JSONDecoder().decode([String: JSONValue].self, from: RunRecord.encoder().encode(value))
    }
    var (wanted, found) = try (keys(run.request), keys(record.request))
    (wanted["pipeline"], found["pipeline"]) = (nil, nil)
    for key in Set(wanted.keys).union(found.keys).sorted() where wanted[key] != found[key] {
      throw fail(key, wanted[key].map(Self.text) ?? "unset", found[key].map(Self.text) ?? "unset")
    }
    guard run.model.className == record.model.className else {
      throw fail("pipeline", run.model.className, printable(record.model.className))
    }
    for (mine, theirs) in zip(run.model.weights, record.model.weights) where mine != theirs {
      throw fail("weights of \(mine.component)", mine.fingerprint, printable(theirs.fingerprint))
    }
    guard run.model.weights.count == record.model.weights.count else {
      throw fail("weight files", "\(run.model.weights.count)", "\(record.model.weights.count)")
    }
    let calibrations = [run, record].map { record in
      record.attention.calibration.map { $0.map(\.fingerprint).joined(separator: " ") } ?? "none"
    }
    guard calibrations[0] == calibrations[1] else {
      throw fail("calibration files", calibrations[0], printable(calibrations[1]))
    }
    guard run.compute.cpu == record.compute.cpu else {
      throw fail("the code path", run.compute.cpu, printable(record.compute.cpu))
    }
    guard run.scheduler == record.scheduler else { throw fail("the scheduler's", "configuration", "another") }
  }

  private static func text(_ value: JSONValue) -> String {
    printable(
      (try? RunRecord.encoder().encode([value])).map { String(decoding: $0.dropFirst().dropLast(), as: UTF8.self) }
        ?? "?")
  }
}

extension RandomSource {
  func encodedState() throws -> String { String(decoding: try JSONEncoder().encode(state), as: UTF8.self) }

  mutating func restore(encoded text: String) throws {
    state = try TolerantJSON.decode(State.self, from: Data(text.utf8), path: "the saved noise generator")
  }
}
