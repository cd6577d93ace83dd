import Tensors

/// An option of a method, as `--attention list` prints it.
public struct MethodOption: Hashable, Sendable {
  public let name: String
  /// What it does, its unit, and where it comes from.
  public let summary: String
  /// The default as the user would write it.
  public let defaultText: String

  public init(_ name: String, default defaultText: String, _ summary: String) {
    (self.name, self.summary, self.defaultText) = (name, summary, defaultText)
  }
}

/// What the outside needs to know of a method.
public struct MethodInformation: Hashable, Sendable {
  /// The spelling in flags and files.
  public let name: String
  /// One line.
  public let summary: String
  /// Paper and upstream code.
  public let source: String
  public let options: [MethodOption]
  /// Options of `sweep-attention calibrate` for this method; empty where it has no tables.
  public let calibrationOptions: [MethodOption]
  /// Whether the plan depends on queries and keys, so that its density is known only when it runs.
  public let dependsOnContent: Bool

  public init(
    name: String, summary: String, source: String, options: [MethodOption], calibrationOptions: [MethodOption] = [],
    dependsOnContent: Bool = false
  ) {
    (self.name, self.summary, self.source) = (name, summary, source)
    (self.options, self.calibrationOptions) = (options, calibrationOptions)
    self.dependsOnContent = dependsOnContent
  }
}

/// A way to decide which blocks are kept. One file a method: it maps geometry, or queries and keys, to a ``BlockPlan``,
/// never sees values, and never computes attention.
public protocol AttentionMethod: Sendable {
  static var information: MethodInformation { get }

  /// - Parameters:
  ///   - options: what the user set; read each option once, with its default.
  ///   - context: the run that it will plan for.
  init(_ options: inout OptionReader, context: MethodContext) throws

  /// What makes the method's tables; `nil` where it has none.
  static func makeCalibrator(
    _ options: inout OptionReader, context: MethodContext, executor: any AttentionExecutor
  ) throws -> (any AttentionCalibrator)?

  /// Options with which the plans of sparse calls keep a share of the query-key pairs as near to the one asked for as
  /// the method can. Throws where it has no option for that, or the user set it already.
  /// - Parameters:
  ///   - density: above 0 and at most 1.
  ///   - given: what the user set; it stays as it is.
  /// - Returns: what the user set, and what was solved for.
  static func options(
    forDensity density: Double, given: [String: String], context: MethodContext
  ) throws -> [String: String]

  /// Paths of the files, if any, that its plans come from.
  var calibrationFiles: [String] { get }

  /// First steps and layers that stay dense where the user says nothing.
  func defaultDenseSteps(of stepCount: Int) -> Int
  var defaultDenseLayers: Int { get }
}

extension AttentionMethod {
  public var calibrationFiles: [String] { [] }
  public func defaultDenseSteps(of stepCount: Int) -> Int { 0 }
  public var defaultDenseLayers: Int { 0 }
  public static func makeCalibrator(
    _ options: inout OptionReader, context: MethodContext, executor: any AttentionExecutor
  ) throws -> (any AttentionCalibrator)? { nil }
  public static func options(
    forDensity density: Double, given: [String: String], context: MethodContext
  ) throws -> [String: String] {
    throw AttentionError.unsuitable(method: information.name, reason: "no option of it sets the density")
  }
}

/// A plan from geometry alone (and tables made beforehand): made once, kept as long as its key lasts.
public protocol GeometricPlanner: AttentionMethod {
  /// The site with every field that the plan does not depend on set to a fixed value; plans are kept by it. Leave
  /// ``AttentionSite/keyGrid`` alone: the engine shortens plans for it by itself.
  func planKey(_ site: AttentionSite) -> AttentionSite
  /// A plan over all tokens of the layout, as queries and as keys.
  func plan(_ site: AttentionSite) throws -> BlockPlan
}

/// A plan from queries and keys, made anew at every call.
public protocol ContentPlanner: AttentionMethod {
  /// - Parameters:
  ///   - queries: `[h, N, d]` in model order, after normalisation and rotary embedding.
  ///   - keys: `[h, M, d]`; `M` is ``AttentionSite/keyCount``, less than `N` where the layer shortens keys.
  /// - Returns: a plan of `N` queries by `M` keys.
  func plan(_ site: AttentionSite, queries: Tensor, keys: Tensor) throws -> BlockPlan
}

/// The run that a method is made for.
public struct MethodContext: Hashable, Sendable {
  public var layout: TokenLayout
  public var layerCount: Int, stepCount: Int, heads: Int
  /// Folder with the pipeline's calibration files, and a hash that names its transformer's weights.
  public var calibrationFolder: String?
  public var modelHash: String?

  public init(
    layout: TokenLayout, layerCount: Int, stepCount: Int, heads: Int, calibrationFolder: String? = nil,
    modelHash: String? = nil
  ) {
    (self.layout, self.layerCount, self.stepCount, self.heads) = (layout, layerCount, stepCount, heads)
    (self.calibrationFolder, self.modelHash) = (calibrationFolder, modelHash)
  }
}
