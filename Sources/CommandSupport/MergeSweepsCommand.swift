import ArgumentParser
import DiffusionPipelines
import Foundation
import Sweeps

/// `sweep-attention merge`: the parts of a sweep in one folder.
public struct MergeSweepsCommand: EnvironmentCommand {
  public static let configuration = CommandConfiguration(
    commandName: "merge",
    abstract: "Put the parts of a sweep, made with --shard, into one folder.",
    discussion: """
      Finished cells of all parts are copied; what the folder has already stays. Parts of another pipeline, size or \
      model are refused before anything is copied.

      Exit codes: 0 done; 64 usage; 65 bad data; 66 input missing; 73 cannot write.
      """)

  @Argument(help: ArgumentHelp("Folders of the parts.", valueName: "folder"))
  var parts: [String]

  @Option(name: [.customShort("o"), .long], help: ArgumentHelp("Folder for the whole.", valueName: "folder"))
  var output: String

  public init() {}

  public func run(in environment: CommandEnvironment) throws -> ExitStatus {
    let results = try parts.map { try SweepFolder(URL(fileURLWithPath: $0)).results() }
    let whole = SweepFolder(URL(fileURLWithPath: output))
    try environment.proveWritable(whole.url.appendingPathComponent("sweep.json").path)
    for part in results { try whole.check(part.header, against: results[0].header) }
    try whole.begin(results[0].header)
    var copied = 0
    for part in results {
      for cell in part.cells { copied += try whole.copy(cell, from: part.folder) ? 1 : 0 }
    }
    environment.writeError("\(copied) cells copied\n")
    environment.writeOutput(try SweepPages(folder: whole, environment: environment).write().report + "\n")
    return .done
  }
}
