// Options that several commands share.

import ArgumentParser
import Compute
import Coordinator
import Glibc
import Launch
import Logging
import Platform
import Wire

/// `--endpoint`.
struct EndpointOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The coordinator's endpoint: ipc:///path, or tcp://host:port.",
      valueName: "endpoint"
    )
  )
  var endpoint: String?

  func resolve() throws -> Endpoint {
    guard let endpoint else { return try Endpoint(Self.standard) }
    return try Endpoint(endpoint)
  }

  /// The default endpoint of a user's pipeline, the same for `up` and every client.
  static var standard: String {
    if let directory = environmentPath("XDG_RUNTIME_DIR") {
      return "ipc://\(directory)/trestle/front"
    }
    return "ipc:///tmp/trestle-\(getuid())/front"
  }
}

/// A list of numbers such as `10,10,10`.
struct NumberList: ExpressibleByArgument, CustomStringConvertible {
  var values: [Int]

  var description: String { values.map(String.init).joined(separator: ",") }

  init(_ values: [Int]) { self.values = values }

  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    let numbers = parts.compactMap { Int($0) }
    guard numbers.count == parts.count, !numbers.isEmpty, numbers.allSatisfy({ $0 >= 0 })
    else { return nil }
    values = numbers
  }
}

/// A range of layers or rows such as `0..<10`.
struct IndexRange: ExpressibleByArgument, CustomStringConvertible {
  var range: Range<Int>

  init?(argument: String) {
    let parts = argument.components(separatedBy: "..<")
    guard parts.count == 2, let first = Int(parts[0]), let end = Int(parts[1]), first >= 0,
      first <= end
    else { return nil }
    range = first..<end
  }

  var description: String { "\(range.lowerBound)..<\(range.upperBound)" }
}

extension String {
  /// Splits at each occurrence of a separator.
  fileprivate func components(separatedBy separator: String) -> [String] {
    split(separator: separator, omittingEmptySubsequences: false).map(String.init)
  }
}

extension CacheType: ExpressibleByArgument {}
extension PrefixSharing: ExpressibleByArgument {}

/// `--kv-cache`.
struct CacheOptions: ParsableArguments {
  @Option(
    name: .customLong("kv-cache"),
    help: ArgumentHelp(
      "The type in which workers store keys and values: f32, f16, or q8_0 (half of f16's memory). Default: f16, or f32 for a model that is not quantised.",
      valueName: "type"
    )
  )
  var type: CacheType?
}

