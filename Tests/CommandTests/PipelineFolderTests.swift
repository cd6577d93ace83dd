import Checkpoints
import Foundation
import Testing

@testable import CommandSupport
@testable import DiffusionPipelines

@Suite struct PipelineFolderTests {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  @Test func readsAFolder() throws {
    let pipeline = try PipelineFolder(path: ToyPipeline.pixArt(in: folder))
    #expect(pipeline.kind == .pixArtSigma && pipeline.name == "m")
    #expect(pipeline.components["safety_checker"] == nil)
    #expect(pipeline.components["vae"] == .init(library: "diffusers", className: "AutoencoderKL"))
    #expect(pipeline.extras["requires_safety_checker"] == .bool(false))
    #expect(pipeline.defaults.steps == 20 && pipeline.defaults.guidanceScale == 4.5)
    #expect(pipeline.defaults.maxSequenceLength == 300)
    #expect(try pipeline.rawConfig(of: "scheduler")["lambda_min_clipped"] == .number(-.infinity))
    #expect(try pipeline.weightFiles(of: "vae").map(\.lastPathComponent) == ["diffusion_pytorch_model.safetensors"])
    #expect(throws: PipelineError.self) { try pipeline.weightFiles(of: "../vae") }
  }

  @Test func ownDefaultsWin() throws {
    let own = #"{"defaults": {"steps": 9, "size": "64x32", "resolution_binning": "off", "clean_caption": false}}"#
    let defaults = try PipelineFolder(path: ToyPipeline.pixArt(in: folder, ownDefaults: own)).defaults
    #expect(defaults.steps == 9 && defaults.guidanceScale == 4.5 && defaults.size == "64x32")
    #expect(defaults.resolutionBinning == .off && defaults.cleanCaption == false)
    #expect(throws: PipelineError.self) {
      try PipelineFolder(path: ToyPipeline.pixArt(in: folder, ownDefaults: #"{"defaults": {"stepz": 9}}"#))
    }
  }

  @Test func findsShardsAndPickles() throws {
    let path = try ToyPipeline.pixArt(in: folder)
    let name = "m/transformer/diffusion_pytorch_model"
    try FileManager.default.moveItem(atPath: folder.path(name + ".safetensors"), toPath: folder.path(name + ".bin"))
    let pipeline = try PipelineFolder(path: path)
    let pickle = #expect(throws: CheckpointError.self) { try pipeline.weightFiles(of: "transformer") }
    #expect(pickle.map { errorLine(for: $0).contains("safe_serialization=True") } == true)
    #expect(pickle.map { exitStatus(for: $0) } == .badData)
    let index = name + ".safetensors.index.json"
    try folder.write(#"{"weight_map": {"a": "s-2.safetensors", "b": "s-1.safetensors"}}"#, to: index)
    let shards = try pipeline.weightFiles(of: "transformer").map(\.lastPathComponent)
    #expect(shards == ["s-1.safetensors", "s-2.safetensors"])
    try folder.write(#"{"weight_map": {"a": "../s.safetensors"}}"#, to: index)
    #expect(throws: CheckpointError.self) { try pipeline.weightFiles(of: "transformer") }
  }

  typealias Status = CommandSupport.ExitStatus

  static let hostileIndices: [(text: String, status: Status)] = [
    ("", .badData), ("[]", .badData), ("{}", .badData), (#"{"_class_name": 3}"#, .badData),
    (#"{"_class_name": "FluxPipeline"}"#, .unavailable), (#"{"_class_name": "PixArtSigmaPipeline"}"#, .badData),
    (ToyPipeline.pixArtIndex.replacing("\"vae\"", with: "\"../vae\""), .badData),
    (ToyPipeline.pixArtIndex.replacing("\"vae\"", with: "\"a\\u0000b\""), .badData),
    (ToyPipeline.pixArtIndex.replacing("[\"diffusers\", \"AutoencoderKL\"]", with: "[\"diffusers\"]"), .badData),
    (ToyPipeline.pixArtIndex.replacing("[\"diffusers\", \"AutoencoderKL\"]", with: "[1, 2]"), .badData),
    (ToyPipeline.pixArtIndex.replacing("[\"diffusers\", \"AutoencoderKL\"]", with: "[null, null]"), .badData),
    (ToyPipeline.pixArtIndex.replacing("AutoencoderKL", with: "os.system"), .unavailable),
    (ToyPipeline.ditIndex.replacing("\"0\"", with: "\"x\""), .badData),
    (ToyPipeline.ditIndex.replacing("\"crane\"", with: "[\"crane\"]"), .badData),
    (String(repeating: #"{"a":"#, count: 20_000), .badData),
  ]

  @Test(arguments: hostileIndices)
  func hostileIndex(text: String, status: Status) throws {
    let path = try ToyPipeline.pixArt(in: folder)
    try folder.write(text, to: "m/model_index.json")
    let error = #expect(throws: (any Error).self) { try PipelineFolder(path: path) }
    #expect(error.map { exitStatus(for: $0) } == status, "\(error.map { errorLine(for: $0) } ?? "")")
    #expect(error.map { errorLine(for: $0).utf8.count < 1000 } == true)
  }

  @Test func missingParts() throws {
    let path = try ToyPipeline.pixArt(in: folder)
    func status(_ path: String) throws -> Status {
      exitStatus(for: try #require(throws: PipelineError.self) { try PipelineFolder(path: path) })
    }
    #expect(try status(path + "x") == .inputMissing)
    #expect(try status(path + "/model_index.json") == .badData)
    try FileManager.default.removeItem(atPath: path + "/vae")
    #expect(try status(path) == .inputMissing)
  }

  @Test(arguments: [
    ("transformer", #"{"num_layers": 0}"#), ("transformer", #"{"num_attention_heads": 9223372036854775807}"#),
    ("transformer", #"{"patch_size": -2}"#), ("transformer", #"{"sample_size": "big"}"#),
    ("vae", #"{"block_out_channels": []}"#), ("vae", #"{"layers_per_block": 9223372036854775807}"#),
    ("vae", #"{"block_out_channels": [1,1,1,1,1,1,1,1,1,1]}"#), ("text_encoder", #"{"d_ff": 0}"#),
  ])
  func hostileConfigurations(component: String, text: String) throws {
    let path = try ToyPipeline.pixArt(in: folder)
    try folder.write(text, to: "m/\(component)/config.json")
    let error = try #require(throws: (any Error).self) { try ModelGeometry(PipelineFolder(path: path)) }
    #expect(exitStatus(for: error) == .badData)
  }

  @Test func classLabels() throws {
    let pipeline = try PipelineFolder(path: ToyPipeline.diT(in: folder))
    #expect(try pipeline.classLabel("3", classes: 4) == ClassLabel(id: 3, name: "golden retriever"))
    #expect(try pipeline.classLabel(" Tinca Tinca", classes: 4).id == 0)
    #expect(try pipeline.classLabel("tench, tinca tinca", classes: 4).id == 0)
    for text in ["crane", "retriever", "4", "-1", "", "99999999999999999999"] {
      #expect(throws: CommandError.self, "\(text)") { try pipeline.classLabel(text, classes: 4) }
    }
  }

  @Test func fingerprints() throws {
    #expect(SHA256.hex(of: []) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(SHA256.hex(of: Array("abc".utf8)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    let million = [UInt8](repeating: UInt8(ascii: "a"), count: 1_000_000)
    #expect(SHA256.hex(of: million) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    for count in [55, 56, 63, 64, 65, 119, 120] {
      var pieces = SHA256()
      for byte in million.prefix(count) { pieces.update([byte]) }
      #expect(pieces.hex() == SHA256.hex(of: Array(million.prefix(count))))
    }
    let pipeline = try PipelineFolder(path: ToyPipeline.pixArt(in: folder))
    let files = try WeightFingerprints(pipeline).all()
    #expect(files.map(\.component) == ["text_encoder", "transformer", "vae"])
    #expect(files.allSatisfy { $0.fingerprint.hasPrefix("sha256:") && $0.bytes > 0 })
  }

  @Test func errorsAreOneShortLineOfText() {
    let name = "a\n\u{1b}[2J\u{202e}" + String(repeating: "x", count: 5000)
    let line = errorLine(for: CheckpointError.missingTensor(name: name, path: "m"))
    #expect(line.hasPrefix("m: no tensor 'a ?[2J?xxx") && line.count < 1010)
  }
}
