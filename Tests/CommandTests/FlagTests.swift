import ArgumentParser
import DiffusionPipelines
import Foundation
import Testing

@testable import CommandSupport

@Suite struct FlagTests {
  private func parse(_ arguments: String...) throws -> FlagValues {
    let command = try GenerateImageCommand.parse(arguments)
    return try command.values()
  }

  @Test func silenceIsNotADefault() throws {
    #expect(try parse() == FlagValues())
  }

  @Test func aliases() throws {
    let values = try parse(
      "--model", "m", "--num-inference-steps", "7", "--cfg-scale", "-1.5", "--attention-backend", "dense", "-s", "-1",
      "-W", "64", "-H", "32", "-b", "3", "-t", "2", "-n", "no", "-p", "-", "-o", "x.png")
    #expect(values.pipeline == "m" && values.steps == 7 && values.guidanceScale == -1.5)
    #expect(values.attention == "dense" && values.seed == .drawn && values.width == 64 && values.height == 32)
    #expect(values.batchCount == 3 && values.threads == 2 && values.negativePrompt == "no")
    #expect(values.prompt == "-" && values.output == "x.png")
  }

  @Test func negations() throws {
    let values = try parse("--no-clean-caption", "--no-metadata")
    #expect(values.cleanCaption == false && values.metadata == false)
  }

  @Test func sizeSplits() throws {
    let values = try parse("--size", "832x480")
    #expect(values.width == 832 && values.height == 480 && values.size == nil)
    #expect(throws: CommandError.self) { try parse("--size", "832x480", "-W", "831") }
    for size in ["832", "0x5", "axb", "1x2x3", "99999999999999999999x1"] {
      #expect(throws: CommandError.self) { try parse("--size", size) }
    }
  }

  private let full = """
    {"pipeline": "m", "prompt": "p", "prompts_file": "f", "negative_prompt": "n", "class_label": 3, "steps": 5,
     "guidance_scale": 2.5, "seed": 18446744073709551615, "width": 8, "height": 16, "num_frames": 5, "fps": 12,
     "resolution_binning": "off", "clean_caption": false, "batch_count": 2, "scheduler": "ddim", "flow_shift": 3, "max_sequence_length": 77,
     "dtype": "float32", "threads": 4, "rng": "philox", "attention": "dense", "dense_steps": 1, "dense_layers": 2,
     "kv_compression": "none", "vae_tiling": "on", "memory_limit": "6G", "output": "o.png", "codec": "h264",
     "crf": 20, "preset": "fast", "save_latents": "l",
     "preview_every": 2, "preview_path": "v.png", "attention_report": "a.json", "metadata": false}
    """

  @Test func everyFlagMergesAndReadsFromJSON() throws {
    let values = try FlagValues(json: Data(full.utf8), source: "test")
    for child in Mirror(reflecting: values).children where child.label != "size" {
      #expect("\(child.value)" != "nil", "\(child.label ?? "") is not read")
    }
    #expect(values.seed == .fixed(.max) && values.classLabel?.text == "3")
    #expect(FlagValues().over(values) == values)
    #expect(values.over(FlagValues()) == values)
    #expect(Set(FlagValues.keys) == Set(try jsonKeys(values)).union(["size"]))
  }

