import Foundation
import SparseAttention
import Sweeps
import Testing

@testable import CommandSupport

/// Prompts that say what they promise, and a judge that looks for it.
@Suite(.serialized) struct AdherenceSweepTests {
  let folder: TemporaryFolder
  let world = FakeWorld()

  init() throws {
    folder = try TemporaryFolder()
    (world.isReal, world.methods) = (true, .standard)
  }

  private let images = SweepTests.fixtures + "/toy-pixart-sigma", videos = SweepTests.fixtures + "/toy-wan"

  private func judge(_ kind: String) -> String {
    SweepTests.fixtures.replacingOccurrences(
      of: "PipelineTests/Fixtures", with: "EvaluationTests/Fixtures/judge_\(kind).safetensors")
  }

  private func run(_ arguments: String...) -> Int32 { world.run(SweepAttentionCommand.self, arguments) }

  private func spec(_ prompts: String, more: String = "", judge: String? = nil, clips: Bool = false) throws -> String {
    let length = clips ? #""num_frames": 5, "size": "64x64""# : #""size": "128x128""#
    return try folder.write(
      """
      {"pipeline": "\(clips ? videos : images)", "prompts": [\(prompts)], "densities": [0.5],
       "sampling": {"steps": 2, "dtype": "float32", \(length)}, "methods": ["draft:pool=4x4"],
       "metrics": ["psnr"]\(judge.map { #", "judge": "\#($0)""# } ?? "")\(more)}
      """, to: "spec.json")
  }

  private static let cube = #"{"shape": "cube", "colour": "red", "size": "large"}"#
  private static let promise = #"{"prompt": "a red cube", "expect": {"things": [\#(cube)], "floor": "grey"}}"#

  private func cells(_ name: String) throws -> [CellResult] {
    try SweepFolder(folder.url.appendingPathComponent(name)).results().cells
  }

