/// What can be wrong with a scheduler's configuration or with a request made of it.
public enum SchedulerError: Error, Hashable, CustomStringConvertible {
  /// A configuration value that this scheduler does not implement. `key` is the JSON spelling.
  case unsupported(scheduler: String, key: String, value: String)
  /// A value outside its range, or a request that makes no sense for this scheduler.
  case invalid(scheduler: String, reason: String)
  /// A name that is neither a class name nor a short spelling.
  case unknownScheduler(name: String, known: [String])
  /// The configuration does not say which scheduler it belongs to and none was named.
  case missingClassName
  /// The configuration describes another noising process than the scheduler solves (flow against diffusion).
  case incompatible(scheduler: String, configuration: String, reason: String)

  public var description: String {
    switch self {
    case .unsupported(let scheduler, let key, let value):
      "\(scheduler): \(key) = \(value) is not supported"
    case .invalid(let scheduler, let reason):
      "\(scheduler): \(reason)"
    case .unknownScheduler(let name, let known):
      "unknown scheduler '\(name)'; known: \(known.joined(separator: ", "))"
    case .missingClassName:
      "the scheduler configuration has no _class_name"
    case .incompatible(let scheduler, let configuration, let reason):
      "\(scheduler) cannot use the configuration of \(configuration): \(reason)"
    }
  }
}
