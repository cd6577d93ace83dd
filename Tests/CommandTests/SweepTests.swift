import DiffusionPipelines
import Foundation
import Media
import SparseAttention
import Sweeps
import TestSupport
import Testing

@testable import CommandSupport

/// Sweeps of the toy pipelines, run for real: what is compared, what is kept, and that what was stopped goes on.
@Suite(.serialized) struct SweepTests {
  let folder: TemporaryFolder
  let world = FakeWorld()

  init() throws {
    folder = try TemporaryFolder()
    (world.isReal, world.methods) = (true, .standard)
  }

  static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("PipelineTests/Fixtures").path
  private let images = fixtures + "/toy-pixart-sigma", videos = fixtures + "/toy-wan"

  private func run(_ arguments: String...) -> Int32 {
    world.run(SweepAttentionCommand.self, arguments)
  }

  private func spec(_ more: String = "", methods: String? = nil) throws -> String {
    let methods = methods ?? #"["draft:pool=4x4", {"attention": "sliding-tile:tile=1x4x4", "densities": [0.4]}]"#
    return try folder.write(
      """
      {"pipeline": "\(images)", "prompts": ["a red cube", "two trees"], "seeds": "1-2", "densities": [0.5],
       "sampling": {"steps": 2, "dtype": "float32", "size": "128x128"}, "methods": \(methods)\(more)}
      """, to: "spec.json")
  }

  /// Everything of finished cells that does not depend on the clock.
  private func quality(_ name: String) throws -> [String: [String: Double]] {
    let cells = try SweepFolder(folder.url.appendingPathComponent(name)).results().cells
    return Dictionary(uniqueKeysWithValues: cells.map { ($0.folder, $0.metrics) })
  }

