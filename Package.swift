// swift-tools-version: 6.2
import PackageDescription

/// Rooms that may not touch raw memory: an unmarked unsafe expression fails the build, and
/// `RepositoryTests` allows the `unsafe` mark only in the few door files that call a C library.
let safe: [SwiftSetting] = [
  .strictMemorySafety(),
  .treatWarning("StrictMemorySafety", as: .error),
]

let package = Package(
  name: "Tessera",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "Tessera", targets: ["DiffusionPipelines"]),
    .executable(name: "generate-image", targets: ["generate-image"]),
    .executable(name: "generate-video", targets: ["generate-video"]),
    .executable(name: "sweep-attention", targets: ["sweep-attention"]),
    .executable(name: "kernel-bench", targets: ["kernel-bench"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0")
  ],
  targets: [
    // Kernels, and doors to C libraries.
    .target(name: "CPNG", linkerSettings: [.linkedLibrary("png")]),
    .target(
      name: "CFFmpeg",
      linkerSettings: ["avformat", "avcodec", "avutil", "swscale"].map { .linkedLibrary($0) }),
    .target(name: "CSentencePiece", linkerSettings: [.linkedLibrary("sentencepiece")]),
    .target(name: "CKernels"),

    // Arithmetic.
    .target(name: "Tensors"),
    .target(name: "Kernels", dependencies: ["Tensors", "CKernels"]),
    .target(name: "TolerantJSON", swiftSettings: safe),
    .target(name: "Checkpoints", dependencies: ["Tensors", "TolerantJSON"], swiftSettings: safe),
    .target(name: "NN", dependencies: ["Kernels", "Checkpoints"], swiftSettings: safe),
    .target(name: "SparseAttention", dependencies: ["Kernels", "TolerantJSON"], swiftSettings: safe),

    // Models and what surrounds them.
    .target(name: "DiffusionModels", dependencies: ["NN", "SparseAttention"], swiftSettings: safe),
    .target(name: "Tokenizers", dependencies: ["CSentencePiece", "TolerantJSON"], swiftSettings: safe),
    .target(name: "Schedulers", dependencies: ["Kernels", "TolerantJSON"], swiftSettings: safe),
    .target(name: "Media", dependencies: ["CFFmpeg", "CPNG"], swiftSettings: safe),
    .target(name: "Evaluation", dependencies: ["NN", "Media"], swiftSettings: safe),
    .target(
      name: "DiffusionPipelines",
      dependencies: ["DiffusionModels", "Tokenizers", "Schedulers", "Media"],
      swiftSettings: safe),

    // Sweeps: many runs, measured against each other.
    .target(name: "Sweeps", dependencies: ["Evaluation", "DiffusionPipelines"], swiftSettings: safe),
    .target(name: "Reports", dependencies: ["Sweeps", "Evaluation", "Media"], swiftSettings: safe),

    // Programs.
    .target(
      name: "CommandSupport",
      dependencies: [
        "Checkpoints", "DiffusionModels", "DiffusionPipelines", "Evaluation", "Kernels", "Media", "Reports",
        "Schedulers", "SparseAttention", "Sweeps", "Tensors", "Tokenizers", "TolerantJSON",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: safe),
    .executableTarget(name: "generate-image", dependencies: ["CommandSupport"], swiftSettings: safe),
    .executableTarget(name: "generate-video", dependencies: ["CommandSupport"], swiftSettings: safe),
    .executableTarget(name: "sweep-attention", dependencies: ["CommandSupport"], swiftSettings: safe),
    .executableTarget(
      name: "kernel-bench",
      dependencies: ["Kernels", "SparseAttention", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: safe),

    // Tests. `TestSupport` reads golden fixtures and compares tensors.
    .target(
      name: "TestSupport", dependencies: ["Checkpoints", "Kernels", "SparseAttention"], path: "Tests/TestSupport"),
    .testTarget(name: "TensorsTests", dependencies: ["Tensors", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(name: "KernelsTests", dependencies: ["Kernels", "TestSupport"]),
    .testTarget(name: "SparseAttentionTests", dependencies: ["SparseAttention", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(name: "CheckpointsTests", dependencies: ["Checkpoints", "TestSupport"]),
    .testTarget(name: "TokenizersTests", dependencies: ["Tokenizers", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(name: "SchedulersTests", dependencies: ["Schedulers", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(name: "MediaTests", dependencies: ["Media", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(name: "EvaluationTests", dependencies: ["Evaluation", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(name: "DiffusionModelsTests", dependencies: ["DiffusionModels", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(
      name: "PipelineTests", dependencies: ["DiffusionPipelines", "SparseAttention", "TestSupport"],
      exclude: ["Fixtures"]),
    .testTarget(name: "ReportsTests", dependencies: ["Reports", "TestSupport"]),
    .testTarget(
      name: "CommandTests", dependencies: ["CommandSupport", "Schedulers", "SparseAttention", "Sweeps", "TestSupport"]),
    .testTarget(name: "RepositoryTests", dependencies: ["TestSupport"]),
  ],
  cxxLanguageStandard: .cxx17
)
