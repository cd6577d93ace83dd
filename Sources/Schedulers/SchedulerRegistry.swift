/// Every scheduler, in the order they are listed to a reader.
public let allSchedulers: [any Scheduler.Type] = [
  DDPMScheduler.self, DDIMScheduler.self, EulerDiscreteScheduler.self, DPMSolverMultistepScheduler.self,
  UniPCMultistepScheduler.self, LCMScheduler.self, FlowMatchEulerDiscreteScheduler.self,
]

/// The class that goes by a class name or a short spelling; case does not matter.
public func schedulerType(named name: String) throws -> any Scheduler.Type {
  let wanted = name.lowercased()
  let type = allSchedulers.first {
    $0.className.lowercased() == wanted || $0.shortNames.contains(wanted)
  }
  guard let type else {
    throw SchedulerError.unknownScheduler(
      name: name, known: allSchedulers.map { "\($0.shortNames[0]) (\($0.className))" })
  }
  return type
}

/// Makes a scheduler of a folder's configuration.
///
/// A name overrides the class that the configuration was written for. The new class then reads the keys it has, takes
/// its own defaults for those missing, and leaves the rest alone. Where both classes solve a flow but spell its shift
/// differently (`shift`, `flow_shift`), the value is carried over, which the reference does not do; a flow
/// configuration for a diffusion scheduler, or the other way round, is an error.
/// - Parameter name: a class name or short spelling; `nil` takes the configuration's own `_class_name`.
public func makeScheduler(
  named name: String? = nil, configuration: SchedulerConfiguration
) throws -> any Scheduler {
  guard let name = name ?? configuration._className else { throw SchedulerError.missingClassName }
  let type = try schedulerType(named: name)
  return try type.init(configuration.adapted(to: type))
}

extension SchedulerConfiguration {
  /// This configuration in the words of another class.
  func adapted(to type: any Scheduler.Type) throws -> SchedulerConfiguration {
    guard let owner = self._className, owner != type.className else { return self }
    let flow = FlowMatchEulerDiscreteScheduler.className
    var result = self
    if owner == flow {
      guard type is DPMSolverMultistepScheduler.Type || type is UniPCMultistepScheduler.Type else {
        throw SchedulerError.incompatible(
          scheduler: type.className, configuration: owner, reason: "the model predicts a flow, not noise")
      }
      if self.invertSigmas ?? false {
        throw SchedulerError.unsupported(scheduler: type.className, key: "invert_sigmas", value: "true")
      }
      result.predictionType = PredictionType.flow.rawValue
      result.useFlowSigmas = true
      result.flowShift = self.shift
    } else if type.className == flow {
      guard self.predictionType == PredictionType.flow.rawValue else {
        throw SchedulerError.incompatible(
          scheduler: type.className, configuration: owner, reason: "the model predicts noise, not a flow")
      }
      result.shift = self.flowShift
    }
    // The multistep classes share the key but not its values; each takes its own default for the other's.
    if type is DPMSolverMultistepScheduler.Type {
      if ["logrho", "bh1", "bh2"].contains(self.solverType) { result.solverType = nil }
      if self.algorithmType == "deis" { result.algorithmType = nil }
    } else if type is UniPCMultistepScheduler.Type, ["midpoint", "heun", "logrho"].contains(self.solverType) {
      result.solverType = nil
    }
    return result
  }
}
