// What the coordinator answers to clients; the requests are in Messages+Client.swift.

package import Content

/// Why a generation ended; the raw values are the wire's.
package enum FinishReason: UInt32, Sendable, Hashable, CaseIterable {
  /// A stop string or the end of the turn.
  case stop = 1
  /// MaxTokens, or the context is full.
  case length = 2
  /// The client asked.
  case cancelled = 3
}

/// Why a request was not served; the raw values are the wire's.
package enum RequestFailureCode: UInt32, Sendable, Hashable, CaseIterable {
  /// More tokens than the context holds.
  case tooLong = 1
  /// Too many requests wait.
  case busy = 2
  /// The request is absurd.
  case invalid = 3
  /// The model has no usable chat template.
  case template = 4
  /// A worker died and its layers found no place.
  case lost = 5
  /// The client asked.
  case cancelled = 6
  /// The coordinator is ending.
  case shuttingDown = 7
  /// A fault of the program.
  case `internal` = 8
  /// The client's key may not ask for it, or no longer.
  case notAllowed = 9
}

/// What the coordinator says of the whole; the raw values are the wire's.
package enum ServiceState: UInt32, Sendable, Hashable, CaseIterable {
  /// Workers are missing.
  case waiting = 1
  /// A placement is being prepared.
  case loading = 2
  /// Prompts are served.
  case ready = 3
  /// A worker is lost; requests wait.
  case degraded = 4
  /// No new requests are taken.
  case stopping = 5
}

/// How the coordinator sees a worker; the raw values are the wire's.
package enum HealthState: UInt32, Sendable, Hashable, CaseIterable {
  /// Well.
  case ready = 1
  /// Preparing its layers.
  case loading = 2
  /// Late, failing or idle without reason.
  case degraded = 3
  /// Dead or silent.
  case lost = 4
}

/// Coordinator → client: the request is well-formed and waits or runs.
package struct Accepted: Sendable, Hashable {
  package var request: UInt64
  package var promptTokens: Int
  /// 0 if it runs.
  package var queuePosition: Int

  package init(request: UInt64, promptTokens: Int, queuePosition: Int) {
    self.request = request
    self.promptTokens = promptTokens
    self.queuePosition = queuePosition
  }
}

/// Coordinator → client: what was generated since the last Delta.
package struct Delta: Sendable, Hashable {
  package var request: UInt64
  /// Whole characters; may be empty.
  package var text: String
  package var tokens: [Int32]

  package init(request: UInt64, text: String, tokens: [Int32]) {
    self.request = request
    self.text = text
    self.tokens = tokens
  }
}

/// Where the time of a request went.
package struct RequestTiming: Sendable, Hashable {
  /// Waiting for a slot.
  package var queuedMicroseconds: UInt64
  /// From arrival to the first token.
  package var firstTokenMicroseconds: UInt64
  package var prefillMicroseconds: UInt64
  package var decodeMicroseconds: UInt64
  package var totalMicroseconds: UInt64

  package init(
    queuedMicroseconds: UInt64,
    firstTokenMicroseconds: UInt64,
    prefillMicroseconds: UInt64,
    decodeMicroseconds: UInt64,
    totalMicroseconds: UInt64
  ) {
    self.queuedMicroseconds = queuedMicroseconds
    self.firstTokenMicroseconds = firstTokenMicroseconds
    self.prefillMicroseconds = prefillMicroseconds
    self.decodeMicroseconds = decodeMicroseconds
    self.totalMicroseconds = totalMicroseconds
  }
}

/// The layers of one worker, and the rows of the output matrix.
package struct PlacementEntry: Sendable, Hashable {
  package var worker: String
  package var device: String
  package var isEmulated: Bool
  package var firstLayer: Int
  /// Exclusive.
  package var endLayer: Int
  package var firstVocabularyRow: Int
  /// Exclusive.
  package var endVocabularyRow: Int

  package init(
    worker: String,
    device: String,
    isEmulated: Bool,
    firstLayer: Int,
    endLayer: Int,
    firstVocabularyRow: Int,
    endVocabularyRow: Int
  ) {
    self.worker = worker
    self.device = device
    self.isEmulated = isEmulated
    self.firstLayer = firstLayer
    self.endLayer = endLayer
    self.firstVocabularyRow = firstVocabularyRow
    self.endVocabularyRow = endVocabularyRow
  }
}

