import DiffusionPipelines
import Media

/// A run's record as the text in a picture's or a video's file.
extension RunRecord {
  /// The key of the whole record, as JSON.
  static let metadataKey = "tessera"

  /// The parameters that most tools read, and the record but for what differs from run to run: a request's file is the
  /// same bytes whenever it is made and on however many threads.
  func metadataText() throws -> [PNGFile.Text] {
    var record = self
    record.seconds = nil
    (record.peakMemoryBytes, record.peakAnonymousBytes, record.peakMappedBytes) = (nil, nil, nil)
    record.compute.threads = nil
    return [("parameters", parameters.text), (Self.metadataKey, try record.json())]
  }

  /// The record in the words of other tools.
  var parameters: Parameters {
    var fields = [
      Parameters.Field("Steps", "\(request.steps)"),
      Parameters.Field("Sampler", Self.sampler(scheduler?.className ?? "unknown")),
      Parameters.Field("CFG scale", Self.plain(request.guidanceScale)), Parameters.Field("Seed", "\(request.seed)"),
      Parameters.Field("Size", "\(result.width)x\(result.height)"), Parameters.Field("Model", model.name),
      Parameters.Field("RNG", request.rng == .torch ? "CPU" : "Philox"),
    ]
    if let frames = request.numFrames { fields.append(Parameters.Field("Frames", "\(frames)")) }
    if let rate = request.fps { fields.append(Parameters.Field("FPS", Self.plain(rate))) }
    if let id = request.classLabel {
      fields.append(Parameters.Field("Class", model.classLabelName.map { "\(id) (\($0))" } ?? "\(id)"))
    }
    fields.append(Parameters.Field("Version", "tessera \(tool.version)"))
    return Parameters(prompt: request.prompt ?? "", negativePrompt: request.negativePrompt ?? "", fields: fields)
  }

  /// A scheduler by the name other tools give it, where they have one.
  private static func sampler(_ className: String) -> String {
    switch className {
    case "DPMSolverMultistepScheduler": "DPM++ 2M"
    case "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler": "Euler"
    case "UniPCMultistepScheduler": "UniPC"
    case "DDIMScheduler": "DDIM"
    case "DDPMScheduler": "DDPM"
    case "LCMScheduler": "LCM"
    default: className
    }
  }

  /// A number without a needless `.0`.
  private static func plain(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
  }
}
