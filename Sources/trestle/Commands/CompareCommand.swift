// `trestle compare`: what separates a model from another that stands for it, token by token.

import ArgumentParser
import Client
import Foundation
import Gemma
import Launch
import Logging
import Platform
import Quantization
import Wire

struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Measure how far a model's predictions are from those of another.",
    discussion: """
      Runs a text through both models, each in a pipeline of its own, and compares the distributions of \
      the next token: the divergence of Kullback and Leibler in nats, as a mean, its 99th percentile and its \
      maximum, and how often the likeliest token is the same. The first model is the one that is right, \
      for example the source of a quantised one.

      The text is cut into windows of --context tokens, each with the beginning-of-sequence token in the \
      place of its first. All tokens are compared; the perplexities are those of the second halves, as \
      `trestle perplexity` gives them.

      EXAMPLE: trestle compare gemma-3-270m.gguf smaller.gguf --text book.txt
      """
  )

  @Argument(
    help: ArgumentHelp("The model that is right: a path, or a name on a hub.", valueName: "a")
  )
  var reference: ModelName

  @Argument(help: ArgumentHelp("The model that is compared with it.", valueName: "b"))
  var other: ModelName

  @Option(help: ArgumentHelp("A text file in UTF-8.", valueName: "file"))
  var text: String

  @OptionGroup var windows: WindowOptions

  @Option(help: ArgumentHelp("Show the tokens that differ most, so many.", valueName: "count"))
  var worst = 5

  @Flag(help: "Print one JSON document.")
  var json = false

  @OptionGroup var pipeline: PipelineOptions
  @OptionGroup var log: LogOptions

  func validate() throws {
    try validateWindow(pipeline.context)
    guard (0...1000).contains(worst) else {
      throw ValidationError("--worst \(worst) is outside 0...1000.")
    }
  }

  func run() throws {
    try reportingFailures {
      let interrupt = try signalDescriptor()
      let content = try readText(text)
      var options = pipeline
      options.context = pipeline.context ?? 512
      let pipelines = try [reference, other].map { model in
        try Pipeline(
          model: model.path(interruptedBy: interrupt),
          options.settings,
          in: .program,
          interruptedBy: interrupt
        )
      }
      let comparison = try TextComparison(
        content,
        of: text,
        pipelines[0].checkpoint,
        pipelines[1].checkpoint,
        window: options.context ?? 512,
        mostWindows: windows.windows
      )
      let logger = log.logger("trestle.coordinator", default: .warning)
      var running: [PrivatePipeline] = []
      defer { for pipeline in running { pipeline.stop() } }
      for pipeline in pipelines {
        running.append(try PrivatePipeline(pipeline, logger: logger, interruptedBy: interrupt))
      }
      let clients = try running.map { try $0.connect() }
      defer { for client in clients { client.close() } }
      let waiter = try Waiter(interruptedBy: interrupt)
      let progress = ProgressLine(label: "comparing", tellsRemaining: true)
      defer { progress.clear() }
      var summary = DivergenceSummary(keepingWorst: worst)
      for window in 0..<comparison.windowCount {
        try comparison.compare(window, clients[0], clients[1], into: &summary, waiter)
        progress.show(Double(window + 1) / Double(comparison.windowCount))
      }
      progress.clear()
      let document = try comparison.document(summary)
      try printOut(json ? try trestle.json(document) : document.description)
    }
  }
}

/// A text that runs through two models.
struct TextComparison {
  private let tokens: [Int32]
  private let tokenizer: Tokenizer
  private let bos: Int32
  private let window: Int
  private let byteCounts: (reference: Int, other: Int)
  let windowCount: Int

  /// - Parameters:
  ///   - text: The text.
  ///   - path: Its file, for errors.
  ///   - reference: The model that is right.
  ///   - other: The model that is compared with it.
  ///   - window: The tokens of a window.
  ///   - mostWindows: The most windows that are compared; nil for all.
  /// - Throws: What is wrong with the text, or why the two models cannot be compared.
  init(
    _ text: String,
    of path: String,
    _ reference: Checkpoint,
    _ other: Checkpoint,
    window: Int,
    mostWindows: Int?
  ) throws {
    let sizes = (reference.config.vocabularySize, other.config.vocabularySize)
    guard sizes.0 == sizes.1 else {
      throw CommandError(
        "\(reference.path) has a vocabulary of \(sizes.0) tokens and \(other.path) one of \(sizes.1);"
          + " only models with the same tokens can be compared"
      )
    }
    tokenizer = try reference.tokenizer()
    tokens = tokenizer.encode(text, addBOS: true, parseSpecial: false)
    guard try other.tokenizer().encode(text, addBOS: true, parseSpecial: false) == tokens else {
      throw CommandError(
        "\(reference.path) and \(other.path) make different tokens of \(path);"
          + " only models with the same tokenizer can be compared"
      )
    }
    guard tokens.count >= window else {
      throw CommandError(
        "\(path) has \(tokens.count) tokens, but a window needs \(window); "
          + "give a longer text or a smaller --context"
      )
    }
    bos = reference.config.bosToken
    self.window = window
    byteCounts = (reference.totalByteCount, other.totalByteCount)
    windowCount = min(mostWindows ?? .max, tokens.count / window)
  }

