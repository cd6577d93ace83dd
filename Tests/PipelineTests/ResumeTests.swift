import DiffusionPipelines
import Foundation
import SparseAttention
import Tensors
import TestSupport
import Testing

/// Runs that stop after a step and go on from a file in another generator give the same latents, bit for bit.
@Suite(.serialized) struct ResumeTests {
  private func generator(_ name: String) throws -> DiffusionGenerator {
    let folder = PipelineParityTests.folder.appendingPathComponent(name)
    return try makeGenerator(PipelineFolder(path: folder.path), options: GeneratorOptions(threads: 2))
  }

  private func request(_ name: String, scheduler: String?) -> GenerationRequest {
    var request = GenerationRequest(
      width: 64, height: 64, steps: 6, guidanceScale: 3, seed: 5, maxSequenceLength: 16)
    request.prompt = "a red cube"
    request.scheduler = scheduler
    if name == "toy-wan" {
      (request.width, request.height, request.modelWidth, request.modelHeight, request.frames) = (32, 32, 32, 32, 5)
    }
    return request
  }

  @Test(
    arguments: [
      ("toy-pixart-sigma", nil), ("toy-pixart-sigma", "ddpm"), ("toy-pixart-sigma", "lcm"),
      ("toy-pixart-sigma", "unipc"),
      ("toy-pixart-sigma", "euler"), ("toy-wan", nil), ("toy-wan", "flow-euler"),
    ] as [(String, String?)])
  func goingOnGivesTheSameLatents(name: String, scheduler: String?) throws {
    var request = request(name, scheduler: scheduler)
    request.attention = try AttentionChoice(parsing: "draft:pool=2x2,sparsity=0.5")
    var states: [RunState] = []
    let whole = try generator(name).denoise(request) { event in
      if case .state(let state) = event { states.append(state) }
      return true
    }
    #expect(states.map(\.steps) == Array(1...6))
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("state-\(UUID().uuidString).safetensors")
    defer { try? FileManager.default.removeItem(at: file) }
    for state in states {
      try Data(state.bytes()).write(to: file)
      let read = try RunState(contentsOf: file)
      var taken = 0
      let rest = try generator(name).denoise(request, resuming: read) { event in
        if case .state = event { taken += 1 }
        return true
      }
      #expect(taken == 6 - state.steps)
      #expect(rest.latents == whole.latents, "after step \(state.steps)")
      #expect(rest.record.attention.density == whole.record.attention.density)
      #expect(rest.record.noise == whole.record.noise)
    }
  }

  @Test func statesOfOtherRunsAreRefused() throws {
    var state: RunState?
    let request = request("toy-pixart-sigma", scheduler: nil)
    _ = try generator("toy-pixart-sigma").denoise(request) { event in
      if case .state(let now) = event { state = state ?? now }
      return true
    }
    let first = try #require(state)
    func expectRefusal(_ word: String, _ name: String = "toy-pixart-sigma", _ change: (inout GenerationRequest) -> Void)
      throws
    {
      var other = request
      change(&other)
      let error = #expect(throws: PipelineError.self) {
        try generator(name).denoise(other, resuming: first) { _ in true }
      }
      #expect(error?.description.contains(word) == true, "\(error?.description ?? "")")
    }
    try expectRefusal("seed 6") { $0.seed = 6 }
    try expectRefusal("steps 7") { $0.steps = 7 }
    try expectRefusal("prompt \"a cube\"") { $0.prompt = "a cube" }
    try expectRefusal("attention") {
      $0.attention = AttentionChoice(method: "draft", options: ["pool": .string("2x2")])
    }
    try expectRefusal("dtype") { $0.precision = .bfloat16 }
    try expectRefusal("pipeline", "toy-pixart-alpha") { _ in }
    var damaged = first
    damaged.steps = 3
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("state-\(UUID().uuidString).safetensors")
    defer { try? FileManager.default.removeItem(at: file) }
    let bytes = try first.bytes()
    for count in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 40)) {
      try Data(bytes[..<count]).write(to: file)
      #expect(throws: (any Error).self) { try RunState(contentsOf: file) }
    }
  }

  /// A method's files decide the steps to come as flags do.
  @Test func statesMadeByOtherCalibrationsAreRefused() throws {
    let folder = try PipelineFolder(path: PipelineParityTests.folder.appendingPathComponent("toy-pixart-sigma").path)
    let resolver = AttentionResolver(folder, try ModelGeometry(folder))
    var request = request("toy-pixart-sigma", scheduler: nil)
    let calibrator = try AttentionMethods.standard.makeCalibrator(
      "paro", options: ["block": "8", "densities": "0.5"], context: resolver.context(request),
      executor: BlockSparseExecutor(.float32))
    _ = try generator(folder.name).denoise(request, with: calibrator) { _ in true }
    let tables = FileManager.default.temporaryDirectory.appendingPathComponent("calibration-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: tables) }
    try FileManager.default.createDirectory(at: tables, withIntermediateDirectories: true)
    let files = try calibrator.finish(prompts: ["a cube"]).files
    for file in files { try Data(file.bytes).write(to: tables.appendingPathComponent(file.name)) }
    request.attention = AttentionChoice(
      method: "paro",
      options: [
        "calibration": .string(tables.appendingPathComponent(files[0].name).path), "density": .number(0.5),
      ])

    var state: RunState?
    let whole = try generator(folder.name).denoise(request) { event in
      if case .state(let now) = event { state = state ?? now }
      return true
    }
    let first = try #require(state), used = try #require(whole.record.attention.calibration)
    #expect(used.map(\.file) == files.map { $0.name })
    let hashes = files.map { "sha256:" + SHA256.hex(of: $0.bytes) }
    #expect(used.map(\.fingerprint) == hashes)
    #expect(
      try generator(folder.name).denoise(request, resuming: first) { _ in true }.latents == whole.latents)

    var masks = files[1].bytes
    masks[0] ^= 1
    try Data(masks).write(to: tables.appendingPathComponent(files[1].name))
    let error = #expect(throws: PipelineError.self) {
      try generator(folder.name).denoise(request, resuming: first) { _ in true }
    }
    #expect(error?.description.contains("expected calibration files sha256:") == true, "\(error?.description ?? "")")
  }
}
