// `trestle tokenize` and `trestle detokenize`: text to token ids and back.

import ArgumentParser
import Gemma

struct TokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "Turn text into token ids."
  )

  @Option(help: ArgumentHelp(ModelName.help, valueName: "model"))
  var model: ModelName

  @Argument(help: ArgumentHelp("The text; - reads it from stdin.", valueName: "text"))
  var text: String

  @Flag(help: "Parse special tokens such as <start_of_turn> in the text.")
  var special = false

  @Flag(help: "Print one JSON document.")
  var json = false

  func run() throws {
    try reportingFailures {
      let tokenizer = try Tokenizer.load(for: model.path())
      let text = text == "-" ? try readStandardInput() : text
      let tokens = tokenizer.encode(text, addBOS: true, parseSpecial: special)
      try printOut(
        json
          ? try trestle.json(["tokens": tokens])
          : tokens.map(String.init).joined(separator: ",")
      )
    }
  }
}

struct DetokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "detokenize",
    abstract: "Turn token ids into text."
  )

  @Option(help: ArgumentHelp(ModelName.help, valueName: "model"))
  var model: ModelName

  @Option(help: ArgumentHelp("Token ids, for example 2,106,1645.", valueName: "ids"))
  var tokens: String

  @Flag(help: "Show special tokens such as <bos> too.")
  var special = false

  @Flag(help: "Print one JSON document.")
  var json = false

  func run() throws {
    try reportingFailures {
      let ids = try parseTokens(tokens)
      let tokenizer = try Tokenizer.load(for: model.path())
      let text = try tokenizer.decode(ids, skipSpecial: !special)
      try printOut(json ? try trestle.json(["text": text]) : text)
    }
  }
}