  @Test func comparesMethodsWithDenseAttention() throws {
    #expect(run("run", "--spec", try spec(), "-o", folder.path("s")) == 0, "\(world.errors)")
    let results = try SweepFolder(folder.url.appendingPathComponent("s")).results()
    let cells = results.cells
    func role(_ role: Variant.Role) -> [CellResult] { cells.filter { $0.variant.role == role } }
    // Two prompts, two seeds; a random mask for each density and number of dense steps; controls once.
    #expect(role(.dense).count == 4 && role(.method).count == 8 && role(.baseline).count == 8)
    #expect(role(.control).count == 2)
    #expect(role(.dense).allSatisfy { $0.metrics.isEmpty && $0.densities.run == 1 })
    for cell in role(.control) { #expect(cell.metrics["latents-l2"] == 0 && cell.metrics["psnr"] == .infinity) }
    for cell in role(.method) + role(.baseline) {
      #expect(cell.metrics.keys.sorted() == ["flip", "latents-l2", "psnr", "ssim"])
      #expect(cell.metrics["latents-l2"]! > 0 && cell.densities.run < 1 && cell.cost.stepSeconds.count == 2)
      #expect(abs(cell.densities.sparseCalls - cell.variant.targetDensity!) < 0.16)
      #expect(cell.cost.denoiseFLOPs < role(.dense)[0].cost.denoiseFLOPs)
    }
    #expect(world.errors.contains("ms-ssim left out") && world.errors.contains("equals dense attention"))
    #expect(Set(cells.map(\.cost.process)).count == 1)
    #expect(results.header.metrics.first { $0.name == "psnr" }?.higherIsBetter == true)
    // The command of a cell makes its picture.
    let cell = try #require(role(.method).first { $0.promptIndex == 1 })
    let words = try shellWords(cell.command)
    #expect(words[0] == "generate-image" && words.contains("two trees"))
    #expect(world.run(Array(words.dropFirst()) + ["-o", folder.path("again.png"), "--no-metadata"]) == 0)
    let picture = folder.url.appendingPathComponent("s/\(cell.folder)/image.png")
    #expect(try Data(contentsOf: picture) == Data(contentsOf: folder.url.appendingPathComponent("again.png")))
  }

  /// Words of a POSIX shell's line, as far as ``RunRecord/Settings/shellCommand(program:)`` writes them.
  private func shellWords(_ line: String) throws -> [String] {
    var words: [String] = [], word: String?, isQuoted = false, isEscaped = false
    for character in line {
      if isEscaped {
        word = (word ?? "") + String(character)
        isEscaped = false
      } else if character == "'" {
        isQuoted.toggle()
        word = word ?? ""
      } else if character == "\\", !isQuoted {
        isEscaped = true
      } else if character == " ", !isQuoted {
        if let word { words.append(word) }
        word = nil
      } else {
        word = (word ?? "") + String(character)
      }
    }
    #expect(!isQuoted)
    return words + [word].compactMap { $0 }
  }

  @Test func commandsAreFitForAShell() throws {
    let json = """
      {"pipeline": "m", "width": 8, "height": 8, "resolutionBinning": "off", "steps": 1, "guidanceScale": 1.5, "seed": 3,
       "dtype": "float32", "rng": "torch", "vaeTiling": "auto", "attention": "dense", "cleanCaption": false}
      """
    var settings = try JSONDecoder().decode(RunRecord.Settings.self, from: Data(json.utf8))
    settings.prompt = "a 'red' cube; $HOME\n\"é\" \\"
    let words = try shellWords(settings.shellCommand(program: "generate-image"))
    #expect(words[words.firstIndex(of: "--prompt")! + 1] == settings.prompt)
    #expect(try GenerateImageCommand.parse(Array(words.dropFirst())).values().prompt == settings.prompt)
  }

  @Test func stoppedSweepsGoOn() throws {
    let file = try spec()
    #expect(run("run", "--spec", file, "-o", folder.path("whole")) == 0, "\(world.errors)")
    let whole = try quality("whole")
    for stop in [3, 40, 75] {
      world.stopAfter = stop
      #expect(run("run", "--spec", file, "-o", folder.path("parts")) == 130, "\(world.errors)")
    }
    world.stopAfter = nil
    #expect(run("run", "--spec", file, "-o", folder.path("parts")) == 0, "\(world.errors)")
    #expect(try quality("parts") == whole)
    let before = try FileManager.default.subpathsOfDirectory(atPath: folder.path("parts")).sorted()
    #expect(!before.contains { $0.hasSuffix("run.json") })
    // Nothing is left to do.
    #expect(run("run", "--spec", file, "-o", folder.path("parts")) == 0)
    #expect(!world.errors.contains("denoise"))
    #expect(try FileManager.default.subpathsOfDirectory(atPath: folder.path("parts")).sorted() == before)
  }

  @Test func partsMerge() throws {
    let file = try spec()
    #expect(run("run", "--spec", file, "-o", folder.path("whole")) == 0, "\(world.errors)")
    for part in 1...3 {
      #expect(run("run", "--spec", file, "--shard", "\(part)/3", "-o", folder.path("part\(part)")) == 0)
    }
    #expect(run("merge", folder.path("part1"), folder.path("part2"), folder.path("part3"), "-o", folder.path("m")) == 0)
    #expect(try quality("m") == quality("whole"))
    #expect(run("merge", folder.path("part1"), folder.path("m"), "-o", folder.path("m")) == 0)
    #expect(world.errors.contains("0 cells copied"))
    #expect(run("merge", folder.path("nothing"), "-o", folder.path("m")) == 66)
    #expect(run("run", "--spec", file, "--shard", "4/3", "-o", folder.path("m")) == 64)
  }

  @Test func metricsAreAddedWithoutRunningAgain() throws {
    let file = try spec()
    #expect(run("run", "--spec", file, "--metrics", "psnr", "-o", folder.path("s")) == 0, "\(world.errors)")
    #expect(try quality("s").values.allSatisfy { $0.isEmpty || $0.keys.sorted() == ["latents-l2", "psnr"] })
    #expect(run("run", "--spec", file, "--metrics", "psnr,ssim", "-o", folder.path("s")) == 0, "\(world.errors)")
    #expect(!world.errors.contains("denoise"))
    #expect(try quality("s").values.allSatisfy { $0.isEmpty || $0["ssim"] != nil })
    #expect(run("run", "--spec", file, "--metrics", "psnr,beauty", "-o", folder.path("s")) == 64)
    #expect(
      run("run", "--spec", file, "--lpips-weights", folder.path("none.safetensors"), "-o", folder.path("s")) == 66)
  }

