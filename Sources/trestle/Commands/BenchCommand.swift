// `trestle bench`: prefill and decode rates of a pipeline, and how busy its stages are.

import ArgumentParser
import Client
import Compute
import Coordinator
import Gemma
import Launch
import Logging
import Wire

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure a pipeline, or the kernels one by one.",
    discussion:
      "`trestle bench --model PATH` measures a pipeline: see `trestle bench pipeline --help`.",
    subcommands: [BenchPipelineCommand.self, BenchKernelsCommand.self],
    defaultSubcommand: BenchPipelineCommand.self
  )
}

struct BenchPipelineCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pipeline",
    abstract: "Measure a pipeline's prefill and decode rates.",
    discussion: """
      For each number of streams, that many prompts run at once, which gives the prefill rate; the \
      first ones warm the pipeline up and are not counted. Then as many streams decode concurrently, \
      which gives the decode rate while all of them run. Rates are summed over the streams, and the \
      median of the repeats is shown. A stage is busy while it computes; the rest of its time is bubble. \
      With --arriving-prompt a long prompt is submitted while the streams decode, and the times between \
      their tokens show how much it delays them.
      """
  )

  @Option(help: ArgumentHelp(ModelName.help, valueName: "model"))
  var model: ModelName

  @Option(help: ArgumentHelp("Tokens of each prompt.", valueName: "tokens"))
  var promptTokens = 512

  @Option(help: ArgumentHelp("Tokens that each stream decodes.", valueName: "tokens"))
  var decodeTokens = 64

  @Option(
    help: ArgumentHelp("Numbers of streams to measure, for example 1,4.", valueName: "counts")
  )
  var streams: NumberList = NumberList([1, 4])

  @Option(help: ArgumentHelp("How often to measure each number of streams.", valueName: "times"))
  var `repeat` = 3

  @Option(
    help: ArgumentHelp(
      "Submit a prompt of this many tokens while the streams decode.",
      valueName: "tokens"
    )
  )
  var arrivingPrompt: Int?

  @Flag(help: "Print one JSON document.")
  var json = false

  @OptionGroup var pipeline: PipelineOptions
  @OptionGroup var log: LogOptions

  func validate() throws {
    guard promptTokens > 0, decodeTokens > 1, `repeat` > 0 else {
      throw ValidationError(
        "--prompt-tokens and --repeat need at least 1, --decode-tokens at least 2."
      )
    }
    guard arrivingPrompt ?? 1 > 0 else {
      throw ValidationError("--arriving-prompt needs at least 1.")
    }
    guard streams.values.allSatisfy({ (1...256).contains($0) }) else {
      throw ValidationError("--streams: give counts from 1 to 256.")
    }
  }

  func run() throws {
    try reportingFailures {
      let interrupt = try signalDescriptor()
      var options = pipeline
      // One slot more, for the arriving prompt.
      options.slots = max(options.slots, (streams.values.max() ?? 1) + 1)
      let pipeline = try Pipeline(
        model: model.path(interruptedBy: interrupt),
        options.settings,
        in: .program,
        interruptedBy: interrupt
      )
      let needed = max(promptTokens + decodeTokens, (arrivingPrompt ?? 0) + 1)
      guard needed <= pipeline.limits.contextTokens else {
        throw CommandError(
          "\(needed) tokens per stream do not fit into the context of \(pipeline.limits.contextTokens); "
            + "raise --context"
        )
      }
      let own = try PrivatePipeline(
        pipeline,
        logger: log.logger("trestle.coordinator", default: .warning),
        interruptedBy: interrupt
      )
      defer { own.stop() }
      let waiter = try Waiter(interruptedBy: interrupt)
      let client = try own.connect()
      defer { client.close() }
      let bench = Bench(
        client: client,
        vocabularySize: pipeline.checkpoint.config.vocabularySize,
        promptTokens: promptTokens,
        decodeTokens: decodeTokens
      )
      // Warms up the page cache and the workers.
      _ = try waiter.wait { try await bench.prefill(streams: 1) }
      let results = try streams.values.map { try measure($0, bench, waiter) }
      let document = BenchDocument(
        model: pipeline.checkpoint.name,
        placement: try waiter.wait { try await bench.placement() },
        results: results,
        skipped: try waiter.wait { try await bench.skipped() }
      )
      try printOut(json ? try trestle.json(document) : document.description)
    }
  }

  private func measure(
    _ count: Int,
    _ bench: Bench,
    _ waiter: Waiter
  ) throws -> BenchDocument.Result {
    let decode = { try waiter.wait { try await bench.decode(streams: count) } }
    let prefill = { try waiter.wait { try await bench.prefill(streams: count) } }
    // During this run the coordinator finds the best number of micro-batches for this many streams.
    if count > 1 { _ = try decode() }
    // The first prompt pays for memory that is touched for the first time, and is not counted.
    _ = try prefill()
    let prefills = try (0..<`repeat`).map { _ in try prefill() }.sorted()
    let decodes = try (0..<`repeat`).map { _ in try decode() }
      .sorted { $0.rate < $1.rate }
    let median = decodes[decodes.count / 2]
    return BenchDocument.Result(
      streams: count,
      prefillTokensPerSecond: prefills[prefills.count / 2],
      decodeTokensPerSecond: median.rate,
      stages: median.stages,
      interToken: median.interToken,
      arrival: try arrivingPrompt.map { prompt in
        try waiter.wait { try await bench.arrival(of: prompt, besideStreams: count) }
      }
    )
  }
}

/// What `bench --json` prints.
struct BenchDocument: Encodable, CustomStringConvertible {
  struct Result: Encodable {
    var streams: Int
    var prefillTokensPerSecond: Double
    var decodeTokensPerSecond: Double
    var stages: [StageShare]
    var interToken: TokenGaps
    /// Absent without --arriving-prompt.
    var arrival: ArrivalResult?
  }

  var model: String
  var placement: [PlacementRow]
  var results: [Result]
  /// Since the workers' start.
  var skipped: [SkippedRows]

  var description: String {
    let line = ModelLine(covering: placement.map(\.slice))
    let stages = placement.map { stage in
      "\(stage.worker)\(stage.emulated ? " (emulated)" : "") \(line.text(stage.slice))"
    }
    let rows = results.map { result in
      [
        "\(result.streams)", decimal(result.prefillTokensPerSecond, 1),
        decimal(result.decodeTokensPerSecond, 1),
        "\(decimal(result.interToken.p50Ms, 1)) \(decimal(result.interToken.p99Ms, 1))",
        result.stages.map { "\(Int($0.busy * 100)) %" }.joined(separator: " "),
      ]
    }
    var text = "\(model.printable): \(stages.joined(separator: ", "))\n"
    text += table(
      ["streams", "prefill tokens/s", "decode tokens/s", "ms between p50 p99", "busy by stage"],
      rows
    )
    for result in results {
      guard let arrival = result.arrival else { continue }
      text +=
        "\n\(result.streams) streams while a prompt of \(arrival.promptTokens) tokens was read: "
      text += "p50 \(decimal(arrival.interToken.p50Ms, 1)), "
      text += "p99 \(decimal(arrival.interToken.p99Ms, 1)) ms between tokens; "
      text += "its first token after \(decimal(arrival.firstTokenMs, 1)) ms"
    }
    let spared = skipped.filter { $0.skippedLayerRows > 0 }.map { worker in
      "\(worker.worker) \(decimal(worker.share * 100, 1)) %"
    }
    if !spared.isEmpty {
      text +=
        "\nrows of layers skipped because their output is not wanted: \(spared.joined(separator: ", "))"
    }
    return text
  }
}
