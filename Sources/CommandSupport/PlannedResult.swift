import DiffusionPipelines
import Foundation
import Media

/// One result to make, and where its files go.
struct PlannedResult: Sendable {
  var request: GenerationRequest
  /// Its prompt's place in the run, from 0, and its line in the prompts file.
  var item: Int
  var line: Int?
  /// The picture's file, or where ``clip`` goes, as the user is told of it.
  var output = ""
  /// `nil` for pictures.
  var clip: ClipOutput?
  var latents: String?
  var report: String?
  var preview: OutputPath?
  /// Whether other results share the preview's name, so that the seed goes in.
  var previewIsShared = false
  var writesMetadata = true
  /// The run record's file beside a clip; `nil` for pictures, which carry theirs.
  var record: String?

  /// Whether the attention report is a picture.
  var drawsReport: Bool { report?.lowercased().hasSuffix(".png") == true }

  /// Where the preview after step `index` goes.
  func previewPath(step index: Int) -> String {
    guard let preview else { return beside("preview", "png") }
    let path = preview.path(index: index, seed: request.seed, isOnly: true)
    return previewIsShared ? OutputPath.inserting("-\(request.seed)", into: path) : path
  }

  /// A path named after the output: `clip.mp4` gives `clip-preview.png`, `frames/` gives `frames/preview.png`.
  func beside(_ name: String, _ ending: String) -> String {
    if case .frames(let frames) = clip { return "\(frames.head)\(name).\(ending)" }
    return "\((output as NSString).deletingPathExtension)-\(name).\(ending)"
  }

  /// Where a clip's run record goes: `clip.mp4` gives `clip.json`, `frames/` gives `frames/run.json`.
  var recordPath: String {
    if case .frames = clip { return beside("run", "json") }
    return (output as NSString).deletingPathExtension + ".json"
  }

  /// All files besides the picture's or clip's own.
  var sideFiles: [String] {
    [latents, report, record, request.previewEvery == nil ? nil : previewPath(step: 0)].compactMap { $0 }
  }
}

/// A result that could not be made, as `failures.json` lists it.
struct FailedResult: Sendable, Codable {
  var item: Int
  var line: Int?
  var prompt: String?
  var seed: UInt64?
  var output: String?
  var error: String
  var exitCode: Int32
}