  @Test func lossOfAttentionIsMeasured() throws {
    let file = try spec(#", "recall": {"prompts": 1, "queries": 32}"#)
    #expect(run("run", "--spec", file, "-o", folder.path("s")) == 0, "\(world.errors)")
    let cells = try SweepFolder(folder.url.appendingPathComponent("s")).results().cells
    let probed = cells.filter { $0.recall != nil }
    #expect(probed.count == 4 && probed.allSatisfy { $0.promptIndex == 0 && $0.seed == 1 })
    for cell in probed {
      let recall = try #require(cell.recall)
      #expect(recall.recallByStepAndLayer.count == 2 && recall.recallByLayerAndHead.count == 2)
      #expect(recall.recallByStepAndLayer.joined().allSatisfy { (0...1.000001).contains($0) })
      #expect(recall.recallByStepAndLayer.joined().contains { $0 < 0.999 })
      #expect(recall.errorByLayerAndHead.joined().contains { $0 > 0 })
    }
  }

  @Test func clips() throws {
    let file = try folder.write(
      """
      {"pipeline": "\(videos)", "prompts": ["a red cube"], "sampling": {"steps": 2, "num_frames": 5, "size": "64x64"},
       "methods": ["radial:block=16"], "densities": [0.5], "controls": false}
      """, to: "clips.json")
    #expect(run("run", "--spec", file, "-o", folder.path("c")) == 0, "\(world.errors)")
    let cells = try SweepFolder(folder.url.appendingPathComponent("c")).results().cells
    let method = try #require(cells.first { $0.variant.role == .method })
    #expect(method.pictures.count == 5 && method.curves["psnr"]?.count == 5)
    #expect(method.metrics.keys.count == 6 && method.command.hasPrefix("generate-video"))
  }

  @Test func dryRunsSayWhatWouldBeDone() throws {
    #expect(run("run", "--spec", try spec(), "--dry-run", "--json", "-o", folder.path("s")) == 0, "\(world.errors)")
    struct Forecast: Decodable { var cells, pending: Int, variants: [Line] }
    struct Line: Decodable { var role: String, cells: Int, target_density: Double? }
    let forecast = try JSONDecoder().decode(Forecast.self, from: Data(world.output.utf8))
    #expect(forecast.cells == 22 && forecast.pending == 22 && !folder.contains("s"))
    #expect(forecast.variants.filter { $0.role == "method" }.map(\.cells) == [4, 4])
  }

  @Test func stepsAndSchedulersAreSwept() throws {
    let file = try folder.write(
      """
      {"pipeline": "\(images)", "prompts": ["a red cube"], "methods": ["draft:pool=4x4"], "densities": [0.5],
       "sampling": {"steps": [2, 3], "scheduler": ["euler", "dpm++"], "dtype": "float32", "size": "128x128"},
       "random_baseline": false}
      """, to: "axes.json")
    #expect(run("run", "--spec", file, "-o", folder.path("s")) == 0, "\(world.errors)")
    let cells = try SweepFolder(folder.url.appendingPathComponent("s")).results().cells
    func axes(_ role: Variant.Role) -> [String] {
      cells.filter { $0.variant.role == role }.map { "\($0.variant.scheduler ?? "") \($0.variant.steps)" }.sorted()
    }
    for role in [Variant.Role.dense, .method, .control] {
      #expect(axes(role) == ["dpm++ 2", "dpm++ 3", "euler 2", "euler 3"])
    }
    // A flag makes both numbers of steps one.
    #expect(run("run", "--spec", file, "--steps", "1", "--dry-run", "--json", "-o", folder.path("t")) == 0)
    #expect(world.output.contains("\"cells\":6") || world.output.contains("\"cells\" : 6"), "\(world.output)")
  }

  @Test(arguments: [
    (#"{"methods": ["draft"], "sampling": {"steps": []}}"#, 64, "sampling.steps"),
    (#"{"methods": ["draft"], "sampling": 3}"#, 64, "sampling"),
    (#"{"methods": ["draft"], "stepz": 3}"#, 64, "stepz"), (#"{"methods": ["drift"]}"#, 64, "drift"),
    (#"{"methods": []}"#, 64, "methods"), (#"{"methods": [{"attention": "draft", "densitys": [1]}]}"#, 64, "densitys"),
    (#"{"methods": ["draft"], "densities": [0]}"#, 64, "density"),
    (#"{"methods": ["draft"], "densities": [1.5]}"#, 64, "density"),
    (#"{"methods": ["draft:sparsity=0.5"], "densities": [0.5]}"#, 64, "sparsity"),
    (#"{"methods": ["paro"], "densities": [0.5]}"#, 66, "paro"), (#"{"methods": "draft"}"#, 64, "methods"),
    (#"{"methods": ["draft"], "sampling": {"attention": "radial"}}"#, 64, "attention"),
    (#"{"methods": ["draft"], "seeds": "x"}"#, 64, "seeds"), (#"["draft"]"#, 64, "spec"), ("{", 64, "spec"),
    (#"{"methods": ["draft"], "pipeline": "/nonexistent"}"#, 66, "nonexistent"),
    (#"{"methods": ["draft"], "prompts_file": "none.txt"}"#, 66, "none.txt"),
  ])
  func badSpecs(text: String, status: Int32, word: String) throws {
    let file = try folder.write(text, to: "bad.json")
    let more = (text.contains("pipeline") ? [] : ["-m", images]) + (text.contains("prompts_file") ? [] : ["-p", "x"])
    let code = world.run(
      SweepAttentionCommand.self, ["run", "--spec", file, "--size", "128x128", "-o", folder.path("s")] + more)
    #expect(code == status && world.errors.contains(word), "\(code): \(world.errors)")
    #expect(world.errors.split(separator: "\n").count == 1 && !folder.contains("s"))
  }

  /// What a method plans by is part of a cell as its flags are.
  @Test func cellsOfOtherCalibrationsAreMadeAgain() throws {
    let sampling = ["--steps", "2", "--size", "128x128", "--dtype", "float32"]
    #expect(
      world.run(
        SweepAttentionCommand.self,
        [
          "calibrate", "--method", "sliding-tile:tile=1x4x4", "-m", images, "-p", "a cube", "-s", "1", "-o",
          folder.path("t"),
        ]
          + sampling) == 0, "\(world.errors)")
    let table = try #require(
      FileManager.default.contentsOfDirectory(atPath: folder.path("t")).first { $0.hasSuffix(".json") })
    let path = folder.path("t/\(table)")
    let arguments =
      [
        "run", "-m", images, "-p", "a red cube", "--seeds", "1", "--attention", "sliding-tile:calibration=\(path)",
        "-o",
        folder.path("s"),
      ] + sampling
    func toDo() throws -> String {
      #expect(world.run(SweepAttentionCommand.self, arguments + ["--dry-run"]) == 0, "\(world.errors)")
      return try #require(world.output.firstMatch(of: #/[0-9]+ cells, [0-9]+ to do/#).map { String($0.output) })
    }
    #expect(world.run(SweepAttentionCommand.self, arguments) == 0, "\(world.errors)")
    let all = try #require(try toDo().split(separator: " ").first)
    #expect(try toDo() == "\(all) cells, 0 to do")
    try Data([10] + Data(contentsOf: URL(fileURLWithPath: path))).write(to: URL(fileURLWithPath: path))
    #expect(try toDo() == "\(all) cells, 1 to do")
  }

  @Test func foldersOfOtherSweepsAreLeftAlone() throws {
    let file = try spec()
    #expect(run("run", "--spec", file, "-o", folder.path("s")) == 0, "\(world.errors)")
    let before = try quality("s")
    #expect(run("run", "--spec", file, "--size", "64x64", "-o", folder.path("s")) == 65)
    #expect(world.errors.contains("another size"))
    #expect(try quality("s") == before)
  }

  @Test func groupsOfAnotherProcessAreLeftToIt() throws {
    let methods = #"["draft:pool=4x4"]"#, group = folder.url.appendingPathComponent("s/cells/p000-s2")
    let claim = try #require(try FileLock(claiming: group))
    world.stopAfter = 200
    #expect(run("run", "--spec", try spec(methods: methods), "-o", folder.path("s")) == 130, "\(world.errors)")
    #expect(world.errors.contains("waiting for cells that another process runs"))
    let done = try SweepFolder(folder.url.appendingPathComponent("s")).results().cells
    #expect(!done.isEmpty && !done.contains { $0.folder.hasPrefix("cells/p000-s2/") })
    claim.release()
    world.stopAfter = nil
    #expect(run("run", "--spec", try spec(methods: methods), "-o", folder.path("s")) == 0, "\(world.errors)")
  }
}
