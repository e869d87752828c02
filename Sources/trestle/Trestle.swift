// The command line: one binary, several roles. Each command has a file in Commands/.

import ArgumentParser
import CLinux
import Glibc
import Platform
import Wire

@main
struct Trestle: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trestle",
    abstract: "Runs a Gemma model as a pipeline of worker processes.",
    discussion: """
      Start a pipeline and ask it something:

        trestle up --model demo-model --devices cpu,cpu,cpu --split 10,10,10
        trestle run "To be, or not to be"        (in another terminal)
        trestle status

      Or both at once, for a single prompt:

        trestle run --model demo-model "To be, or not to be"

      PATH of a model is a .gguf file or a directory in Hugging Face layout (config.json, \
      tokenizer.json, *.safetensors). Results go to stdout, the log to stderr.
      """,
    version: programVersion,
    subcommands: [
      UpCommand.self, RunCommand.self, StatusCommand.self, HealthCommand.self, TopCommand.self,
      RebalanceCommand.self, DrainCommand.self, BenchCommand.self, PerplexityCommand.self,
      PullCommand.self, ModelsCommand.self, RemoveCommand.self,
      QuantizeCommand.self, CalibrateCommand.self, CompareCommand.self,
      LogitsCommand.self, TokenizeCommand.self,
      DetokenizeCommand.self, InspectCommand.self, DoctorCommand.self, CoordinateCommand.self,
      ServeCommand.self,
      WorkCommand.self, PlanCommand.self, KeysCommand.self, ShaderStatisticsCommand.self,
    ]
  )

  static func main() {
    clinux_settle()
    Scarcity.raiseDescriptorLimit()
    keepMemoryPrivate()
    let status = run(arguments)
    StandardError.flush()
    Glibc.exit(status)
  }

  /// The arguments after the program's name.
  private static var arguments: [String] {
    (0..<clinux_argument_count()).dropFirst().map { index in
      unsafe String(cString: clinux_argument(index))
    }
  }

  /// Runs the command that the arguments name, and returns its exit status.
  ///
  /// The texts of argument-parser are written like all other output, so help that cannot be written
  /// is a failure, too.
  private static func run(_ arguments: [String]) -> CInt {
    do {
      var command = try parseAsRoot(arguments)
      try command.run()
      return EXIT_SUCCESS
    } catch {
      let status = exitCode(for: error).rawValue
      let text = fullMessage(for: error)
      guard !text.isEmpty else { return status }
      guard status == EXIT_SUCCESS else {
        StandardError.write(text + "\n")
        return status
      }
      return show(text)
    }
  }

  /// Writes a text to stdout and returns the exit status.
  private static func show(_ text: String) -> CInt {
    do {
      try reportingFailures { try printOut(text) }
      return EXIT_SUCCESS
    } catch {
      return exitCode(for: error).rawValue
    }
  }
}

/// The program's version; raised with each release.
let programVersion = "0.1.0"
