import CommandSupport
import DiffusionPipelines
import Foundation

/// The program: flags and progress live in `CommandSupport`, the work in `DiffusionPipelines`.
@main
enum GenerateImage {
  static func main() {
    let environment = CommandEnvironment.live { try makeGenerator($0, options: $1) }
    CommandEnvironment.listenForStop(unfinished: "what was done is saved")
    exit(GenerateImageCommand.execute(environment: environment))
  }
}
