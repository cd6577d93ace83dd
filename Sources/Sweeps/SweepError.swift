/// What can go wrong with a sweep's folder and its runs.
public enum SweepError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A control cell, which keeps everything, differs from the dense reference; relative L2 of the final latents.
  case controlDiffers(folder: String, error: Double)
  /// A folder holds another sweep than the one that is to go on there.
  case otherSweep(folder: String, what: String, expected: String, found: String)
  /// A file of a sweep's folder is not what it should be.
  case badData(path: String, reason: String)
  /// No metric is called that.
  case unknownMetric(String, known: [String])
  /// A folder to read holds no sweep.
  case noSweep(folder: String)

  public var description: String {
    switch self {
    case .controlDiffers(let folder, let error):
      "\(folder): a run that keeps everything should equal dense attention to the last bit; "
        + "found a relative difference of \(error) in its final latents. No figure of this sweep can be trusted"
    case .otherSweep(let folder, let what, let expected, let found):
      "\(folder): holds a sweep with another \(what): expected '\(expected)', found '\(found)'"
    case .badData(let path, let reason): "\(path): \(reason)"
    case .unknownMetric(let name, let known):
      "metric '\(name)': expected one of \(known.joined(separator: ", "))"
    case .noSweep(let folder): "\(folder): expected a sweep's folder, with sweep.json in it, found none"
    }
  }
}
