import ArgumentParser
import DiffusionPipelines
import Foundation
import Reports
import Sweeps

/// `sweep-attention report`: the page, tables and plots of a sweep, from its finished cells.
public struct ReportSweepCommand: EnvironmentCommand {
  public static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Write a sweep's report.html, results.csv, results.jsonl and plots anew from its finished cells.",
    discussion: "Exit codes: 0 done; 65 bad data; 66 input missing; 73 cannot write; 74 failed while writing.")

  @Argument(help: ArgumentHelp("The sweep's folder.", valueName: "folder"))
  var folder: String

  public init() {}

  public func run(in environment: CommandEnvironment) throws -> ExitStatus {
    let pages = try SweepPages(folder: SweepFolder(URL(fileURLWithPath: folder)), environment: environment).write()
    environment.writeError(pages.summary + "\n")
    environment.writeOutput(pages.report + "\n")
    return .done
  }
}

/// `sweep-attention compare`: two sweeps beside each other.
public struct CompareSweepsCommand: EnvironmentCommand {
  public static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Set two sweeps beside each other in one page.",
    discussion: "Exit codes: 0 done; 65 bad data; 66 input missing; 73 cannot write; 74 failed while writing.")

  @Argument(help: ArgumentHelp("Folder of the first sweep.", valueName: "folder"))
  var first: String

  @Argument(help: ArgumentHelp("Folder of the second.", valueName: "folder"))
  var second: String

  @Option(name: [.customShort("o"), .long], help: ArgumentHelp("(default: comparison.html)", valueName: "file.html"))
  var output = "comparison.html"

  public init() {}

  public func run(in environment: CommandEnvironment) throws -> ExitStatus {
    let sweeps = try [first, second].map { try SweepFolder(URL(fileURLWithPath: $0)).results() }
    try environment.proveWritable(output)
    try environment.writeFile(Array(ComparisonPage(sweeps[0], sweeps[1]).html().utf8), output)
    environment.writeOutput(output + "\n")
    return .done
  }
}
