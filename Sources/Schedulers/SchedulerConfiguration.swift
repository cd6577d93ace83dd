import Foundation
import TolerantJSON

/// The contents of a folder's `scheduler_config.json`, for any scheduler class.
///
/// A missing key means the default of the class that reads it, so every value is optional and is resolved there. Values
/// are reached by their JSON key in camel case: `configuration.betaStart`. Keys that a class does not have are not read
/// by it, as in diffusers; ``unusedKeys(by:)`` names them so that a caller can say so.
@dynamicMemberLookup
public struct SchedulerConfiguration: Decodable, Sendable, Hashable {
  /// Every key that some scheduler of this room reads, named as in JSON but in camel case.
  public struct Values: Decodable, Sendable, Hashable {
    /// JSON `_class_name`.
    public var _className: String?

    // The noise schedule.
    public var numTrainTimesteps: Int?
    public var betaStart, betaEnd: Double?
    public var betaSchedule: String?
    public var trainedBetas: [Float]?
    public var rescaleBetasZeroSnr: Bool?

    // What the model predicts, and what is done to its prediction.
    public var predictionType, varianceType: String?
    public var clipSample, thresholding, setAlphaToOne: Bool?
    public var clipSampleRange, dynamicThresholdingRatio, sampleMaxValue: Float?

    // Where the steps fall.
    public var timestepSpacing, timestepType, interpolationType, finalSigmasType: String?
    public var stepsOffset, originalInferenceSteps: Int?
    public var timestepScaling: Float?
    public var useKarrasSigmas, useExponentialSigmas, useBetaSigmas, useLuLambdas, useFlowSigmas: Bool?
    public var sigmaMin, sigmaMax, lambdaMinClipped: Double?

    // Multistep solvers.
    public var solverOrder: Int?
    public var algorithmType, solverType: String?
    public var lowerOrderFinal, eulerAtFinal, predictX0: Bool?
    public var disableCorrector: [Int]?
    public var solverP: PresentValue?

    // Flow matching.
    public var shift, flowShift, shiftTerminal: Double?
    public var baseShift, maxShift: Double?
    public var baseImageSeqLen, maxImageSeqLen: Int?
    public var useDynamicShifting, invertSigmas, stochasticSampling: Bool?
    public var timeShiftType: String?
  }

  /// Stands for a JSON value of any kind but `null`.
  public struct PresentValue: Decodable, Sendable, Hashable {
    public init(from decoder: any Decoder) throws {}
  }

  private var values: Values
  /// Keys the file held, in camel case, whether or not any scheduler reads them.
  public private(set) var keys: Set<String>

  /// A configuration with no keys: every class takes its own defaults.
  public init() {
    values = Values()
    keys = []
  }

  public init(from decoder: any Decoder) throws {
    values = try Values(from: decoder)
    keys = Set(try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue))
  }

  /// Reads a `scheduler_config.json`, which may hold bare `-Infinity`.
  public init(contentsOf file: URL) throws {
    self = try TolerantJSON.decode(Self.self, from: file)
  }

  public subscript<T>(dynamicMember member: WritableKeyPath<Values, T>) -> T {
    get { values[keyPath: member] }
    set { values[keyPath: member] = newValue }
  }

  /// Keys of the file that `scheduler` does not have and so does not read, sorted. Diffusers warns about these.
  public func unusedKeys(by scheduler: any Scheduler.Type) -> [String] {
    keys.filter { !$0.hasPrefix("_") && !scheduler.keys.contains($0) }.sorted()
  }

  private struct AnyKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
}
