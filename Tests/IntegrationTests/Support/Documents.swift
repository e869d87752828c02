// The JSON documents of the command line, with every field that scripts may rely on: decoding fails
// if one is missing.

import Foundation

struct RunDocument: Decodable, Sendable {
  struct Timing: Decodable, Sendable {
    var ttftMs: Double
    var prefillTokensPerSecond: Double
    var decodeTokensPerSecond: Double
    var totalMs: Double
  }

  var text: String
  var thought: String?
  var thoughtTokens: Int?
  var tokens: [Int]
  var promptTokens: Int
  var cachedTokens: Int
  var finishReason: String
  var stop: String?
  var timing: Timing
  var placement: [PlacementRow]
}

struct PlacementRow: Decodable, Sendable, Equatable {
  var worker: String
  var device: String
  var layers: [Int]
  var vocabulary: [Int]
}

struct StatusDocument: Decodable, Sendable {
  struct Worker: Decodable, Sendable {
    var name: String
    var pid: Int
    var device: String
    var emulated: Bool
    var layers: [Int]
    var vocabulary: [Int]
    var state: String
    var residentBytes: Int
    var kvBytes: Int
    var busy: Double
    var stepMs: Double
    var bubble: Double
    var queued: Double
    var availableBytes: Int
    var temperatureCelsius: Double?
  }

  struct ReplacedWorker: Decodable, Sendable {
    var name: String
    var device: String
    var reason: String
  }

  struct Latency: Decodable, Sendable {
    var count: Int
    var p50Ms: Double?
    var p90Ms: Double?
    var p99Ms: Double?
  }

  var model: String
  var epoch: Int
  var workers: [Worker]
  var replacedWorkers: [ReplacedWorker]
  var sessions: Int
  var tokensPerSecond: Double
  var protocolErrors: Int
  var ttft: Latency
  var interToken: Latency
  var kvPositions: Int
  var kvCapacityPositions: Int
  var autoRebalance: AutoRebalance
  var counters: Counters

  struct Counters: Decodable, Sendable {
    struct Requests: Decodable, Sendable {
      var stop: Int
      var length: Int
      var cancelled: Int
      var evaluated: Int
      var abandoned: Int
      var failed: [Failure]
    }

    struct Failure: Decodable, Sendable {
      var code: String
      var count: Int
    }

    var requests: Requests
    var promptTokens: Int
    var cachedTokens: Int
    var generatedTokens: Int
    var evaluatedTokens: Int
    var steps: Int
    var epochs: Int
    var lostWorkers: Int
    var rebalances: Int
    var movedBytes: Int
  }

  struct AutoRebalance: Decodable, Sendable {
    var enabled: Bool
    var lastDecision: String?
    var decisionAgeMs: Int?
  }
}

struct HealthDocument: Decodable, Sendable {
  struct Worker: Decodable, Sendable {
    var name: String
    var pid: Int
    var state: String
    var heartbeatAgeMs: Int
    var detail: String
    var residentBytes: Int
    var availableBytes: Int
    var temperatureCelsius: Double?
    var selfTest: SelfTest?
  }

  struct SelfTest: Decodable, Sendable {
    var run: Int
    var passed: Bool
    var maxError: Double?
    var tolerance: Double
  }

  var healthy: Bool
  var workers: [Worker]
}

struct BenchDocument: Decodable, Sendable {
  struct Stage: Decodable, Sendable {
    var worker: String
    var busy: Double
    var bubble: Double
  }

  struct Result: Decodable, Sendable {
    var streams: Int
    var prefillTokensPerSecond: Double
    var decodeTokensPerSecond: Double
    var stages: [Stage]
    var interToken: Gaps
    var arrival: Arrival?
  }

  struct Gaps: Decodable, Sendable {
    var p50Ms: Double
    var p99Ms: Double
  }

  struct Arrival: Decodable, Sendable {
    var promptTokens: Int
    var firstTokenMs: Double
    var interToken: Gaps
  }

  struct Skipped: Decodable, Sendable {
    var worker: String
    var layerRows: Int
    var skippedLayerRows: Int
  }

  var model: String
  var placement: [PlacementRow]
  var results: [Result]
  var skipped: [Skipped]
}

struct PerplexityDocument: Decodable, Sendable, Equatable {
  var perplexity: Double
  var scoredTokens: Int
  var windows: Int
}

extension Outcome {
  /// Reads stdout as exactly one JSON document.
  func document<Document: Decodable>(_ type: Document.Type = Document.self) throws -> Document {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    do {
      return try decoder.decode(type, from: Data(output.utf8))
    } catch {
      throw ProcessError(description: "no \(type) (\(error)):\n\(self)")
    }
  }
}