  @Test func adherenceIsAddedWithoutRunningAgain() throws {
    let plain = try spec(#""a red cube", "two trees""#)
    #expect(run("run", "--spec", plain, "-o", folder.path("s")) == 0, "\(world.errors)")
    let before = try cells("s")
    #expect(before.allSatisfy { $0.adherence == nil && $0.metrics["adherence"] == nil })
    let file = try spec(Self.promise + #", "two trees""#, judge: judge("image"))
    #expect(run("run", "--spec", file, "-o", folder.path("s")) == 0, "\(world.errors)")
    #expect(!world.errors.contains("denoise"))
    let after = try cells("s")
    #expect(after.map(\.folder) == before.map(\.folder))
    for (old, new) in zip(before, after) {
      guard new.promptIndex == 0 else {
        #expect(new == old)
        continue
      }
      let counts = try #require(new.adherence?.counts)
      #expect(counts.keys.sorted() == ["all", "both", "colour", "count", "floor", "shape", "size"])
      #expect(counts["floor"]?.wanted == 1 && (0...1).contains(new.metrics["adherence"] ?? -1))
      #expect(new.metrics.filter { $0.key != "adherence" } == old.metrics && new.cost == old.cost)
    }
    #expect(after.contains { $0.variant.role == .dense && $0.adherence != nil })
    // A control's picture is dense's, and so is its adherence.
    let control = try #require(after.first { $0.variant.role == .control })
    #expect(control.adherence == after.first { $0.variant.role == .dense && $0.promptIndex == 0 }?.adherence)
    #expect(try folder.read("s/results.csv").contains("adherence_colour_right"))
    // Another promise is judged anew, the same one is not; other metrics stay.
    let other = try spec(
      Self.promise.replacingOccurrences(of: "grey", with: "teal") + #", "two trees""#, judge: judge("image"))
    #expect(run("run", "--spec", other, "-o", folder.path("s")) == 0, "\(world.errors)")
    let again = try cells("s")
    #expect(again.filter { $0.promptIndex == 0 }.allSatisfy { $0.adherence?.expected.floor == "teal" })
    #expect(again[0].metrics["psnr"] == after[0].metrics["psnr"])
  }

  @Test func clipsAreJudged() throws {
    let thing = #"{"shape": "cube", "colour": "red", "motion": "left"}"#
    let file = try spec(
      #"{"prompt": "a red cube", "expect": {"things": [\#(thing)], "camera": "still"}}"#,
      more: #", "controls": false, "random_baseline": false"#, judge: judge("clip"), clips: true)
    #expect(run("run", "--spec", file, "-o", folder.path("c")) == 0, "\(world.errors)")
    let found = try cells("c")
    #expect(found.count == 2)
    for cell in found {
      #expect(cell.adherence?.counts.keys.sorted() == ["all three", "camera", "colour", "count", "motion", "shape"])
    }
    // A judge of pictures does not look at clips.
    let wrong = try spec(Self.promise, judge: judge("image"), clips: true)
    #expect(run("run", "--spec", wrong, "-o", folder.path("d")) == 64)
    #expect(world.errors.contains("expected a judge of clips, as the sweep makes, found one of images"))
  }

  @Test func judgesAreFoundBesideSpecs() throws {
    let file = try spec(Self.promise, judge: "own/judge.safetensors")
    #expect(run("run", "--spec", file, "--dry-run", "-o", folder.path("s")) == 66)
    #expect(world.errors.contains("own/judge.safetensors: no such file"))
    try folder.write(Data(contentsOf: URL(fileURLWithPath: judge("image"))), to: "own/judge.safetensors")
    #expect(run("run", "--spec", file, "--dry-run", "-o", folder.path("s")) == 0, "\(world.errors)")
    #expect(!world.errors.contains("adherence left out"))
    #expect(run("run", "--spec", try spec(Self.promise), "--dry-run", "-o", folder.path("s")) == 0)
    #expect(world.errors.contains("adherence left out: no judge.safetensors in"))
    let unused = try spec(#""a red cube""#, judge: judge("image"))
    #expect(run("run", "--spec", unused, "--dry-run", "-o", folder.path("s")) == 0)
    #expect(world.errors.contains("not used: no prompt has 'expect'"))
    // The folder's own judge is the default.
    let own = folder.url.appendingPathComponent("own-pipeline")
    try FileManager.default.copyItem(at: URL(fileURLWithPath: images), to: own)
    try folder.write(Data(contentsOf: URL(fileURLWithPath: judge("clip"))), to: "own-pipeline/judge.safetensors")
    #expect(run("run", "--spec", try spec(Self.promise), "--dry-run", "-m", own.path, "-o", folder.path("s")) == 64)
    #expect(world.errors.contains("expected a judge of images, as the sweep makes, found one of clips"))
  }

  @Test(arguments: [
    (#"3"#, "prompts[1]: expected a text or an object with 'prompt' and 'expect', found 3"),
    (#"{"expect": {}}"#, "prompts[1].prompt: expected a text, found none"),
    (#"{"prompt": "x", "expects": {}}"#, "unknown key 'prompts[1].expects'; known: prompt, expect"),
    (#"{"prompt": "x", "expect": "cube"}"#, #"prompts[1].expect: expected an object with 'things', found "cube""#),
    (
      #"{"prompt": "x", "expect": {"floor": "grey"}}"#,
      "prompts[1].expect.things: expected a list of 1 to 64 things, found none"
    ),
    (
      #"{"prompt": "x", "expect": {"things": []}}"#,
      "prompts[1].expect.things: expected a list of 1 to 64 things, found []"
    ),
    (
      #"{"prompt": "x", "expect": {"things": [7]}}"#,
      "prompts[1].expect.things[0]: expected an object with 'shape' and 'colour', found 7"
    ),
    (
      #"{"prompt": "x", "expect": {"things": [{"shape": "cube"}]}}"#,
      "prompts[1].expect.things[0].colour: expected a text, found none"
    ),
    (
      #"{"prompt": "x", "expect": {"things": [{"shape": "cube", "colour": 5}]}}"#,
      "prompts[1].expect.things[0].colour: expected a text, found 5"
    ),
    (
      #"{"prompt": "x", "expect": {"things": [{"shape": "cube", "color": "red"}]}}"#,
      "unknown key 'prompts[1].expect.things[0].color'; known: shape, colour, size, motion"
    ),
    (
      #"{"prompt": "x", "expect": {"things": [CUBE], "arrangement": "above"}}"#,
      #"prompts[1].expect.arrangement: expected one of left, right, front, behind, between, row, found "above""#
    ),
    (
      #"{"prompt": "x", "expect": {"things": [CUBE, CUBE], "arrangement": "row"}}"#,
      "prompts[1].expect.things: expected 3 things for arrangement 'row', found 2"
    ),
    (
      #"{"prompt": "x", "expect": {"things": [CUBE], "floor": "lava"}}"#,
      "prompts[1].expect.floor: expected one of grey, brown, beige, teal; found 'lava'"
    ),
    (
      #"{"prompt": "x", "expect": {"things": [CUBE], "camera": "still"}}"#,
      "prompts[1].expect.camera: expected nothing, since the judge of images does not tell it; found 'still'"
    ),
  ])
  func badExpectationsAreRefused(prompt: String, message: String) throws {
    let text = prompt.replacingOccurrences(of: "CUBE", with: Self.cube)
    let file = try spec(Self.promise + ", " + text, judge: judge("image"))
    #expect(run("run", "--spec", file, "-o", folder.path("s")) == 64)
    #expect(world.errors.contains(message), "\(world.errors)")
    #expect(world.errors.split(separator: "\n").count == 1 && !folder.contains("s"))
  }
}
