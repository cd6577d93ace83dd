import ArgumentParser
import DiffusionPipelines
import Foundation

/// A command that touches the outside world through its environment alone.
public protocol EnvironmentCommand: ParsableCommand {
  func run(in environment: CommandEnvironment) throws -> ExitStatus
  /// What becomes of unfinished work when the user stops a run; `nil` says nothing.
  var stoppedNote: String? { get }
}

extension EnvironmentCommand {
  public var stoppedNote: String? { nil }

  /// Runs the process's own arguments.
  /// - Returns: the process's exit code.
  public static func execute(environment: CommandEnvironment) -> Int32 {
    do {
      try ProcessorTraits.checkLimit()
      return execute(try ArgumentsDoor.arguments(), environment: environment)
    } catch {
      environment.report(error)
      return exitStatus(for: error).rawValue
    }
  }

  /// Parses and runs this command or a subcommand; never throws.
  /// - Parameter arguments: without the program's name.
  /// - Returns: the process's exit code.
  public static func execute(_ arguments: [String], environment: CommandEnvironment) -> Int32 {
    let command: any ParsableCommand
    do {
      command = try parseAsRoot(arguments)
    } catch {
      return report(parsing: error, in: environment)
    }
    guard let command = command as? any EnvironmentCommand else {
      // `help` itself, which prints by throwing.
      var help = command
      do { try help.run() } catch { return report(parsing: error, in: environment) }
      return ExitStatus.done.rawValue
    }
    do {
      return try command.run(in: environment).rawValue
    } catch let stop as GenerationStopped {
      if let note = command.stoppedNote { environment.writeError("\(stop); \(note)\n") }
      return ExitStatus.stopped.rawValue
    } catch {
      environment.report(error)
      return CommandSupport.exitCode(for: error)
    }
  }

  /// Prints help and version, which come as errors, or what is wrong with the arguments.
  private static func report(parsing error: any Error, in environment: CommandEnvironment) -> Int32 {
    guard exitCode(for: error) != ArgumentParser.ExitCode.success else {
      environment.writeOutput(fullMessage(for: error) + "\n")
      return ExitStatus.done.rawValue
    }
    environment.report(CommandError.usage(message(for: error)))
    return ExitStatus.usage.rawValue
  }
}
