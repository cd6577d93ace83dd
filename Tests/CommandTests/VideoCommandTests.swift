import DiffusionPipelines
import Foundation
import Media
import TestSupport
import Testing

@testable import CommandSupport

/// `generate-video` on the toy Wan pipeline: what it asks for, what it writes, and what it keeps when writing fails.
@Suite struct VideoCommandTests {
  let folder: TemporaryFolder
  let world = FakeWorld()
  init() throws { folder = try TemporaryFolder() }

  /// Real configurations and weights, made for the pipeline tests.
  static let model = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("PipelineTests/Fixtures/toy-wan").path

  private func run(_ arguments: String...) -> Int32 {
    world.run(GenerateVideoCommand.self, ["-m", Self.model, "--size", "32x32"] + arguments)
  }

  /// All frames of a file, by the grey of their middle pixel.
  private func greys(_ path: String) throws -> [Int] {
    let reader = try VideoReader(path)
    var all: [Int] = []
    while let frame = try reader.next() { all.append(Int(frame.pixels[3 * (frame.width * frame.height / 2)])) }
    return all
  }

  @Test func clip() throws {
    let path = folder.path("new/a.mp4")
    #expect(run("-p", "x", "--num-frames", "9", "--fps", "12.5", "-s", "3", "-o", path) == 0, "\(world.errors)")
    let request = try #require(world.generator?.requests.first)
    #expect(request.frames == 9 && request.framesPerSecond == 12.5 && request.width == 32 && request.seed == 3)
    #expect(world.lines == [path])
    let info = try VideoReader(path).info
    #expect(info.codec == "h264" && info.width == 32 && info.frameRate.framesPerSecond == 12.5)
    #expect(try greys(path).count == 9)
    let parameters = Parameters(parsing: try #require(info.text["parameters"]))
    #expect(parameters["Frames"] == "9" && parameters["FPS"] == "12.5" && parameters["Seed"] == "3")
    // The record beside it, and the one in it, make the same request.
    let record = try RunRecord(json: folder.read("new/a.json"), path: "a.json")
    #expect(record.kind == "video" && record.request.codec == "h264" && record.seconds == nil)
    for source in [path, folder.path("new/a.json")] {
      #expect(world.run(GenerateVideoCommand.self, ["--config", source, "-o", folder.path("b.mp4")]) == 0)
      #expect(world.generator?.requests.first == request, "\(world.errors)")
    }
    // Nothing else is left.
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("new")).sorted() == ["a.json", "a.mp4"])
  }

  @Test func lengthsAreRoundedAsUpstream() throws {
    for (asked, made) in [(1, 1), (2, 1), (4, 5), (16, 17), (17, 17), (18, 17), (20, 21)] {
      #expect(run("-p", "x", "--frames", "\(asked)", "-o", folder.path("f.mkv")) == 0, "\(world.errors)")
      #expect(world.generator?.requests.first?.frames == made)
      #expect(world.errors.contains("\(asked) frames asked for: making \(made)") == (asked != made))
    }
    #expect(run("-p", "x", "--num-frames", "0") == 64)
    #expect(run("-p", "x", "--num-frames", "99999", "--size", "8192x8192") == 64)
    #expect(world.errors.contains("tokens"))
  }

  @Test func losslessFilesKeepTheFrames() throws {
    #expect(run("-p", "x", "--num-frames", "5", "-o", folder.path("a.mkv")) == 0, "\(world.errors)")
    #expect(try greys(folder.path("a.mkv")) == [7, 8, 9, 10, 11])
  }

  @Test func frames() throws {
    #expect(run("-p", "x", "--num-frames", "5", "-o", folder.path("frames/")) == 0, "\(world.errors)")
    let found = try FileManager.default.contentsOfDirectory(atPath: folder.path("frames")).sorted()
    #expect(found == (0..<5).map { "000\($0).png" } + ["run.json"])
    #expect(world.lines == [folder.path("frames/")])
    let last = try PNGFile.decode(Array(Data(contentsOf: URL(fileURLWithPath: folder.path("frames/0004.png")))))
    #expect(last.frame.pixels[0] == 11)
    // A shorter clip in the same place.
    #expect(run("-p", "x", "--num-frames", "1", "-o", folder.path("frames/")) == 0)
    #expect(world.errors.contains("0001.png is there already"))
    #expect(run("-p", "x", "--num-frames", "1", "-o", folder.path("p-%02d.png")) == 0, "\(world.errors)")
    #expect(folder.contains("p-00.png") && folder.contains("p-run.json"))
    #expect(run("-p", "x", "-o", folder.path("p.png")) == 64)
    #expect(run("-p", "x", "-o", folder.path("frames/"), "--crf", "20") == 64)
  }

  @Test func severalClips() throws {
    #expect(run("-p", "x", "--frames", "1", "-b", "2", "-s", "5", "-o", folder.path("a.webm")) == 0, "\(world.errors)")
    #expect(world.lines == [folder.path("a-5.webm"), folder.path("a-6.webm")])
    #expect(folder.contains("a-5.json") && folder.contains("a-6.json"))
    #expect(run("-p", "x", "--frames", "1", "-b", "2", "-s", "5", "-o", folder.path("many/")) == 0, "\(world.errors)")
    #expect(world.lines == [folder.path("many/video-5/"), folder.path("many/video-6/")])
    #expect(folder.contains("many/video-6/0000.png") && folder.contains("many/video-6/run.json"))
    #expect(run("-p", "x", "--frames", "1", "-b", "2", "-o", folder.path("c-%02d.gif")) == 0, "\(world.errors)")
    #expect(world.lines == [folder.path("c-00.gif"), folder.path("c-01.gif")])
    #expect(run("-p", "x", "--frames", "1", "-b", "2", "-s", "1", "-o", folder.path("f%03d.png")) == 0)
    #expect(folder.contains("f000-1.png") && folder.contains("f000-2.png"), "\(world.errors)")
  }

  @Test func sideFilesDoNotCollide() throws {
    let code = run(
      "-p", "x", "--frames", "1", "-o", folder.path("a.mp4"), "--attention-report", folder.path("a.json"),
      "--preview-every", "4", "--save-latents", folder.path("l.safetensors"))
    #expect(code == 0, "\(world.errors)")
    #expect(try folder.read("a.json").contains("tessera.attention") && folder.read("a-2.json").contains("tessera.run"))
    #expect(folder.contains("a-preview.png") && folder.contains("l.safetensors"))
    #expect(run("-p", "x", "--frames", "1", "-o", folder.path("b.mp4"), "--no-metadata") == 0)
    #expect(try !folder.contains("b.json") && VideoFile.metadata(folder.path("b.mp4"))["tessera"] == nil)
  }

  @Test func badFlags() {
    for (flags, status) in [
      (["-o", "a.avi"], 64), (["--codec", "vp9", "-o", "a.mp4"], 64), (["--codec", "h266"], 64), (["--crf", "52"], 64),
      (["--preset", "hasty"], 64), (["--fps", "0"], 64), (["--fps", "nan"], 64), (["-o", "a.gif", "--crf", "3"], 64),
      (["--width", "40"], 64),
    ] as [([String], Int32)] {
      let arguments = ["-m", Self.model, "-p", "x", "--size", "32x32", "-o", folder.path("v.mp4")]
      let code = world.run(
        GenerateVideoCommand.self,
        flags.contains("-o") ? Array(arguments.dropLast(2)) + flags : arguments + flags)
      #expect(code == status, "\(flags): \(world.errors)")
      #expect(world.generator == nil)
      #expect(world.errors.split(separator: "\n").count == 1)
    }
    #expect(!folder.contains("v.mp4"))
  }

  @Test func programsKnowTheirPipelines() throws {
    #expect(world.run("-m", Self.model, "-p", "x", "-o", folder.path("a.png")) == 64)
    #expect(world.errors.contains("generate-video"))
    let images = try ToyPipeline.pixArt(in: folder)
    #expect(world.run(GenerateVideoCommand.self, ["-m", images, "-p", "x", "-o", folder.path("a.mp4")]) == 64)
    #expect(world.errors.contains("generate-image"))
    let file = try folder.write(#"{"prompt": "x", "num_frames": 5}"#, to: "c.json")
    #expect(world.run("-m", images, "--config", file, "-o", folder.path("a.png")) == 64)
  }

  @Test func dryRun() throws {
    #expect(run("-p", "x", "--dry-run", "--json", "--num-frames", "17", "-o", folder.path("new/a.mp4")) == 0)
    let object = try #require(JSONSerialization.jsonObject(with: Data(world.output.utf8)) as? [String: Any])
    #expect(object["num_frames"] as? Int == 17 && (object["token_grid"] as? [Int])?.first == 5)
    #expect(!folder.contains("new") && world.generator == nil)
    #expect(run("-p", "x", "--dry-run", "--num-frames", "17", "-o", folder.path("frames/")) == 0)
    #expect(world.output.contains("17 frames at 16.0 a second") && !folder.contains("frames"))
  }

  @Test func encoderIsAskedBeforeAnythingLoads() {
    world.lacksEncoder = true
    #expect(run("-p", "x", "-o", folder.path("a.mp4")) == 69)
    #expect(world.generator == nil && world.errors.contains("libx264"))
  }

  @Test(arguments: [2, 5]) func framesSurviveTheEncoder(breaksAfter count: Int) throws {
    world.emitsStates = true
    world.videoBreaksAfter = count
    #expect(run("-p", "x", "--frames", "5", "-o", folder.path("a.mp4")) == 74)
    #expect(world.errors.contains("No space left") && world.errors.contains("the frames are kept in"))
    let found = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    #expect(found == ["a-frames", "a-state.safetensors"] && world.output.isEmpty)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("a-frames")).count == 5)
  }

  @Test func framesSurviveAFullDisk() throws {
    world.emitsStates = true
    world.videoBreaksAfter = 1
    world.unwritableFolders = [folder.path]
    #expect(run("-p", "x", "--frames", "5", "-o", folder.path("a.mp4")) == 74)
    let kept = try #require(world.errors.firstMatch(of: #/frames are kept in (\S+)/#)?.1)
    #expect(kept.contains("tessera-rescued") && world.errors.contains("the state cannot be saved"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: String(kept)).count == 5)
    try FileManager.default.removeItem(atPath: String(kept))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
  }

  @Test func stoppedWhileDecodingKeepsTheState() throws {
    world.emitsStates = true
    world.stopAfter = 106
    #expect(run("-p", "x", "--frames", "9", "-o", folder.path("a.mp4")) == 130, "\(world.errors)")
    #expect(world.errors.contains("50 of 50 steps are saved in"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a-state.safetensors"])
  }

  /// The whole walk with the toy's own weights, sparse and dense, the same bytes each time and for any thread count.
  @Test(arguments: ["dense", "toy-band:block=4,dense-steps=1"]) func realClip(_ attention: String) throws {
    world.isReal = true
    var files: [Data] = []
    for threads in ["1", "2"] {
      let path = folder.path("t\(threads).mkv")
      let code = run(
        "-p", "a red cube", "--num-frames", "5", "--steps", "2", "-s", "1", "-t", threads, "--attention", attention,
        "-o", path)
      #expect(code == 0, "\(world.errors)")
      files.append(try Data(contentsOf: URL(fileURLWithPath: path)))
    }
    #expect(files[0] == files[1])
  }
}
