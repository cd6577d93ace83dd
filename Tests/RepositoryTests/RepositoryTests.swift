import Foundation
import Testing

/// Rules of the house that the compiler does not check.
@Suite struct RepositoryTests {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// Source files by room, with their text.
  static let sources: [(room: String, name: String, text: String)] = {
    let base = root.appendingPathComponent("Sources").path
    let paths = FileManager.default.subpaths(atPath: base) ?? []
    return paths.filter { $0.hasSuffix(".swift") }.compactMap { path in
      guard let text = try? String(contentsOfFile: base + "/" + path, encoding: .utf8) else { return nil }
      return (String(path.prefix { $0 != "/" }), (path as NSString).lastPathComponent, text)
    }
  }()

  /// What each room may import besides the standard library and Foundation: the picture in the README.
  static let allowed: [String: Set<String>] = [
    "Tensors": [], "TolerantJSON": [], "Kernels": ["Tensors", "CKernels"], "Checkpoints": ["Tensors", "TolerantJSON"],
    "NN": ["Tensors", "Kernels", "Checkpoints"], "SparseAttention": ["Tensors", "Kernels", "TolerantJSON"],
    "DiffusionModels": ["Tensors", "Kernels", "Checkpoints", "NN", "SparseAttention"],
    "Tokenizers": ["CSentencePiece", "TolerantJSON"], "Schedulers": ["Tensors", "Kernels", "TolerantJSON"],
    "Media": ["CFFmpeg", "CPNG"], "Evaluation": ["Tensors", "Kernels", "Checkpoints", "NN", "Media"],
    "DiffusionPipelines": [
      "Tensors", "Kernels", "Checkpoints", "TolerantJSON", "SparseAttention", "DiffusionModels", "Tokenizers",
      "Schedulers", "Media",
    ],
    "Sweeps": [
      "Tensors", "Kernels", "TolerantJSON", "SparseAttention", "Schedulers", "Media", "Evaluation",
      "DiffusionPipelines",
    ],
    "Reports": ["Media", "Evaluation", "Sweeps"],
    "CommandSupport": [
      "Tensors", "TolerantJSON", "Checkpoints", "Kernels", "DiffusionModels", "Tokenizers", "Schedulers", "Media",
      "SparseAttention", "DiffusionPipelines", "Evaluation", "Sweeps", "Reports", "ArgumentParser",
    ],
    "generate-image": ["CommandSupport", "DiffusionPipelines"],
    "generate-video": ["CommandSupport", "DiffusionPipelines"],
    "sweep-attention": ["CommandSupport", "DiffusionPipelines"],
    "kernel-bench": ["Tensors", "Kernels", "SparseAttention", "ArgumentParser"],
  ]
  static let platform: Set<String> = ["Foundation", "Glibc", "Darwin", "Synchronization", "Dispatch"]

  @Test func roomsImportOnlyWhatLiesBelow() {
    #expect(Self.sources.count > 50)
    for (room, name, text) in Self.sources {
      for line in text.split(separator: "\n") {
        let words = line.split(separator: " ").map(String.init)
        guard let index = words.firstIndex(of: "import"), index <= 1, words.count > index + 1,
          !line.hasPrefix("//"), !line.hasPrefix("*")
        else { continue }
        let module = words[index + 1]
        #expect(
          Self.platform.contains(module) || Self.allowed[room]?.contains(module) == true,
          "\(room)/\(name) imports \(module)")
      }
    }
  }

  @Test func unsafeCodeStaysBehindDoors() {
    for (room, name, text) in Self.sources
    where !["Tensors", "Kernels"].contains(room) && !name.hasSuffix("Door.swift") {
      let isMarked = text.split(separator: "\n").contains { line in
        !line.trimmingCharacters(in: .whitespaces).hasPrefix("//")
          && line.contains(#/\bunsafe\b|Unsafe(Mutable)?(Raw)?(Buffer)?Pointer/#)
      }
      // System calls that the standard library has no safe spelling of, each in one small file.
      let doors = ["AtomicFile.swift", "FileLock.swift", "StopSignal.swift"]
      #expect(!isMarked || doors.contains(name), "\(room)/\(name) uses unsafe code")
    }
  }

  @Test func onlyCommandsPrint() {
    for (room, name, text) in Self.sources
    where !["CommandSupport", "generate-image", "generate-video", "sweep-attention", "kernel-bench"].contains(room) {
      #expect(!text.contains(#/(^|[^A-Za-z.])print\(/#), "\(room)/\(name) prints")
    }
  }

  @Test func filesAreSmall() {
    for (room, name, text) in Self.sources {
      #expect(text.split(separator: "\n", omittingEmptySubsequences: false).count <= 500, "\(room)/\(name) is long")
    }
  }

  @Test func readmeNamesWhatThereIs() throws {
    let readme = try String(contentsOf: Self.root.appendingPathComponent("README.md"), encoding: .utf8)
    for name in Self.allowed.keys { #expect(readme.contains(name), "README does not name \(name)") }
    for model in [
      "PixArtTransformer2DModel", "DiTTransformer2DModel", "AutoencoderKL", "AutoencoderTiny", "T5EncoderModel",
      "DDPMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler",
      "UniPCMultistepScheduler", "LCMScheduler", "FlowMatchEulerDiscreteScheduler",
    ] { #expect(readme.contains(model), "README does not name \(model)") }
  }
}
