// The command line: one binary, several roles. Each command has a file in Commands/.

import ArgumentParser
import Wire

@main
struct Trestle: ParsableCommand {
  static func main() {
    Scarcity.raiseDescriptorLimit()
    keepMemoryPrivate()
    main(nil)
  }

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

      PATH of a model is a .gguf file or a directory in Hugging Face layout (config.json,
      tokenizer.json, *.safetensors). Results go to stdout, the log to stderr.
      """,
    version: programVersion,
    subcommands: [
      UpCommand.self, RunCommand.self, StatusCommand.self, HealthCommand.self, TopCommand.self,
      RebalanceCommand.self, DrainCommand.self, BenchCommand.self, PerplexityCommand.self,
      LogitsCommand.self, TokenizeCommand.self,
      DetokenizeCommand.self, InspectCommand.self, DoctorCommand.self, CoordinateCommand.self,
      WorkCommand.self, PlanCommand.self, KeysCommand.self,
    ]
  )
}

/// The program's version; raised with each release.
let programVersion = "0.1.0"
