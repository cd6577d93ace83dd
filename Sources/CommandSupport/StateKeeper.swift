import DiffusionPipelines
import Foundation

/// Keeps the saved state of one run beside its output: every so many seconds, and when the run ends early.
struct StateKeeper {
  let path: String
  /// Where the latest one was saved.
  private(set) var savedPath: String
  /// Seconds between saves; 0 saves after every step.
  let interval: Double
  let environment: CommandEnvironment
  private var latest: RunState?
  private var savedSteps: Int?
  private var lastSave: Double
  private var hasFailed = false

  init(_ result: PlannedResult, every interval: Double, environment: CommandEnvironment) {
    (path, self.interval, self.environment) = (result.beside("state", "safetensors"), interval, environment)
    savedPath = path
    lastSave = environment.now()
  }

  var exists: Bool { FileManager.default.fileExists(atPath: path) }

  /// The saved state, where there is one.
  func read() throws -> RunState? {
    exists ? try RunState(contentsOf: URL(fileURLWithPath: path)) : nil
  }

  /// Takes the state after a step, and saves it when it is time. A run goes on where that fails.
  /// - Returns: what went wrong, once until it goes well again.
  mutating func take(_ state: RunState) -> String? {
    latest = state
    guard environment.now() - lastSave >= interval else { return nil }
    do {
      try save()
      hasFailed = false
    } catch {
      lastSave = environment.now()
      defer { hasFailed = true }
      return hasFailed ? nil : "the state cannot be saved: \(errorLine(for: error))"
    }
    return nil
  }

  /// Saves the latest state, unless it is saved already.
  /// - Returns: the steps that are safe; `nil` where there are none.
  @discardableResult
  mutating func save() throws -> Int? { try save(at: path) }

  /// Saves the latest state, where the system keeps temporary files if it cannot be written where it belongs.
  /// - Returns: the steps that are safe; `nil` where there are none.
  mutating func saveSomewhere() throws -> Int? {
    do {
      return try save()
    } catch {
      let name = "tessera-rescued-\((path as NSString).lastPathComponent)"
      let rescue = FileManager.default.temporaryDirectory.appendingPathComponent(name).path
      guard let steps = try? save(at: rescue) else { throw error }
      return steps
    }
  }

  private mutating func save(at path: String) throws -> Int? {
    guard let latest, latest.steps != savedSteps else { return savedSteps }
    try environment.writeFile(latest.bytes(), path)
    (savedSteps, savedPath, lastSave) = (latest.steps, path, environment.now())
    return savedSteps
  }

  /// Deletes the state of a run that is complete.
  func remove() { try? FileManager.default.removeItem(atPath: path) }
}
