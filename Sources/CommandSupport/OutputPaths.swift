import DiffusionPipelines
import Media

/// Where results go, of either kind.
enum ResultPath {
  case file(OutputPath)
  case clip(ClipPath)

  /// Whether several results under this path get names that differ from the one given.
  var changesWithSeveral: Bool {
    switch self {
    case .file(let path): path.isPlainFile
    case .clip(let path): path.changesWithSeveral
    }
  }

  /// The path of one result; parameters as ``ClipPath/path(index:seed:isOnly:claim:)``'s.
  func path(index: Int, seed: UInt64, isOnly: Bool, claim: (String) -> String) -> String {
    switch self {
    case .file(let path): claim(path.path(index: index, seed: seed, isOnly: isOnly))
    case .clip(let path): path.path(index: index, seed: seed, isOnly: isOnly, claim: claim)
    }
  }
}

/// All paths that one result's flags name, checked.
struct OutputPaths {
  let main: ResultPath
  let latents, report, preview: OutputPath?

  init(_ flags: FlagValues, _ kind: MediaKind) throws {
    main =
      switch kind {
      case .image: .file(try OutputPath(flags.output, kind: "image", extensions: ["png"]))
      case .video: .clip(try ClipPath(flags.output))
      }
    latents = try flags.saveLatents.map { try OutputPath($0, kind: "latents", extensions: ["safetensors"]) }
    report = try flags.attentionReport.map { try OutputPath($0, kind: "attention", extensions: ["json", "png"]) }
    preview = try flags.previewPath.map { try OutputPath($0, kind: "preview", extensions: ["png"]) }
  }
}
