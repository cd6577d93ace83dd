import Evaluation
import Sweeps

extension SweepResults.Header.Metric {
  /// As people write it.
  var title: String {
    switch name {
    case "psnr": "PSNR"
    case "ssim": "SSIM"
    case "ms-ssim": "MS-SSIM"
    case "flip": "FLIP"
    case "lpips-alex": "LPIPS (AlexNet)"
    case "lpips-vgg": "LPIPS (VGG)"
    case "latents-l2": "Latents, relative L2"
    default: name.prefix(1).uppercased() + name.dropFirst().map { $0 == "-" ? " " : $0 }
    }
  }

  var unit: String? {
    switch name {
    case "psnr": "dB"
    case "temporal-difference-error", "flicker-excess": "levels of 255"
    default: nil
    }
  }

  /// What it measures, for readers who do not know it; `nil` where its name says so.
  var meaning: String? {
    switch name {
    case "psnr": "peak signal-to-noise ratio over all channels; 3 dB are half the squared error."
    case "ssim": "structural similarity of grey levels in windows of 11 x 11 (Wang et al. 2004); 1 is equal."
    case "ms-ssim": "SSIM on five scales, each half the size (Wang et al. 2003); 1 is equal."
    case "flip":
      "the difference an eye sees when one picture is flipped to the other on a screen (Andersson et al. 2020); 0 is "
        + "equal."
    case "lpips-alex", "lpips-vgg":
      "distance of a trained network's features, by weights that the user gave (Zhang et al. 2018); 0 is equal."
    case "temporal-difference-error":
      "the mean absolute error of the differences between neighbouring frames; 0 is equal motion."
    case "flicker-excess":
      "how much more neighbouring frames differ from each other than in dense's clip; below 0 they differ less."
    case "latents-l2": "the distance of the final latents divided by dense's length; before the autoencoder."
    case "adherence":
      "the share of what a prompt promises (colour, shape, count and so on) that a small detector, trained on renders "
        + "alone, finds in the result; the pipeline's card has the detector's own accuracy."
    default: nil
    }
  }

  var titleWithUnit: String { unit.map { title + ", " + $0 } ?? title }
  /// Decimals that tell variants apart and are not noise.
  var decimals: Int { name == "psnr" ? 2 : unit == "levels of 255" || !comparesWithReference ? 3 : 4 }
  /// Whether it compares with the dense reference, which then has no value of its own.
  var comparesWithReference: Bool { name != CellMetrics.adherence }
  var direction: MetricDirection { higherIsBetter ? .higher : .lower }

  /// Whether a value says that the clips are equal.
  func isPerfect(_ value: Double) -> Bool {
    higherIsBetter ? value == .infinity || (value == 1 && name != "psnr") : value == 0
  }
}

/// The settings that make two variants of one family and density differ; the sampling among them must be shared with
/// the reference.
struct Setting: Sendable, Hashable {
  var dtype: String, scheduler: String?, steps: Int
  var kvCompression: String?, denseSteps: Int?, denseLayers: Int?

  init(_ variant: Variant) {
    (dtype, scheduler, steps) = (variant.dtype, variant.scheduler, variant.steps)
    (kvCompression, denseSteps, denseLayers) = (variant.kvCompression, variant.denseSteps, variant.denseLayers)
  }

  /// What tells it from others: only what is not the same in all of them, those aside that leave it to the method.
  /// Empty for a single one.
  func label(among all: [Setting]) -> String {
    func differs<Value: Hashable>(_ part: (Setting) -> Value?) -> Bool { Set(all.compactMap(part)).count > 1 }
    var words: [String] = []
    if differs(\.dtype) { words.append(dtype) }
    if differs({ $0.scheduler ?? "" }) { words.append(scheduler ?? "folder's scheduler") }
    if differs(\.steps) { words.append(NumberText.count(steps, "step")) }
    if differs(\.kvCompression) { words.append("KV compression \(kvCompression ?? "as trained")") }
    if differs(\.denseSteps) {
      words.append(denseSteps.map { NumberText.count($0, "dense step") } ?? "method's dense steps")
    }
    if differs(\.denseLayers) {
      words.append(denseLayers.map { NumberText.count($0, "dense layer") } ?? "method's dense layers")
    }
    return words.joined(separator: ", ")
  }
}
