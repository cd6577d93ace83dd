
// Appended to the package's own manifest by `make fuzz`, so that the normal build knows nothing of it.
package.targets += [
  .executableTarget(
    name: "fuzz",
    dependencies: [
      "Checkpoints", "CommandSupport", "DiffusionModels", "DiffusionPipelines", "Media", "Schedulers", "SparseAttention",
      "Tensors", "Tokenizers", "TolerantJSON",
    ],
    path: "Fuzz/Targets", swiftSettings: [.swiftLanguageMode(.v5), .unsafeFlags(["-parse-as-library"])])
]
