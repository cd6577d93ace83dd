import CommandSupport
import DiffusionPipelines
import Foundation

/// The program: everything but the pipeline's construction lives in `CommandSupport`.
@main
enum GenerateImage {
  static func main() {
    let environment = CommandEnvironment.live { folder, _ in
      throw PipelineError.unsupported(path: folder.path, what: "generation with \(folder.kind.rawValue)", known: [])
    }
    CommandEnvironment.listenForStop()
    exit(GenerateImageCommand.execute(Array(CommandLine.arguments.dropFirst()), environment: environment))
  }
}
