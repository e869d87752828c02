// The results of benchmarks.

import Client

/// The shares of its time in which a stage computed and waited.
struct StageShare: Encodable {
  var worker: String
  var busy: Double
  /// The rest of the time: waiting for the other stages and for messages.
  var bubble: Double
}

/// The result of streams that decoded concurrently.
struct DecodeResult {
  /// Tokens per second, summed over the streams.
  var rate: Double
  var stages: [StageShare]
  var interToken: TokenGaps
}

/// How much a prompt that arrived delayed the streams that decoded meanwhile.
struct ArrivalResult: Encodable {
  var promptTokens: Int
  var firstTokenMs: Double
  /// The times between tokens of the streams, from the arrival of the prompt to its first token.
  var interToken: TokenGaps
}

/// Times from one token of a stream to its next.
struct TokenGaps: Encodable {
  var p50Ms: Double
  var p99Ms: Double

  /// Returns nil if there are no gaps.
  init?(_ gaps: [Duration]) {
    guard !gaps.isEmpty else { return nil }
    let sorted = gaps.sorted()
    p50Ms = sorted[sorted.count / 2] / .milliseconds(1)
    p99Ms = sorted[min(sorted.count - 1, sorted.count * 99 / 100)] / .milliseconds(1)
  }
}

/// Rows that layers have computed and rows that they have skipped, both summed over the layers.
struct SkippedRows: Encodable {
  var worker: String
  var layerRows: UInt64
  var skippedLayerRows: UInt64

  var share: Double {
    Double(skippedLayerRows) / Double(max(1, layerRows + skippedLayerRows))
  }
}