  /// Compares one window.
  ///
  /// The logits of both come in parts, of which only the current ones are held.
  func compare(
    _ index: Int,
    _ reference: CoordinatorClient,
    _ other: CoordinatorClient,
    into summary: inout DivergenceSummary,
    _ waiter: Waiter
  ) throws {
    let start = index * window
    let part = [bos] + tokens[(start + 1)..<(start + window)]
    var rows = [reference, other].map { client in
      LogitRows(client.evaluate(part, .logits), waiter)
    }
    for position in 0..<window {
      let (a, b) = (try rows[0].next(), try rows[1].next())
      // The next window's first token is not this one's successor: a beginning stands in its place.
      var next: (Float, Float)?
      if position >= window / 2, position + 1 < window {
        let token = Int(part[position + 1])
        next = (a[a.startIndex + token], b[b.startIndex + token])
      }
      summary.add(LogitDivergence(of: b, from: a), position: start + position, next: next)
    }
  }

  /// Returns the numbers as they are printed.
  func document(_ summary: DivergenceSummary) throws -> ComparisonDocument {
    let perplexities = summary.perplexities ?? (0, 0)
    return ComparisonDocument(
      klMean: summary.mean,
      klStandardError: summary.standardError,
      klP99: summary.quantile(0.99),
      klMax: summary.highest,
      top1Agreement: summary.topAgreement,
      perplexityA: perplexities.reference,
      perplexityB: perplexities.other,
      bytesA: byteCounts.reference,
      bytesB: byteCounts.other,
      tokens: summary.rowCount,
      context: window,
      worst: try summary.worst.map { row in
        // A window's first token is replaced by the beginning.
        let isFirst = row.position.isMultiple(of: window)
        let windowStart = row.position - row.position % window
        let before = tokens[
          max(windowStart + 1, row.position - 15)..<max(windowStart + 1, row.position + 1)
        ]
        return ComparisonDocument.Token(
          position: row.position,
          kl: row.klDivergence,
          context: isFirst ? "" : try tokenizer.decode(Array(before), skipSpecial: false),
          next: row.position + 1 < tokens.count
            ? try tokenizer.decode([tokens[row.position + 1]], skipSpecial: false) : ""
        )
      }
    )
  }
}

/// Gives the logits of an evaluation row by row.
private struct LogitRows {
  private let evaluation: Evaluation
  private let waiter: Waiter
  private var rows: ArraySlice<ArraySlice<Float>> = []

  init(_ evaluation: Evaluation, _ waiter: Waiter) {
    self.evaluation = evaluation
    self.waiter = waiter
  }

  mutating func next() throws -> ArraySlice<Float> {
    while rows.isEmpty {
      let evaluation = evaluation
      guard let part = try waiter.wait(for: { try await evaluation.next() }) else {
        throw CommandError("the coordinator's answer lacks logits of some of the tokens")
      }
      rows = part.rows[...]
    }
    return rows.removeFirst()
  }
}

/// What `compare --json` prints.
struct ComparisonDocument: Encodable, CustomStringConvertible {
  /// A token behind which the two differ.
  struct Token: Encodable {
    /// Its index in the text's tokens, from 0.
    var position: Int
    var kl: Double
    /// The text up to this token.
    var context: String
    /// The token that follows in the text.
    var next: String
  }

  var klMean: Double
  /// Of the mean, as if tokens were independent.
  var klStandardError: Double
  var klP99: Double
  var klMax: Double
  var top1Agreement: Double
  var perplexityA: Double
  var perplexityB: Double
  /// The bytes of the weights in use.
  var bytesA: Int
  var bytesB: Int
  /// How many were compared.
  var tokens: Int
  var context: Int
  /// The tokens that differ most, the worst first.
  var worst: [Token]

  private var ratio: String {
    bytesA == bytesB ? "" : ": \(sizeRatio(from: bytesA, to: bytesB))"
  }

  var description: String {
    let lines = [
      "divergence   mean \(decimal(klMean, 6)) ± \(decimal(klStandardError, 6)) nats, 99 % below"
        + " \(decimal(klP99, 4)), at most \(decimal(klMax, 4))",
      "likeliest    the same for \(decimal(top1Agreement * 100, 2)) % of \(tokens) tokens in windows of \(context)",
      "perplexity   \(decimal(perplexityA, 4)) and \(decimal(perplexityB, 4))",
      "weights      \(describe(bytes: UInt64(bytesA))) and \(describe(bytes: UInt64(bytesB)))\(ratio)",
    ]
    guard let first = worst.first, first.kl > 1e-6 else { return lines.joined(separator: "\n") }
    let rows = worst.map { token in
      [decimal(token.kl, 4), "\(token.position)", "…\(token.context.suffix(60))", token.next]
    }
    return (lines + ["", table(["kl", "token", "behind", "next in the text"], rows)])
      .joined(separator: "\n")
  }
}
