// What benchmarks find.

import Client

/// The share of its time that a stage computed.
struct StageShare: Encodable {
  var worker: String
  var busy: Double
  /// The rest: waiting for the other stages and the way between.
  var bubble: Double
}

/// Streams that decoded side by side.
struct DecodeResult {
  /// Tokens a second, of all of them.
  var rate: Double
  var stages: [StageShare]
  var interToken: TokenGaps
}

/// What streams felt of a prompt that came while they decoded.
struct ArrivalResult: Encodable {
  var promptTokens: Int
  var firstTokenMs: Double
  /// Of the streams, until then.
  var interToken: TokenGaps
}

/// Times from one token of a stream to its next.
struct TokenGaps: Encodable {
  var p50Ms: Double
  var p99Ms: Double

  /// - Precondition: There is one at least.
  init(_ gaps: [Duration]) {
    let sorted = gaps.sorted()
    p50Ms = sorted[sorted.count / 2] / .milliseconds(1)
    p99Ms = sorted[min(sorted.count - 1, sorted.count * 99 / 100)] / .milliseconds(1)
  }
}

/// Rows that passed layers, summed over the layers, and rows that were spared them.
struct SkippedRows: Encodable {
  var worker: String
  var layerRows: UInt64
  var skippedLayerRows: UInt64

  var share: Double {
    Double(skippedLayerRows) / Double(max(1, layerRows + skippedLayerRows))
  }
}
