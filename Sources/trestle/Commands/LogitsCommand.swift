// `trestle logits`: the model's logits for given tokens, through a real pipeline of workers.

import ArgumentParser
import Client
import Gemma
import Launch
import Logging
import Wire

struct LogitsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logits",
    abstract: "Write the logits of given tokens to an .npy file.",
    discussion: """
      Runs the tokens through a pipeline of worker processes and writes an array of f32 with the \
      shape [tokens, vocabulary] in NumPy's format. The model needs no tokenizer.
      """
  )

  @Option(help: ArgumentHelp(ModelName.help, valueName: "model"))
  var model: ModelName

  @Option(help: ArgumentHelp("Token ids, for example 2,106,1645.", valueName: "ids"))
  var tokens: String

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "The file to write. A link, pipe or device is written into, not replaced.",
      valueName: "file"
    )
  )
  var output: String

  @OptionGroup var pipeline: PipelineOptions
  @OptionGroup var log: LogOptions

  func run() throws {
    try reportingFailures {
      let interrupt = try signalDescriptor()
      let ids = try parseTokens(tokens)
      let pipeline = try Pipeline(
        model: model.path(interruptedBy: interrupt),
        pipeline.settings,
        in: .program,
        interruptedBy: interrupt
      )
      let vocabularySize = pipeline.checkpoint.config.vocabularySize
      var file = try NPYWriter(path: output, rows: ids.count, columns: vocabularySize)
      let own = try PrivatePipeline(
        pipeline,
        logger: log.logger("trestle.coordinator", default: .warning),
        interruptedBy: interrupt
      )
      defer { own.stop() }
      let client = try own.connect()
      defer { client.close() }
      let evaluation = client.evaluate(ids, .logits)
      let waiter = try Waiter(interruptedBy: interrupt)
      while let part = try waiter.wait(for: { try await evaluation.next() }) {
        guard let logits = part.logits(vocabularySize: vocabularySize) else {
          throw CommandError(
            "the coordinator's answer lacks the \(part.rowCount) rows of logits from position \(part.firstPosition) on"
          )
        }
        try file.append(logits)
      }
      try file.close()
    }
  }
}

/// Parses a list of token ids such as `2,106,1645`.
func parseTokens(_ text: String) throws -> [Int32] {
  try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
    guard let token = Int32(part.filter { !$0.isWhitespace }), token >= 0 else {
      throw CommandError("--tokens: \"\(part)\" is not a token id; give ids as 2,106,1645")
    }
    return token
  }
}
