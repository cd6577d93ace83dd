import DiffusionPipelines
import Foundation
import Media
import Testing

@testable import CommandSupport

/// The command from its arguments to its files, with a generator that draws nothing.
@Suite struct CommandTests {
  let folder: TemporaryFolder
  let model: String
  let world = FakeWorld()

  init() throws {
    folder = try TemporaryFolder()
    model = try ToyPipeline.pixArt(
      in: folder, ownDefaults: #"{"defaults": {"resolution_binning": "off", "steps": 4, "max_sequence_length": 64}}"#)
  }

  private func run(_ arguments: String...) -> Int32 { world.run(["-m", model] + arguments) }

  static let refused: [(line: String, code: Int32)] = [
    ("-p x --steps 0", 64), ("-p x --steps 10001", 64), ("-p x --steps two", 64), ("-p x --unknown", 64), ("", 64),
    ("-p x extra", 64), ("-p x -W 100", 64), ("-p x -H 0", 64), ("-p x -W 99999999", 64),
    ("-p x --size 32768x32768", 64),
    ("-p x --guidance-scale inf", 64), ("-p x -s -2", 64), ("-p x -b 0", 64), ("-p x -o a.jpg", 64),
    ("-p x --attention radial", 64), ("-p x --kv-compression conv", 64),
    ("-p x --kv-compression mean", 64), ("-p x --kv-compression average:layers=7-8", 64),
    ("-p x --kv-compression average:ratio=9", 64), ("-p x --size 8x8 --kv-compression nearest", 64),
    ("-p x --scheduler nope", 64),
    ("-p x --class-label 1", 64), ("-p x -t 0", 64), ("-p x --flow-shift -1", 64), ("-p x --preview-path p.png", 64),
    ("-p x --prompts-file f", 64), ("-p x --memory-limit some", 64), ("-p x --max-sequence-length 0", 64),
    ("-p x --rng dice", 64), ("-p x --save-latents l.pt", 64), ("-p x --attention-report r.txt", 64),
    ("-p x --dtype int4", 64), ("-p x --memory-limit 1M", 71), ("-p x --config /nonexistent.json", 66),
    ("--prompts-file /nonexistent.txt", 66), ("-p x -o /dev/null/x/a.png", 73), ("-p x -m /nonexistent", 66),
  ]

  @Test(arguments: refused)
  func refusals(line: String, code: Int32) {
    #expect(world.run(["-m", model] + line.split(separator: " ").map(String.init)) == code, "\(world.errors)")
    #expect(world.errors.hasPrefix("error: ") && world.errors.split(separator: "\n").count == 1, "\(world.errors)")
    #expect(world.output.isEmpty && world.generator == nil)
  }

  @Test func nearestSizesAreNamed() {
    #expect(run("-p", "x", "-W", "100") == 64)
    #expect(world.errors.contains("96 and 104") && world.errors.contains("multiple of 8"))
    #expect(run("-p", "x", "-H", "3") == 64)
    #expect(world.errors.contains("nearest: 8"))
  }

  @Test func helpAndVersion() {
    #expect(world.run("--help") == 0)
    #expect(world.output.contains("--prompts-file") && world.errors.isEmpty)
    #expect(world.run("--version") == 0)
    #expect(world.output == "generate-image \(tesseraVersion)\n")
  }

  @Test func makesOnePicture() throws {
    let path = folder.path("out/a.png")
    let code = run("-p", "a cube", "-o", path, "--save-latents", folder.path("l.safetensors"))
    #expect(code == 0, "\(world.errors)")
    #expect(world.lines == [path])
    #expect(folder.contains("out/a.png") && folder.contains("l.safetensors"))
    let request = try #require(world.generator?.requests.first)
    #expect(request.prompt == "a cube" && request.seed == 42 && request.steps == 4 && request.guidanceScale == 4.5)
    #expect(request.width == 128 && request.modelWidth == 128 && request.maxSequenceLength == 64)
    #expect(request.precision == .float32 && request.wantsLatents)
    #expect(world.errors.contains("denoise 4/4 [") && world.errors.contains("seed 42"))
  }

  @Test func quietIsQuiet() {
    #expect(run("-q", "-p", "x", "-o", folder.path("a.png")) == 0)
    #expect(world.errors.isEmpty)
  }

  @Test func liveLineOnATerminal() {
    world.isTerminal = true
    #expect(run("-p", "x", "-o", folder.path("a.png")) == 0)
    #expect(world.errors.contains("\rdenoise 2/4 [00:02<00:02, 1.0 s/step]\u{1b}[K"), "\(world.errors)")
  }

  @Test func promptFromStandardInput() {
    world.input = Data("a red cube\n".utf8)
    #expect(run("-p", "-", "-o", folder.path("a.png")) == 0)
    #expect(world.generator?.requests.first?.prompt == "a red cube")
    world.input = Data([0x61, 0xff])
    #expect(run("-p", "-", "-o", folder.path("a.png")) == 64)
    world.input = Data()
    #expect(run("-p", "-") == 64)
  }

  @Test func batchCountsSeeds() {
    #expect(run("-p", "x", "-b", "3", "-s", "18446744073709551615", "-o", folder.path("a.png")) == 0)
    #expect(world.generator?.requests.map(\.seed) == [.max, 0, 1])
    #expect(world.lines == [.max, 0, 1].map { (seed: UInt64) in folder.path("a-\(seed).png") })
    #expect(world.errors.contains("names get the seed put in"))
    #expect(world.generator?.keepsModels == true && world.generator?.prepared == [3])
    #expect(run("-p", "x", "-b", "2", "-o", folder.path("b-%03d.png")) == 0)
    #expect(world.lines == [folder.path("b-000.png"), folder.path("b-001.png")])
  }

  @Test func promptsFileWithFailures() throws {
    let file = try folder.write(
      """
      {"prompt": "one", "seed": 1, "output": "\(folder.path("one.png"))"}

      {"prompt": "two", "steps": 0}
      {"prompt": "three", "seed": 3, "steps": 2}
      {"prompt": "four", "pipeline": "other"}
      not json
      "five"
      """, to: "p.jsonl")
    world.failing = ["three"]
    #expect(run("--prompts-file", file, "--steps", "9", "-s", "5", "-o", folder.path("o/")) == 1)
    let requests = try #require(world.generator?.requests)
    #expect(requests.map(\.prompt) == ["one", "three", "five"])
    #expect(requests.map(\.steps) == [9, 2, 9] && requests.map(\.seed) == [1, 3, 5])
    #expect(world.lines == [folder.path("one.png"), folder.path("o/image-5.png")])
    struct Failure: Decodable { var line, exit_code: Int, error: String }
    let failures = try JSONDecoder().decode([Failure].self, from: Data(folder.read("failures.json").utf8))
    #expect(failures.map(\.line) == [3, 5, 6, 4] && failures.map(\.exit_code) == [64, 64, 64, 65])
    #expect(failures[0].error.hasPrefix("\(file) line 3: --steps"))
  }

  @Test func promptsFileOfText() throws {
    let file = try folder.write(Data("\u{feff}one\r\n\r\n two\n".utf8), to: "p.txt")
    #expect(run("--prompts-file", file, "-s", "5", "-o", folder.path("o/")) == 0)
    #expect(world.generator?.requests.map(\.prompt) == ["one", " two"])
    #expect(world.lines == [folder.path("o/image-5.png"), folder.path("o/image-5-2.png")])
    let bytes = try folder.write(Data([0x61, 0x0a, 0xff, 0x0a]), to: "q.txt")
    #expect(run("--prompts-file", bytes, "-o", folder.path("o/")) == 1)
    #expect(run("--prompts-file", try folder.write("\n\n", to: "r.txt")) == 64)
  }

  @Test func configurationLosesToTheCommandLine() throws {
    let file = try folder.write(#"{"prompt": "from file", "steps": 3, "size": "64x32", "seed": 8}"#, to: "c.json")
    #expect(run("--config", file, "--width", "16", "-o", folder.path("a.png")) == 0)
    let request = try #require(world.generator?.requests.first)
    #expect(request.prompt == "from file" && request.steps == 3 && request.seed == 8)
    #expect(request.width == 16 && request.height == 32)
  }

  @Test func recordMakesTheSameRequest() throws {
    let arguments = [
      "-p", "a \"cube\"\né", "-n", "blur", "--size", "64x32", "--steps", "3", "-s", "18446744073709551615",
      "--guidance-scale", "2.25", "--max-sequence-length", "33", "--no-clean-caption", "--dtype", "float32", "--json",
      "--rng", "philox", "--vae-tiling", "on", "--scheduler", "ddim", "--dense-steps", "1",
      "--kv-compression", "uniform:ratio=3,layers=2-7",
    ]
    #expect(world.run(["-m", model, "-o", folder.path("a.png")] + arguments) == 0, "\(world.errors)")
    let first = try #require(world.generator?.requests.first)
    struct Line: Decodable { var path: String, record: RunRecord, seed: UInt64 }
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let line = try decoder.decode(Line.self, from: Data(world.output.utf8))
    #expect(line.path == folder.path("a.png") && line.seed == .max)
    let file = try folder.write(line.record.json(), to: "record.json")
    #expect(world.run("--config", file, "-o", folder.path("b.png")) == 0, "\(world.errors)")
    #expect(world.generator?.requests.first == first)
    #expect(try RunRecord(json: line.record.json(), path: "x") == line.record)
    // The picture itself serves as well, unless it was written without.
    #expect(world.run("--config", folder.path("b.png"), "-o", folder.path("c.png"), "--no-metadata") == 0)
    #expect(world.generator?.requests.first == first)
    let text = try PNGFile.decode(Array(Data(contentsOf: URL(fileURLWithPath: folder.path("b.png"))))).text
    #expect(text.map(\.key) == ["parameters", "tessera"])
    let parameters = Parameters(parsing: text[0].value)
    #expect(parameters.prompt == "a \"cube\"\né" && parameters.negativePrompt == "blur")
    #expect(parameters["Steps"] == "3" && parameters["CFG scale"] == "2.25" && parameters["RNG"] == "Philox")
    #expect(parameters["Seed"] == "18446744073709551615" && parameters.size?.width == 64)
    #expect(world.run("--config", folder.path("c.png"), "-o", folder.path("d.png")) == 65)
  }

  @Test func otherSchemasAreRefused() throws {
    let texts = [
      #"{"schema": "other"}"#, #"{"schema": "tessera.run", "schema_version": 2}"#, #"{"schema": "tessera.run"}"#,
    ]
    for text in texts {
      #expect(run("--config", try folder.write(text, to: "c.json")) == 65)
    }
  }

  @Test func binningMapsToPublishedSizes() throws {
    let published = try TemporaryFolder()
    let model = try ToyPipeline.pixArt(in: published, sampleSize: 64)
    #expect(world.run("-m", model, "-p", "x", "-W", "831", "-H", "477", "-o", published.path("a.png")) == 0)
    let request = try #require(world.generator?.requests.first)
    #expect(request.width == 831 && request.height == 477)
    #expect(request.modelWidth == 672 && request.modelHeight == 384)
    #expect(world.errors.contains("672x384"))
    #expect(world.run("-m", model, "-p", "x", "-W", "831", "--resolution-binning", "off") == 64)
  }

  @Test func stopping() {
    world.stopAfter = 4
    #expect(run("-p", "x", "-b", "2", "-o", folder.path("a.png")) == 130)
    #expect(world.errors.contains("stopped after 3 steps") && world.output.isEmpty)
  }

  @Test func previewsAndReports() throws {
    let code = run(
      "-p", "x", "--preview-every", "2", "--attention-report", folder.path("r.json"), "-o", folder.path("a.png"),
      "--preview-path", folder.path("p-%02d.png"))
    #expect(code == 0, "\(world.errors)")
    #expect(folder.contains("p-02.png") && folder.contains("p-04.png"))
    #expect(try folder.read("r.json").contains(#""density":1"#))
    #expect(run("-p", "x", "--preview-every", "4", "-o", folder.path("b.png")) == 0)
    #expect(folder.contains("b-preview.png"))
  }

  @Test func picturesSurviveAFullDisk() {
    world.unwritable = [folder.path("full.png")]
    #expect(run("-p", "x", "-o", folder.path("full.png")) == 74)
    #expect(world.errors.contains("kept as "))
    let rescue = FileManager.default.temporaryDirectory.appendingPathComponent("tessera-rescued-full.png")
    #expect(FileManager.default.fileExists(atPath: rescue.path))
    try? FileManager.default.removeItem(at: rescue)
  }

  @Test func classConditional() throws {
    let model = try ToyPipeline.diT(in: folder)
    #expect(world.run("-m", model, "--class-label", "tench", "-o", folder.path("a.png")) == 0, "\(world.errors)")
    let request = try #require(world.generator?.requests.first)
    #expect(request.classLabel?.id == 0 && request.steps == 50 && request.guidanceScale == 4 && request.width == 64)
    #expect(world.run("-m", model, "-p", "tench") == 64)
    #expect(world.run("-m", model) == 64)
    let file = try folder.write("golden retriever\n0\n", to: "classes.txt")
    #expect(world.run("-m", model, "--prompts-file", file, "-o", folder.path("c/")) == 0)
    #expect(world.generator?.requests.compactMap(\.classLabel?.id) == [3, 0])
  }
}
