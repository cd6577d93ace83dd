import Checkpoints
import DiffusionPipelines
import Foundation
import Tensors
import Testing

/// Embeddings kept between runs: read where they are whole, made again where they are not, and never an error.
@Suite(.serialized) struct EmbeddingCacheTests {
  private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("cache-\(UUID().uuidString)")

  private var cache: EmbeddingCache {
    var cache = EmbeddingCache(folder: folder)
    cache.smallestEncoder = 0
    return cache
  }

  private func latents(
    _ cache: EmbeddingCache?, prompts: [String] = ["a red cube"], onText: () -> Void = {}
  ) throws -> [Tensor] {
    let pipeline = PipelineParityTests.folder.appendingPathComponent("toy-pixart-sigma")
    let generator = try makeGenerator(
      PipelineFolder(path: pipeline.path), options: GeneratorOptions(threads: 2, embeddings: cache))
    return try prompts.map { prompt in
      var request = GenerationRequest(width: 64, height: 64, steps: 1, guidanceScale: 3, seed: 5, maxSequenceLength: 16)
      request.prompt = prompt
      return try generator.denoise(request) { event in
        // The encoder tells of its layers, the cache does not.
        if case .step(_, let count) = event, count > 1 { onText() }
        return true
      }.latents
    }
  }

  private var files: [URL] {
    get throws { try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) }
  }

  @Test func keptEmbeddingsAreRead() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    var encoded = 0
    let first = try latents(cache) { encoded += 1 }
    #expect(try first == latents(nil))
    #expect(try files.count == 2, "the prompt and the negative prompt")
    #expect(encoded > 0)
    var again = 0
    #expect(try latents(cache) { again += 1 } == first)
    #expect(again == 0, "the encoder ran again")
    // What is read is what is there: other embeddings under the same names give another picture.
    let (one, other) = try (files[0], files[1])
    let bytes = try (Data(contentsOf: one), Data(contentsOf: other))
    try bytes.0.write(to: other)
    try bytes.1.write(to: one)
    let shapes = try [one, other].map { try SafetensorsFile($0).tensors["embedding"]?.shape }
    if shapes[0] == shapes[1] { #expect(try latents(cache) != first) } else { #expect(try latents(cache) == first) }
  }

  @Test func damagedFilesAreMadeAgain() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let first = try latents(cache)
    for damage in ["flipped", "short", "empty", "other"] {
      for file in try files {
        var bytes = try Data(contentsOf: file)
        switch damage {
        case "flipped": bytes[bytes.count - 400] ^= 1
        case "short": bytes = bytes.prefix(bytes.count / 2)
        case "empty": bytes = Data()
        default: bytes = Data("{}".utf8)
        }
        try bytes.write(to: file)
      }
      #expect(try latents(cache) == first, "\(damage)")
      var encoded = 0
      #expect(try latents(cache) { encoded += 1 } == first)
      #expect(encoded == 0, "\(damage): not written again")
    }
  }

  @Test func folderThatCannotBeIsNoError() throws {
    try Data().write(to: folder)
    defer { try? FileManager.default.removeItem(at: folder) }
    var cache = EmbeddingCache(folder: folder.appending(path: "text"))
    cache.smallestEncoder = 0
    #expect(try latents(cache) == latents(nil))
  }

  @Test func oldestGoFirst() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    var cache = cache
    _ = try latents(cache)
    let sizes = try files.map { try Data(contentsOf: $0).count }
    cache.limit = sizes.reduce(0, +) + sizes.max()! / 2
    let before = Set(try files.map(\.lastPathComponent))
    _ = try latents(cache, prompts: ["a blue sphere"])
    let after = Set(try files.map(\.lastPathComponent))
    #expect(after.count == 2 && after != before)
    cache.limit = 8
    _ = try latents(cache, prompts: ["a green cone"])
    #expect(Set(try files.map(\.lastPathComponent)) == after, "what does not fit drives nothing out")
  }

  @Test func smallEncodersAreNotWorthIt() throws {
    _ = try latents(EmbeddingCache(folder: folder))
    #expect(!FileManager.default.fileExists(atPath: folder.path))
  }

  @Test func whereItIs() {
    func folder(_ environment: [String: String]) -> String? { EmbeddingCache(environment: environment)?.folder.path }
    #expect(folder(["HOME": "/home/a"]) == "/home/a/.cache/tessera/text")
    #expect(folder(["HOME": "/home/a", "XDG_CACHE_HOME": "/var/b"]) == "/var/b/tessera/text")
    #expect(folder(["HOME": "/home/a", "TESSERA_CACHE": "/c"]) == "/c/text")
    #expect(folder(["HOME": "/home/a", "TESSERA_CACHE": "off"]) == nil)
    #expect(folder([:]) == nil)
  }
}
