import DiffusionPipelines

/// Shows a run's progress on standard error: one live line on a terminal, elsewhere a plain line a step.
struct ProgressPrinter {
  private let write: (String) -> Void
  private let isLive: Bool
  private let isQuiet: Bool
  private let now: () -> Double
  private var phase = ""
  private var phaseStart = 0.0
  private var lineIsOpen = false
  /// Share of query-key pairs kept so far in this phase, where there is something to say.
  var density: Double?
  /// What the live line begins with, such as `image 2/4: `.
  var prefix = ""

  init(_ environment: CommandEnvironment, isQuiet: Bool) {
    write = environment.writeError
    isLive = environment.errorIsTerminal
    now = environment.now
    self.isQuiet = isQuiet
  }

  /// Begins a phase.
  mutating func begin(_ name: String) {
    phase = name
    phaseStart = now()
    density = nil
    show(name)
  }

  /// Shows that step `index` of `count` is done.
  mutating func step(_ index: Int, of count: Int) {
    let elapsed = now() - phaseStart
    let pace = elapsed / Double(max(1, index))
    let left = pace * Double(max(0, count - index))
    let kept = density.map { " density \(fixed($0, 2))" } ?? ""
    show("\(phase) \(index)/\(count) [\(Self.clock(elapsed))<\(Self.clock(left)), \(Self.pace(pace))]\(kept)")
  }

  /// Prints a line that stays.
  mutating func line(_ text: String) {
    guard !isQuiet else { return }
    close()
    write(text + "\n")
  }

  /// Wipes the live line, so that what comes next begins at the margin.
  mutating func close() {
    if lineIsOpen { write("\r\u{1b}[K") }
    lineIsOpen = false
  }

  private mutating func show(_ text: String) {
    guard !isQuiet else { return }
    if isLive {
      write("\r\(prefix)\(text)\u{1b}[K")
      lineIsOpen = true
    } else {
      write("\(prefix)\(text)\n")
    }
  }

  /// Seconds as `03:10`, or `1:03:10` from an hour on.
  static func clock(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds < 1e9 else { return "--:--" }
    let whole = Int(max(0, seconds).rounded())
    func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
    let minutes = "\(two(whole / 60 % 60)):\(two(whole % 60))"
    return whole < 3600 ? minutes : "\(whole / 3600):\(minutes)"
  }

  /// Seconds a step, or steps a second where steps are short.
  static func pace(_ seconds: Double) -> String {
    guard seconds > 0 else { return "-- s/step" }
    return seconds >= 1 ? "\(fixed(seconds, 1)) s/step" : "\(fixed(1 / seconds, 1)) steps/s"
  }
}
