// What has happened since the coordinator began, in counts that only grow: for programs that keep them over
// time, as a metrics database does. What the last seconds were like is in Metrics.swift.

internal import Wire

/// The counts of a coordinator's life.
///
/// Invariant: none ever falls, since nothing here takes anything away.
struct Counters: Sendable {
  private(set) var totals = ServiceCounters()
  private var failures: [RequestFailureCode: UInt64] = [:]

  /// The counts as they are told: every code of a failure is there, so that its first is seen.
  var reply: ServiceCounters {
    var reply = totals
    reply.failedRequests = RequestFailureCode.allCases.map {
      FailureCount(code: $0, count: failures[$0] ?? 0)
    }
    return reply
  }

  // MARK: Requests

  /// A generation has come to its end.
  mutating func finished(_ reason: FinishReason) {
    switch reason {
    case .stop: totals.stoppedRequests += 1
    case .length: totals.lengthRequests += 1
    case .cancelled: totals.cancelledRequests += 1
    }
  }

  /// An evaluation has been answered in full.
  mutating func finishedEvaluation() { totals.evaluatedRequests += 1 }

  /// A generation or an evaluation was refused, or could not be finished.
  mutating func failed(_ code: RequestFailureCode) { failures[code, default: 0] += 1 }

  /// Nobody waits for requests any more.
  mutating func abandoned(_ count: Int) { totals.abandonedRequests += UInt64(count) }

  // MARK: Tokens

  /// The first token of an answer has come: its prompt has been read.
  mutating func readPrompt(of session: Session) {
    totals.promptTokens += UInt64(session.promptCount)
    totals.cachedTokens += UInt64(session.cachedCount)
  }

  mutating func generatedToken() { totals.generatedTokens += 1 }

  mutating func evaluated(_ count: Int) { totals.evaluatedTokens += UInt64(count) }

  // MARK: Pipeline

  /// A micro-batch has passed all stages.
  mutating func finishedStep() { totals.steps += 1 }

  /// A placement has begun to serve.
  mutating func beganEpoch() { totals.epochs += 1 }

  mutating func lostWorker() { totals.lostWorkers += 1 }

  /// For how long no step ran because layers moved.
  mutating func paused(_ pause: Duration) {
    totals.movePauseMicroseconds += UInt64(max(0, pause / .microseconds(1)))
  }

  /// Layers have moved while sessions went on.
  mutating func rebalanced(movedBytes: UInt64) {
    totals.rebalances += 1
    // A worker tells how much it has sent; one that lies must not end the coordinator.
    let (sum, overflows) = totals.movedBytes.addingReportingOverflow(movedBytes)
    totals.movedBytes = overflows ? .max : sum
  }
}