/// The options of a pipeline.
struct PipelineOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The device of each worker, in pipeline order: cpu, vulkan (the first GPU), vulkan:1 (the Vulkan device with this number, as `doctor` lists them), npu, or reference (slow, for comparison). Default: cpu.",
      valueName: "devices"
    )
  )
  var devices: String?

  @Flag(help: "Simulate npu where there is none. It is very slow.")
  var emulate = false

  @Option(
    help: ArgumentHelp(
      "Layers of each worker, for example 10,10,10. Default: the fastest placement that planning finds.",
      valueName: "layers"
    )
  )
  var split: NumberList?

  @Option(
    help: ArgumentHelp(
      "With --split: proportions of the output matrix over the last workers, from the one with the last layer on. --split 18,0 --logits-split 1,3 gives a quarter of it to the first and the rest to the second, which holds no layer. Default: the worker with the last layer has all of it.",
      valueName: "parts"
    )
  )
  var logitsSplit: NumberList?

  @Option(
    help: ArgumentHelp(
      "Threads of each worker, for example 1,1,1. Default: the CPUs, distributed evenly.",
      valueName: "threads"
    )
  )
  var threads: NumberList?

  @Option(
    help: ArgumentHelp(
      "The most tokens of a session, prompt and answer together. Default: the model's, at most 4096; calibrate, compare and perplexity run windows of 512.",
      valueName: "tokens"
    )
  )
  var context: Int?

  @Option(
    help: ArgumentHelp("How many sessions are served at once; others wait.", valueName: "sessions")
  )
  var slots = 8

  @Option(
    help: ArgumentHelp(
      "Which clients share cached prefixes of prompts: all, key (the requests of one key) or none. Sharing is faster, but the time of an answer reveals whether somebody has sent such a prompt.",
      valueName: "clients"
    )
  )
  var prefixSharing = PrefixSharing.all

  @OptionGroup var cache: CacheOptions

  @Option(
    help: ArgumentHelp(
      "Write a timeline of every stage, for ui.perfetto.dev or chrome://tracing.",
      valueName: "file"
    )
  )
  var trace: String?

  @Flag(
    help:
      "Run all tokens of a prompt also through the layers that need only the last one, to measure how much skipping saves."
  )
  var allLayers = false

  /// The options as settings for the launcher.
  var settings: PipelineSettings {
    var settings = PipelineSettings()
    settings.devices = devices?.split(separator: ",", omittingEmptySubsequences: false)
      .map(String.init)
    settings.emulates = emulate
    settings.split = split?.values
    settings.logitsSplit = logitsSplit?.values
    settings.threads = threads?.values
    settings.contextTokens = context
    settings.slots = slots
    settings.prefixSharing = prefixSharing
    settings.cacheType = cache.type
    settings.tracePath = trace
    settings.passesAllLayers = allLayers
    return settings
  }

  /// The options whose values are not the defaults.
  var given: [String] {
    let options: [(String, Bool)] = [
      ("--devices", devices != nil), ("--emulate", emulate), ("--split", split != nil),
      ("--logits-split", logitsSplit != nil), ("--threads", threads != nil),
      ("--context", context != nil), ("--slots", slots != 8),
      ("--prefix-sharing", prefixSharing != .all), ("--kv-cache", cache.type != nil),
      ("--trace", trace != nil), ("--all-layers", allLayers),
    ]
    return options.filter(\.1).map(\.0)
  }

  func validate() throws {
    if let logitsSplit, split == nil {
      throw ValidationError(
        "--logits-split \(logitsSplit): this option needs --split, which says which worker has the last layer."
      )
    }
    if let context, context < 2 {
      throw ValidationError("--context \(context): give at least 2 tokens.")
    }
    guard (1...1024).contains(slots) else {
      throw ValidationError("--slots \(slots) is outside 1...1024.")
    }
    if let threads, let bad = threads.values.first(where: { !(1...1024).contains($0) }) {
      throw ValidationError("--threads: \(bad) is outside 1...1024.")
    }
  }
}

/// `--auto-rebalance`.
struct AutoRebalanceOptions: ParsableArguments {
  @Flag(
    help: ArgumentHelp(
      "Move layers automatically when the speeds of stages drift apart because a device throttles or its machine is busy.",
      discussion: """
        Off by default: on a quiet machine the first placement stays the best, and a move pauses all \
        requests for some milliseconds. A move must promise 10 % more speed for 20 s and make up for its \
        pause; the next one comes a minute later or more. Only steps that decode are compared, so a load of \
        long prompts moves nothing. The log and `trestle status` show each decision with its reason.
        """
    )
  )
  var autoRebalance = false

  var advice: RebalanceAdvisor.Limits? { autoRebalance ? RebalanceAdvisor.Limits() : nil }
}

/// `--log-level`.
struct LogOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The lowest level that is logged to stderr: trace, debug, info, notice, warning, error, critical.",
      valueName: "level"
    )
  )
  var logLevel: LogLevel?

  /// Returns a logger to stderr.
  func logger(_ label: String, default level: Logger.Level) -> Logger {
    var logger = Logger(label: label) { LineHandler(label: $0) }
    logger.logLevel = logLevel?.level ?? level
    return logger
  }
}

/// A log level by its name.
struct LogLevel: ExpressibleByArgument {
  var level: Logger.Level

  init?(argument: String) {
    guard let level = Logger.Level(rawValue: argument) else { return nil }
    self.level = level
  }

  static var allValueStrings: [String] { Logger.Level.allCases.map(\.rawValue) }
}
