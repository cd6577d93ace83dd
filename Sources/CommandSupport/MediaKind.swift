import DiffusionPipelines

/// What a program makes.
enum MediaKind: String, Sendable {
  case image, video

  /// The pipeline that is used when none is named.
  var defaultFolder: String { "pipelines/tabletop-\(rawValue)" }

  /// Throws unless this kind of result is what the folder's pipeline makes.
  func check(_ folder: PipelineFolder) throws {
    guard folder.kind.isVideo != (self == .video) else { return }
    let made = folder.kind.isVideo ? "video" : "image"
    throw CommandError.usage(
      "\(folder.path): \(folder.kind.rawValue) makes \(made)s: expected generate-\(made), found generate-\(rawValue)")
  }
}
