/// One way to run a model in a sweep: everything that may differ from the dense reference, and the arithmetic and
/// sampling that both share.
public struct Variant: Sendable, Hashable, Codable {
  /// What plots and tables call the family, such as `draft` or `sliding-tile, calibrated`: variants of one family differ
  /// in density and are joined by a line.
  public var family: String
  /// The method with all options in force, as `--attention` takes it; `dense` for references.
  public var attention: String
  /// Share of query-key pairs asked for, where the options were solved for it.
  public var targetDensity: Double?
  public var denseSteps: Int?, denseLayers: Int?
  /// As `--kv-compression` takes it; `nil` leaves it to the checkpoint.
  public var kvCompression: String?
  public var dtype: String
  /// A scheduler in place of the folder's.
  public var scheduler: String?
  public var steps: Int
  /// What the variant is in the sweep for.
  public var role: Role

  public enum Role: String, Sendable, Codable {
    /// The reference: every pair kept.
    case dense
    /// A method under test.
    case method
    /// Blocks kept at random.
    case baseline
    /// A plan that keeps everything: must equal the reference to the last bit.
    case control
  }

  public init(
    family: String, attention: String, targetDensity: Double? = nil, denseSteps: Int? = nil, denseLayers: Int? = nil,
    kvCompression: String? = nil, dtype: String, scheduler: String? = nil, steps: Int, role: Role
  ) {
    (self.family, self.attention, self.targetDensity) = (family, attention, targetDensity)
    (self.denseSteps, self.denseLayers, self.kvCompression) = (denseSteps, denseLayers, kvCompression)
    (self.dtype, self.scheduler, self.steps, self.role) = (dtype, scheduler, steps, role)
  }
}
