import CommandSupport
import DiffusionPipelines
import Foundation

/// The program: flags and progress live in `CommandSupport`, the work in `DiffusionPipelines`.
@main
enum GenerateVideo {
  static func main() {
    CommandEnvironment.takeOverProcess(unfinished: "what was done is saved")
    let environment = CommandEnvironment.live { try makeGenerator($0, options: $1) }
    exit(GenerateVideoCommand.execute(environment: environment))
  }
}
