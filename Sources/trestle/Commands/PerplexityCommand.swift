// `trestle perplexity`: how well the model predicts a text.

import ArgumentParser
import Client
import Foundation
import Gemma
import Launch
import Logging
import Wire

struct PerplexityCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "perplexity",
    abstract: "Measure a model's perplexity on a text file.",
    discussion: """
      Takes non-overlapping windows of --context tokens, replaces the first token of each with the \
      beginning-of-sequence token, and scores the second half, as llama-perplexity does. Tokens \
      after the last whole window are left out.
      """
  )

  @Option(help: ArgumentHelp(ModelName.help, valueName: "model"))
  var model: ModelName

  @Option(help: ArgumentHelp("A text file in UTF-8.", valueName: "text"))
  var file: String

  @Flag(help: "Print one JSON document.")
  var json = false

  @OptionGroup var pipeline: PipelineOptions
  @OptionGroup var log: LogOptions

  func validate() throws { try validateWindow(pipeline.context) }

  func run() throws {
    try reportingFailures {
      let interrupt = try signalDescriptor()
      let window = pipeline.context ?? 512
      let text = try readText(file)
      var options = pipeline
      options.context = window
      let pipeline = try Pipeline(
        model: model.path(interruptedBy: interrupt),
        options.settings,
        in: .program,
        interruptedBy: interrupt
      )
      let tokenizer = try pipeline.checkpoint.tokenizer()
      let tokens = tokenizer.encode(text, addBOS: true, parseSpecial: false)
      guard tokens.count >= window else {
        throw CommandError(
          "\(file) has \(tokens.count) tokens, but a window needs \(window); "
            + "give a longer text or a smaller --context"
        )
      }
      let own = try PrivatePipeline(
        pipeline,
        logger: log.logger("trestle.coordinator", default: .warning),
        interruptedBy: interrupt
      )
      defer { own.stop() }
      let client = try own.connect()
      defer { client.close() }
      let result = try measure(
        tokens,
        window: window,
        bos: pipeline.checkpoint.config.bosToken,
        client,
        Waiter(interruptedBy: interrupt)
      )
      try printOut(
        json
          ? try trestle.json(result)
          : "perplexity \(decimal(result.perplexity, 4)) over \(result.scoredTokens) tokens "
            + "in \(result.windows) windows of \(window)"
      )
    }
  }

  private func measure(
    _ tokens: [Int32],
    window: Int,
    bos: Int32,
    _ client: CoordinatorClient,
    _ waiter: Waiter
  ) throws -> PerplexityDocument {
    let windows = tokens.count / window
    let progress = ProgressLine(label: "windows")
    defer { progress.clear() }
    var sum = 0.0
    var count = 0
    for index in 0..<windows {
      let part = [bos] + tokens[(index * window + 1)..<((index + 1) * window)]
      // The logits from `window / 2` on predict the tokens one position later.
      let scores = try waiter.wait { try await client.scores(of: part, from: window / 2 + 1) }
      sum -= scores.reduce(0, +)
      count += scores.count
      progress.show(Double(index + 1) / Double(windows))
    }
    return PerplexityDocument(
      perplexity: exp(sum / Double(count)),
      negativeLogLikelihood: sum / Double(count),
      scoredTokens: count,
      windows: windows,
      context: window
    )
  }
}

/// What `perplexity --json` prints.
struct PerplexityDocument: Encodable {
  var perplexity: Double
  /// The mean negative log likelihood of the scored tokens, in nats.
  var negativeLogLikelihood: Double
  var scoredTokens: Int
  var windows: Int
  var context: Int
}
