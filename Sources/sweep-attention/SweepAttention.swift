import CommandSupport
import DiffusionPipelines
import Foundation

/// The program: flags and progress live in `CommandSupport`, the work in `DiffusionPipelines`.
@main
enum SweepAttention {
  static func main() {
    CommandEnvironment.takeOverProcess(unfinished: "finished cells are kept")
    let environment = CommandEnvironment.live { try makeGenerator($0, options: $1) }
    exit(SweepAttentionCommand.execute(environment: environment))
  }
}
