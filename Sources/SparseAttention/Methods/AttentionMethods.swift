/// The methods there are. `dense`, which keeps everything, is always known and is not one of them.
public struct AttentionMethods: Sendable {
  public let types: [any AttentionMethod.Type]

  public init(_ types: [any AttentionMethod.Type]) { self.types = types }

  /// Every method of the library: a new one is added here.
  public static let standard = AttentionMethods([
    SlidingTileAttention.self, RadialAttention.self, DraftAttention.self, PAROAttention.self, RandomAttention.self,
  ])

  public static let dense = "dense"
  public var names: [String] { [Self.dense] + types.map { $0.information.name } }

  /// What is known of a method; `nil` for `dense`.
  public func information(_ name: String) throws -> MethodInformation? {
    try type(name)?.information
  }

  /// Makes a method.
  /// - Parameter options: as the user wrote them.
  /// - Returns: the method (`nil` for `dense`), and every option with the value in force.
  public func make(
    _ name: String, options: [String: String], context: MethodContext
  ) throws -> (method: (any AttentionMethod)?, resolved: [String: String]) {
    guard let type = try type(name) else {
      if let option = options.keys.sorted().first {
        throw AttentionError.unknownOption(method: name, option: option, known: [])
      }
      return (nil, [:])
    }
    var reader = try OptionReader(options, for: type.information)
    let method = try type.init(&reader, context: context)
    return (method, reader.resolved)
  }

  /// Makes what calibrates a method; throws where the method has no tables.
  public func makeCalibrator(
    _ name: String, options: [String: String], context: MethodContext, executor: any AttentionExecutor
  ) throws -> any AttentionCalibrator {
    guard let type = try type(name) else {
      throw AttentionError.unsuitable(method: name, reason: "it has no tables to calibrate")
    }
    var reader = try OptionReader(options, for: type.information, calibrating: true)
    guard let calibrator = try type.makeCalibrator(&reader, context: context, executor: executor) else {
      throw AttentionError.unsuitable(method: name, reason: "it has no tables to calibrate")
    }
    return calibrator
  }

  private func type(_ name: String) throws -> (any AttentionMethod.Type)? {
    if name == Self.dense { return nil }
    guard let type = types.first(where: { $0.information.name == name }) else {
      throw AttentionError.unknownMethod(name, known: names)
    }
    return type
  }
}