  private func jsonKeys(_ values: FlagValues) throws -> [String] {
    let data = try RunRecord.encoder().encode(values)
    return Array((try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]).keys)
  }

  @Test func jsonSpellings() throws {
    let text = #"{"num-inference-steps": 4, "CFG-Scale": 2, "no-metadata": true, "seed": -1, "model": null}"#
    let values = try FlagValues(json: Data(text.utf8), source: "test")
    #expect(values.steps == 4 && values.guidanceScale == 2 && values.metadata == false && values.seed == .drawn)
    #expect(values.pipeline == nil)
  }

  @Test(arguments: [
    #"{"stepz": 1}"#, #"{"steps": "many"}"#, #"{"steps": 1, "num_inference_steps": 2}"#, "[1]", "", "{",
    #"{"seed": -2}"#, #"{"seed": 1.5}"#, #"{"no_metadata": 3}"#, #"{"size": "3"}"#, #"{"rng": "dice"}"#,
    String(repeating: "[", count: 10_000),
  ])
  func badJSONIsUsage(text: String) {
    let error = #expect(throws: CommandError.self) { try FlagValues(json: Data(text.utf8), source: "test") }
    #expect(error?.status == .usage)
    #expect(error?.description.hasPrefix("test: ") == true)
  }

  @Test(arguments: [
    ("6G", 6 << 30), ("512M", 512 << 20), ("1.5GiB", 3 << 29), ("800 kB", 800 << 10), ("7", 7), ("2tb", 2 << 40),
  ])
  func memorySizes(text: String, bytes: Int) throws {
    #expect(try parseMemorySize(text) == bytes)
  }

  @Test(arguments: ["", "G", "-1G", "0", "1.2.3G", "6X", "9999999999T", "0.1", "nan", "inf", "1e3", "６Ｇ"])
  func badMemorySizes(text: String) {
    #expect(throws: CommandError.self) { try parseMemorySize(text) }
  }

  @Test func seeds() {
    #expect(SeedChoice(argument: "18446744073709551615") == .fixed(.max))
    #expect(SeedChoice(argument: "-1") == .drawn)
    for text in ["-2", "18446744073709551616", "1.0", "", "x", " 1"] { #expect(SeedChoice(argument: text) == nil) }
    #expect(SeedChoice.seed(.max, at: 1) == 0)
  }

  @Test func helpNamesEveryFlag() {
    let ofVideos: Set = ["--num-frames", "--fps", "--codec", "--crf", "--preset"]
    let flags = FlagValues.keys.map { "--" + $0.replacing("_", with: "-") }
    let others = [
      "--model", "--num-inference-steps", "--cfg-scale", "--attention-backend", "--no-clean-caption", "--no-metadata",
      "--config", "--dry-run", "--json", "-q, --quiet", "-v, --verbose", "--version", "-h, --help", "-m,", "-p,", "-n,",
      "-s,", "-W,", "-H,", "-b,", "-t,", "-o,",
    ]
    let images = GenerateImageCommand.helpMessage(), videos = GenerateVideoCommand.helpMessage()
    for flag in flags + others {
      #expect(images.contains(flag) != ofVideos.contains(flag), "\(flag) in the help text of generate-image")
      #expect(videos.contains(flag), "\(flag) is not in the help text of generate-video")
    }
  }

  @Test func attentionChoices() throws {
    #expect(try AttentionChoice(parsing: "dense") == .dense)
    let options: [String: JSONValue] = [
      "a": .number(0.5), "b": .integer(-3), "c": .bool(true), "d": .string("6x8"), "e": .string("007"),
      "f": .string("x=y:z"),
    ]
    let choice = AttentionChoice(method: "m", options: options, denseSteps: 4, denseLayers: 0)
    #expect(
      try AttentionChoice(parsing: "m:a=0.5,b=-3,c=true,d=6x8,e=007,f=x=y:z,dense-steps=4,dense-layers=0") == choice)
    let json = """
      {"method": "m", "dense_layers": 0, "options":
       {"a": 0.5, "b": -3, "c": true, "d": "6x8", "e": "007", "f": "x=y:z", "dense-steps": 4}}
      """
    #expect(try AttentionChoice(parsing: json) == choice)
    let folder = try TemporaryFolder()
    #expect(try AttentionChoice(parsing: "@" + folder.write(json, to: "a.json")) == choice)
    let inFlags = try FlagValues(json: Data(#"{"attention-backend": \#(json)}"#.utf8), source: "test")
    #expect(try AttentionChoice(parsing: inFlags.attention ?? "") == choice)
    // Back from text, where need be as JSON.
    for options in [options, [:], ["a": .string("1,2")], ["a": .string("{\"}")]] {
      let choice = AttentionChoice(method: "m", options: options, denseLayers: 3)
      #expect(try AttentionChoice(parsing: choice.text) == choice, "\(choice.text)")
    }
  }

  @Test(arguments: [
    "m:x", "m:=1", "m:x=1,x=2", "m:dense-steps=-1", "m:dense-layers=some", #"{"method": "m", "option": {}}"#,
    #"{"options": {}}"#, #"{"method": "m", "options": 3}"#, #"{"method": "m", "dense_steps": [1]}"#,
  ])
  func unreadableAttentionChoices(text: String) {
    let error = #expect(throws: PipelineError.self) { try AttentionChoice(parsing: text) }
    #expect(error.map { exitStatus(for: $0) } == .usage)
  }

  @Test func formats() {
    #expect(fixed(-0.001, 2) == "0.00" && fixed(1.005, 1) == "1.0" && fixed(2.96, 1) == "3.0" && fixed(7.6, 0) == "8")
    #expect(formatBytes(1023) == "1023 B" && formatBytes(3 << 29) == "1.50 GiB")
    #expect(ProgressPrinter.clock(190) == "03:10" && ProgressPrinter.clock(3790) == "1:03:10")
    #expect(ProgressPrinter.clock(.infinity) == "--:--" && ProgressPrinter.pace(15.84) == "15.8 s/step")
    #expect(ProgressPrinter.pace(0.25) == "4.0 steps/s")
  }
}