/// Coordinator → client: a generation has ended; nothing follows.
package struct Finished: Sendable, Hashable {
  package var request: UInt64
  package var reason: FinishReason
  package var promptTokens: Int
  package var generatedTokens: Int
  package var timing: RequestTiming
  /// At the end.
  package var placement: [PlacementEntry]

  package init(
    request: UInt64,
    reason: FinishReason,
    promptTokens: Int,
    generatedTokens: Int,
    timing: RequestTiming,
    placement: [PlacementEntry]
  ) {
    self.request = request
    self.reason = reason
    self.promptTokens = promptTokens
    self.generatedTokens = generatedTokens
    self.timing = timing
    self.placement = placement
  }
}

/// Coordinator → client: numbers of an evaluation, in order of position.
///
/// Payload: for logits one frame, [rowCount, vocabulary].
package struct Evaluated: Sendable, Hashable {
  package var request: UInt64
  package var firstPosition: Int
  package var rowCount: Int
  /// Nothing follows.
  package var isLast: Bool
  /// One for each of the rows whose next token is scored; empty for logits.
  package var scores: [Double]
  /// For `Receipt`: nobody can guess it, so only who has read this message can send it.
  package var proof: UInt64

  package init(
    request: UInt64,
    firstPosition: Int,
    rowCount: Int,
    isLast: Bool,
    scores: [Double],
    proof: UInt64 = 0
  ) {
    self.request = request
    self.firstPosition = firstPosition
    self.rowCount = rowCount
    self.isLast = isLast
    self.scores = scores
    self.proof = proof
  }
}

/// Coordinator → client: a request was refused or could not be finished; nothing follows.
package struct RequestFailed: Sendable, Hashable {
  package var request: UInt64
  package var code: RequestFailureCode
  /// The value at fault and what to do.
  package var message: String

  package init(request: UInt64, code: RequestFailureCode, message: String) {
    self.request = request
    self.code = code
    self.message = message
  }
}

/// What one worker holds and does.
package struct WorkerStatus: Sendable, Hashable {
  package var name: String
  package var pid: Int
  package var device: String
  package var isEmulated: Bool
  package var firstLayer: Int
  /// Exclusive; equal to firstLayer if it holds none.
  package var endLayer: Int
  package var firstVocabularyRow: Int
  /// Exclusive; equal to firstVocabularyRow if it computes no logits.
  package var endVocabularyRow: Int
  package var state: HealthState
  package var residentBytes: UInt64
  package var kvBytes: UInt64
  /// Share of the last seconds spent computing, 0 to 1.
  package var busy: Double
  /// Spent computing since the epoch began.
  package var busyMicroseconds: UInt64
  /// Of its last step.
  package var stepMilliseconds: Double
  package var heartbeatAgeMilliseconds: Int
  package var threads: Int
  package var loadFraction: Double
  package var detail: String
  /// Share of the last seconds it did not compute while the pipeline had work, 0 to 1.
  package var bubble: Double
  /// Micro-batches that waited at the stage, on average over the last seconds.
  package var queued: Double
  /// Memory its machine can still give; 0 if not known.
  package var availableBytes: UInt64
  /// Of the device; nil if its machine does not tell.
  package var temperature: Temperature?
  /// Rows that passed a layer, summed over the layers, since the worker's start.
  package var layerRows: UInt64
  /// Rows that were spared a layer: nobody wants their output.
  package var skippedLayerRows: UInt64

  package init(
    name: String,
    pid: Int,
    device: String,
    isEmulated: Bool,
    firstLayer: Int,
    endLayer: Int,
    firstVocabularyRow: Int,
    endVocabularyRow: Int,
    state: HealthState,
    residentBytes: UInt64,
    kvBytes: UInt64,
    busy: Double,
    busyMicroseconds: UInt64,
    stepMilliseconds: Double,
    heartbeatAgeMilliseconds: Int,
    threads: Int,
    loadFraction: Double,
    detail: String,
    bubble: Double = 0,
    queued: Double = 0,
    availableBytes: UInt64 = 0,
    temperature: Temperature? = nil,
    layerRows: UInt64 = 0,
    skippedLayerRows: UInt64 = 0
  ) {
    self.layerRows = layerRows
    self.skippedLayerRows = skippedLayerRows
    self.name = name
    self.pid = pid
    self.device = device
    self.isEmulated = isEmulated
    self.firstLayer = firstLayer
    self.endLayer = endLayer
    self.firstVocabularyRow = firstVocabularyRow
    self.endVocabularyRow = endVocabularyRow
    self.state = state
    self.residentBytes = residentBytes
    self.kvBytes = kvBytes
    self.busy = busy
    self.busyMicroseconds = busyMicroseconds
    self.stepMilliseconds = stepMilliseconds
    self.heartbeatAgeMilliseconds = heartbeatAgeMilliseconds
    self.threads = threads
    self.loadFraction = loadFraction
    self.detail = detail
    self.bubble = bubble
    self.queued = queued
    self.availableBytes = availableBytes
    self.temperature = temperature
  }
}

