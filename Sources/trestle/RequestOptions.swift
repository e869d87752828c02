// `--prompt-tokens` and `--answer-tokens`: the requests that a placement is planned for.

import ArgumentParser
import Coordinator

/// The size of the requests that count.
struct RequestOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Plan for requests whose prompts have so many tokens. Default: 512 with --answer-tokens; without both options, the tokens of answers alone count.",
      valueName: "tokens"
    )
  )
  var promptTokens: Int?

  @Option(
    help: ArgumentHelp(
      "Plan for requests whose answers have so many tokens; 1 counts prompts alone. Default: 128 with --prompt-tokens.",
      valueName: "tokens"
    )
  )
  var answerTokens: Int?

  /// The requests; nil if neither option is given.
  var size: RequestSize? {
    guard promptTokens != nil || answerTokens != nil else { return nil }
    return RequestSize(
      promptTokens: promptTokens ?? RequestSize.usual.promptTokens,
      answerTokens: answerTokens ?? RequestSize.usual.answerTokens
    )
  }

  func validate() throws {
    for (name, tokens) in [("--prompt-tokens", promptTokens), ("--answer-tokens", answerTokens)] {
      guard let tokens, !(1...(1 << 20)).contains(tokens) else { continue }
      throw ValidationError(
        "\(name) \(tokens) is outside 1...1048576; leave it out if only the tokens of answers count."
      )
    }
  }
}
