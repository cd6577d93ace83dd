import DiffusionPipelines
import Foundation
import Media
import Tensors
import TolerantJSON

/// The files of a sweep. Every file appears whole or not at all; a cell's `cell.json` comes last.
public struct SweepFolder: Sendable {
  public let url: URL

  public init(_ url: URL) { self.url = url }

  /// How far a cell is.
  enum State {
    case missing
    /// Its pictures, latents and costs are there; it is yet to be measured.
    case ran(CellResult)
    case done(CellResult)
  }

  private static let run = "run.json", cell = "cell.json", header = "sweep.json", latents = "latents.safetensors"

  func file(_ cell: String, _ name: String) -> URL { url.appendingPathComponent(cell).appendingPathComponent(name) }

  func state(_ cell: String) throws -> State {
    if let result = try read(CellResult.self, file(cell, Self.cell)) { return .done(result) }
    return try read(CellResult.self, file(cell, Self.run)).map(State.ran) ?? .missing
  }

  /// Claims a group for this process while it runs and measures its cells; `nil` where another process has it.
  func claim(_ group: Sweep.Group) throws -> FileLock? {
    try FileLock(claiming: url.appendingPathComponent(group.reference.folder).deletingLastPathComponent())
  }

  // MARK: Writing

  func write(_ bytes: [UInt8], _ cell: String, _ name: String) throws {
    try AtomicFile.write(bytes, to: file(cell, name))
  }

  func write(_ frame: Frame, _ cell: String, _ name: String) throws {
    try write(PNGFile.encode(frame), cell, name)
  }

  func write(latents: Tensor, _ cell: String) throws { try write(latentsFile(latents), cell, Self.latents) }

  func write(ran result: CellResult) throws { try write(json(result), result.folder, Self.run) }

  /// Writes the complete result, after which the cell is done.
  func write(done result: CellResult) throws {
    try write(json(result), result.folder, Self.cell)
    try? FileManager.default.removeItem(at: file(result.folder, Self.run))
  }

  /// Writes the header; throws where the folder holds a sweep of another model.
  public func begin(_ header: SweepResults.Header) throws {
    if let found = try read(SweepResults.Header.self, url.appendingPathComponent(Self.header)) {
      try check(found, against: header)
    }
    try AtomicFile.write(json(header), to: url.appendingPathComponent(Self.header))
  }

  /// Throws unless both are of one pipeline class, size and model.
  public func check(_ found: SweepResults.Header, against expected: SweepResults.Header) throws {
    func check(_ what: String, _ expected: String, _ found: String) throws {
      guard expected != found else { return }
      throw SweepError.otherSweep(folder: url.relativePath, what: what, expected: expected, found: found)
    }
    try check("pipeline class", expected.pipelineClass, found.pipelineClass)
    func size(_ header: SweepResults.Header) -> String { "\(header.width)x\(header.height), \(header.frames) frames" }
    try check("size", size(expected), size(found))
    try check("model", expected.modelHash, found.modelHash)
  }

  /// Copies a finished cell of another folder, `cell.json` last.
  /// - Returns: `false` where it was here already.
  public func copy(_ cell: CellResult, from other: URL) throws -> Bool {
    if case .done = try state(cell.folder) { return false }
    let source = other.appendingPathComponent(cell.folder)
    for name in try FileManager.default.contentsOfDirectory(atPath: source.path).sorted()
    where !name.hasPrefix(".") && name != Self.cell && name != Self.run {
      try AtomicFile.write(
        Array(Data(contentsOf: source.appendingPathComponent(name))), to: file(cell.folder, name))
    }
    try write(done: cell)
    return true
  }

  private func json(_ value: some Encodable) throws -> [UInt8] {
    Array(try RunRecord.encoder(pretty: true).encode(value)) + [UInt8(ascii: "\n")]
  }

  // MARK: Reading

  /// All finished cells. Cells that are not finished are left out.
  public func results() throws -> SweepResults {
    guard let header = try read(SweepResults.Header.self, url.appendingPathComponent(Self.header)) else {
      throw SweepError.noSweep(folder: url.relativePath)
    }
    let base = url.appendingPathComponent("cells")
    var cells: [CellResult] = []
    for group in try names(in: base) {
      for name in try names(in: base.appendingPathComponent(group)) {
        let path = base.appendingPathComponent(group).appendingPathComponent(name).appendingPathComponent(Self.cell)
        guard let cell = try read(CellResult.self, path) else { continue }
        guard cell.folder == "cells/\(group)/\(name)" else {
          throw SweepError.badData(
            path: path.relativePath, reason: "expected folder 'cells/\(group)/\(name)', found '\(cell.folder)'")
        }
        cells.append(cell)
      }
    }
    return SweepResults(header: header, cells: cells, folder: url)
  }

  private func names(in folder: URL) throws -> [String] {
    guard FileManager.default.fileExists(atPath: folder.path) else { return [] }
    return try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { !$0.hasPrefix(".") }.sorted()
  }

  func pictures(of cell: CellResult) throws -> [Frame] {
    try cell.pictures.map { name in
      let path = file(cell.folder, name)
      return try PNGFile.decode(Array(Data(contentsOf: path))).frame
    }
  }

  func latents(of cell: String) throws -> Tensor { try readLatents(file(cell, Self.latents)) }

  /// `nil` where there is no such file.
  private func read<Value: Decodable>(_ type: Value.Type, _ file: URL) throws -> Value? {
    guard FileManager.default.fileExists(atPath: file.path) else { return nil }
    return try TolerantJSON.decode(type, from: TolerantJSON.read(file), path: file.relativePath)
  }
}
