import DiffusionPipelines
import Foundation
import Media
import SparseAttention
import TestSupport
import Testing

@testable import CommandSupport

/// Attention methods and calibration from the command line, with toy methods on the toy pipelines.
@Suite struct AttentionFlagTests {
  let folder: TemporaryFolder
  /// A copy of a toy pipeline with real weights, 2 layers of 2 heads.
  let model: String
  let world = FakeWorld()

  init() throws {
    folder = try TemporaryFolder()
    model = try Self.copy("toy-pixart-sigma", to: folder)
  }

  private static func copy(_ name: String, to folder: TemporaryFolder) throws -> String {
    let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("PipelineTests/Fixtures")
    try FileManager.default.copyItem(
      atPath: fixtures.appendingPathComponent(name).path, toPath: folder.path(name))
    return folder.path(name)
  }

  private func draw(_ arguments: String...) -> Int32 {
    world.run(["-m", model, "-p", "x", "--steps", "4", "-s", "1", "-o", folder.path("a.png")] + arguments)
  }

  private func calibrate(_ arguments: String...) -> Int32 {
    world.run(
      SweepAttentionCommand.self, ["calibrate", "-m", model, "--method", "toy-band", "--steps", "2"] + arguments)
  }

  @Test(arguments: [
    ("radial", 64, "unknown attention method 'radial'; known: dense, toy-band, toy-content"),
    ("dense:x=1", 64, "has no option 'x'"), ("toy-band:width=3", 64, "known: block, radius, calibrated, note"),
    ("toy-band:radius=1001", 64, "expected a whole number from 0 to 1000, found '1001'"),
    ("toy-band:radius=wide", 64, "found 'wide'"), ("toy-band:calibrated=maybe", 64, "expected true or false"),
    ("toy-band:dense-steps=5", 64, "dense-steps: expected 0 to 4, the steps of this run, found 5"),
    ("toy-band:dense-layers=3", 64, "dense-layers: expected 0 to 2, the layers of this model, found 3"),
    ("toy-band:radius", 64, "expected key=value"), ("@/nonexistent.json", 66, "no such file"),
    (#"{"method": "toy-band", "options": {"radius": [1]}}"#, 64, "expected a number, a text, true or false"),
    ("toy-band:calibrated=true", 66, "attention/toy-band-1x16x16.json: no such file"),
  ])
  func refusals(attention: String, code: Int32, message: String) {
    for dryRun in [[], ["--dry-run"]] {
      #expect(world.run(["-m", model, "-p", "x", "--steps", "4", "--attention", attention] + dryRun) == code)
      #expect(world.errors.contains(message), "\(world.errors)")
      #expect(world.errors.hasPrefix("error: ") && world.errors.split(separator: "\n").count == 1, "\(world.errors)")
      #expect(world.output.isEmpty && world.generator == nil)
    }
  }

  @Test func flagsWinOverOptions() throws {
    #expect(draw("--attention", "toy-band:dense-steps=3,dense-layers=2,radius=4", "--dense-steps", "1") == 0)
    let attention = try #require(world.generator?.requests.first?.attention)
    #expect(attention.denseSteps == 1 && attention.denseLayers == 2 && attention.options == ["radius": .integer(4)])
    #expect(draw("--dense-layers", "3") == 64)
  }

  @Test func listNeedsNothing() {
    #expect(world.run("--attention", "list", "-m", "/nonexistent") == 0)
    #expect(world.errors.isEmpty && world.generator == nil)
    for part in [
      "dense\n", "toy-band\n", "    radius (default: 1)\n", "Blocks to either side", "Source: these tests",
      "    note\n",
      "calibrate:\n    radius (default: 2)\n", "toy-content\n", "depends on content", "dense-steps=N",
    ] { #expect(world.output.contains(part), "\(part)") }
  }

  @Test func reportsOfARealRun() throws {
    world.isReal = true
    let flags = ["--attention", "toy-band:radius=2", "--dense-layers", "1"]
    #expect(
      world.run(
        ["-m", model, "-p", "x", "--steps", "4", "-s", "1", "-o", folder.path("a.png")] + flags
          + ["--attention-report", folder.path("r.json")]) == 0, "\(world.errors)")
    // 74 of 256 blocks, in 3 of 4 steps and 1 of 2 layers.
    #expect(world.errors.contains("denoise 4/4 [") && world.errors.contains("] density 0.73\n"), "\(world.errors)")
    struct Report: Decodable {
      struct Call: Decodable {
        var step, branch, layer: Int, is_sparse: Bool, kept_blocks, blocks: Int, density: Double
        var density_by_head: [Double], plan_seconds, compute_seconds: Double
      }
      struct Layer: Decodable { var layer: Int, density: Double }
      struct Attention: Decodable {
        var method: String, options: [String: JSONValue], density, run_density: Double, token_grid: [Int]
        var dense_steps, dense_layers: Int
      }
      var schema: String, schema_version, steps: Int, attention: Attention, layers: [Layer], calls: [Call]
      var plan_seconds, compute_seconds: Double
    }
    let report = try JSONDecoder().decode(Report.self, from: Data(folder.read("r.json").utf8))
    #expect(report.schema == "tessera.attention" && report.schema_version == 1 && report.steps == 4)
    #expect(report.attention.token_grid == [1, 16, 16] && report.attention.density == 74.0 / 256)
    #expect(report.attention.dense_steps == 1 && report.attention.options["radius"] == .integer(2))
    #expect(report.calls.count == 16 && report.layers.map(\.layer) == [0, 1] && report.layers[0].density == 1)
    let sparse = report.calls.filter(\.is_sparse)
    #expect(sparse.count == 6 && sparse.allSatisfy { $0.kept_blocks == 148 && $0.blocks == 512 && $0.layer == 1 })
    #expect(sparse.allSatisfy { $0.density_by_head == [74.0 / 256, 74.0 / 256] })
    #expect(report.compute_seconds > 0 && report.plan_seconds > 0)

    // The picture's own record makes the same picture, with the report drawn.
    let again = world.run(
      "--config", folder.path("a.png"), "-o", folder.path("b.png"), "--attention-report", folder.path("r.png"))
    #expect(again == 0, "\(world.errors)")
    func bytes(_ name: String) throws -> [UInt8] {
      try Array(Data(contentsOf: URL(fileURLWithPath: folder.path(name))))
    }
    #expect(try bytes("a.png") == bytes("b.png"))
    let drawn = try PNGFile.decode(bytes("r.png")).frame
    #expect(drawn.width > 200 && drawn.height > 200)
    // Kept and dropped blocks are drawn in the map's extreme colours.
    let colors = Set(stride(from: 0, to: drawn.pixels.count, by: 3).map { Array(drawn.pixels[$0..<$0 + 3]) })
    #expect(colors.isSuperset(of: [[68, 1, 84], [253, 231, 37], [230, 30, 30], [255, 255, 255], [0, 0, 0]]))
  }

  @Test func recordsOfOlderVersionsAreRead() throws {
    #expect(draw("--json") == 0)
    struct Line: Decodable { var record: JSONValue }
    let line = try JSONDecoder().decode(Line.self, from: Data(world.output.utf8))
    guard case .object(var record) = line.record, case .object(var settings)? = record["request"] else {
      return #expect(Bool(false), "no record")
    }
    settings["attention"] = .string("dense")
    record["request"] = .object(settings)
    let file = try folder.write(JSONEncoder().encode(record), to: "old.json")
    #expect(world.run("--config", file, "-o", folder.path("b.png")) == 0, "\(world.errors)")
  }

  @Test func calibrationServesItsOwnModelOnly() throws {
    world.isReal = true
    #expect(calibrate("-p", "one", "--seeds", "3,5-6", "--guidance-scale", "1") == 0, "\(world.errors)")
    let path = model + "/attention/toy-band-1x16x16.json"
    #expect(world.lines == [path])
    #expect(world.errors.contains("run 3/3: one [seed 6]") && world.errors.contains("\n12 calls watched\n"))
    let table = try JSONDecoder().decode(ToyBand.Table.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    #expect(table.header.prompts == ["one [seed 3]", "one [seed 5]", "one [seed 6]"] && table.radius == 2)
    #expect(table.header.modelHash.hasPrefix("sha256:") && table.header.steps == 2)
    #expect(FileManager.default.fileExists(atPath: model + "/attention/toy.bin"))

    let use = ["-p", "x", "--attention", "toy-band:calibrated=true", "--dry-run"]
    #expect(world.run(["-m", model, "--steps", "2"] + use) == 0, "\(world.errors)")
    #expect(world.run(["-m", model, "--steps", "3"] + use) == 65)
    #expect(world.errors.contains("made for 2 steps, this run has 3"))
    let other = try Self.copy("toy-pixart-alpha", to: folder)
    try FileManager.default.copyItem(atPath: model + "/attention", toPath: other + "/attention")
    #expect(world.run(["-m", other, "--steps", "2", "--size", "128x128", "--resolution-binning", "off"] + use) == 65)
    #expect(world.errors.contains("made for other weights"), "\(world.errors)")
    try folder.write("{", to: "toy-pixart-sigma/attention/toy-band-1x16x16.json")
    #expect(world.run(["-m", model, "--steps", "2"] + use) == 65)
  }

  @Test(arguments: [
    ("-p x --method nope", 64), ("-p x --method dense", 64), ("-p x --method toy-content", 64),
    ("-p x --method toy-band:block=3", 64), ("-p x --method toy-band:radius=-1", 64), ("", 64), ("-p x --seeds 3-", 64),
    ("-p x --seeds 1 --seed 2", 64), ("-p x --seeds 0-99999999", 64), ("-p x --prompts-file f", 64),
    ("--prompts-file /nonexistent", 66), ("-p x -o /dev/null/x", 73), ("-p x --class-label 3", 64), ("-p x -t 0", 64),
  ])
  func calibrationRefusals(line: String, code: Int32) {
    let arguments =
      ["calibrate", "-m", model, "--steps", "2"] + (line.contains("--method") ? [] : ["--method", "toy-band"])
    let found = world.run(SweepAttentionCommand.self, arguments + line.split(separator: " ").map(String.init))
    #expect(found == code, "\(world.errors)")
    #expect(world.errors.hasPrefix("error: ") && world.errors.split(separator: "\n").count == 1, "\(world.errors)")
    #expect(world.output.isEmpty && world.generator == nil)
  }

  @Test func calibrationOfManyPrompts() throws {
    let prompts = try folder.write("one\ntwo\n", to: "p.txt")
    #expect(calibrate("--prompts-file", prompts, "-b", "2", "-s", "7", "-o", folder.path("t/")) == 0, "\(world.errors)")
    #expect(world.lines == [folder.path("t/toy-band-1x16x16.json")])
    #expect(world.generator?.requests.map(\.prompt) == ["one", "one", "two", "two"])
    #expect(world.generator?.requests.map(\.seed) == [7, 8, 7, 8] && world.generator?.prepared == [4])
    let mixed = try folder.write(#"{"prompt": "a"}"# + "\n" + #"{"prompt": "b", "steps": 3}"#, to: "q.jsonl")
    #expect(calibrate("--prompts-file", mixed) == 64)
    #expect(world.errors.contains("in 2 steps") && world.errors.contains("in 3 steps"))
    let sparse = try folder.write(#"{"prompt": "a", "attention": "toy-band"}"#, to: "r.jsonl")
    #expect(calibrate("--prompts-file", sparse) == 64)
  }

  @Test func stoppedCalibrationsWriteNothing() {
    world.stopAfter = 3
    #expect(calibrate("-p", "x", "-b", "3", "-o", folder.path("t")) == 130)
    #expect(world.errors.hasSuffix("nothing is written\n") && world.output.isEmpty)
    #expect(!folder.contains("t/toy-band-1x16x16.json"))
  }

  @Test func sweepAttentionHelps() {
    #expect(world.run(SweepAttentionCommand.self, []) == 0)
    #expect(world.output.contains("calibrate") && world.errors.isEmpty)
    #expect(world.run(SweepAttentionCommand.self, ["calibrate", "--help"]) == 0)
    #expect(world.output.contains("--method") && world.output.contains("--seeds"))
    #expect(world.run(SweepAttentionCommand.self, ["--version"]) == 0)
    #expect(world.output == "sweep-attention \(tesseraVersion)\n")
    #expect(world.run(SweepAttentionCommand.self, ["nope"]) == 64)
  }
}