/// Coordinator → client: answers StatusRequest.
package struct StatusReply: Sendable, Hashable {
  package var request: UInt64
  package var model: String
  package var epoch: UInt32
  package var fingerprint: Digest
  package var state: ServiceState
  /// Being served.
  package var sessions: Int
  /// Waiting.
  package var queued: Int
  /// Over the last seconds.
  package var tokensPerSecond: Double
  package var uptimeMilliseconds: UInt64
  /// Messages refused since the start.
  package var protocolErrors: UInt64
  package var workers: [WorkerStatus]
  /// From a request's arrival to its first token.
  package var firstToken: LatencySummary
  /// From one token of a session to its next.
  package var interToken: LatencySummary
  /// Held by the sessions in each stage's caches.
  package var kvPositions: UInt64
  /// That fit.
  package var kvCapacityPositions: UInt64
  /// Nil if layers move only when somebody asks.
  package var autoRebalance: AutoRebalance?

  package init(
    request: UInt64,
    model: String,
    epoch: UInt32,
    fingerprint: Digest,
    state: ServiceState,
    sessions: Int,
    queued: Int,
    tokensPerSecond: Double,
    uptimeMilliseconds: UInt64,
    protocolErrors: UInt64,
    workers: [WorkerStatus],
    firstToken: LatencySummary = LatencySummary(),
    interToken: LatencySummary = LatencySummary(),
    kvPositions: UInt64 = 0,
    kvCapacityPositions: UInt64 = 0,
    autoRebalance: AutoRebalance? = nil
  ) {
    self.request = request
    self.model = model
    self.epoch = epoch
    self.fingerprint = fingerprint
    self.state = state
    self.sessions = sessions
    self.queued = queued
    self.tokensPerSecond = tokensPerSecond
    self.uptimeMilliseconds = uptimeMilliseconds
    self.protocolErrors = protocolErrors
    self.workers = workers
    self.firstToken = firstToken
    self.interToken = interToken
    self.kvPositions = kvPositions
    self.kvCapacityPositions = kvCapacityPositions
    self.autoRebalance = autoRebalance
  }
}

/// How one worker is.
package struct WorkerHealth: Sendable, Hashable {
  package var name: String
  package var pid: Int
  package var state: HealthState
  package var heartbeatAgeMilliseconds: Int
  package var detail: String
  package var residentBytes: UInt64
  /// Memory its machine can still give; 0 if not known.
  package var availableBytes: UInt64
  /// Of the device; nil if its machine does not tell.
  package var temperature: Temperature?
  /// The last one; nil before the first.
  package var selfTest: SelfTestReport?

  package init(
    name: String,
    pid: Int,
    state: HealthState,
    heartbeatAgeMilliseconds: Int,
    detail: String,
    residentBytes: UInt64 = 0,
    availableBytes: UInt64 = 0,
    temperature: Temperature? = nil,
    selfTest: SelfTestReport? = nil
  ) {
    self.name = name
    self.pid = pid
    self.state = state
    self.heartbeatAgeMilliseconds = heartbeatAgeMilliseconds
    self.detail = detail
    self.residentBytes = residentBytes
    self.availableBytes = availableBytes
    self.temperature = temperature
    self.selfTest = selfTest
  }
}

/// Coordinator → client: answers HealthRequest.
package struct HealthReply: Sendable, Hashable {
  package var request: UInt64
  /// Every worker is ready.
  package var isHealthy: Bool
  package var workers: [WorkerHealth]

  package init(request: UInt64, isHealthy: Bool, workers: [WorkerHealth]) {
    self.request = request
    self.isHealthy = isHealthy
    self.workers = workers
  }
}

/// Coordinator → client: answers Rebalance and Drain.
package struct Rebalanced: Sendable, Hashable {
  package var request: UInt64
  package var epoch: UInt32
  package var layersMoved: Int
  package var kvBytesMoved: UInt64
  /// From the last step of the old epoch to the first of the new one.
  package var pauseMicroseconds: UInt64

  package init(
    request: UInt64,
    epoch: UInt32,
    layersMoved: Int,
    kvBytesMoved: UInt64,
    pauseMicroseconds: UInt64
  ) {
    self.request = request
    self.epoch = epoch
    self.layersMoved = layersMoved
    self.kvBytesMoved = kvBytesMoved
    self.pauseMicroseconds = pauseMicroseconds
  }
}
