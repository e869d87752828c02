// The control plane: what workers and the coordinator tell each other. proto/trestle.proto says what
// answers what; Control+Coding.swift turns these into protobuf and back.

package import Content

/// What a worker says of itself; the raw values are the wire's.
package enum WorkerState: UInt32, Sendable, Hashable, CaseIterable {
  /// No layers assigned.
  case waiting = 1
  /// Preparing an assignment.
  case loading = 2
  /// Runs steps.
  case ready = 3
  /// Cannot run steps; the detail says why.
  case failed = 4
}

/// Why a worker may not join; the raw values are the wire's.
package enum RefusalCode: UInt32, Sendable, Hashable, CaseIterable {
  /// Another protocol version.
  case version = 1
  /// Other weights than the coordinator's.
  case fingerprint = 2
  /// A live worker has this name.
  case name = 3
  /// The placement is complete.
  case busy = 4
  /// No layers can be placed on it.
  case placement = 5
  /// Its hello contradicts itself.
  case invalid = 6
  /// The coordinator is ending.
  case shuttingDown = 7
  /// Not a worker of this coordinator: lost before, or of an earlier one.
  case unknown = 8
  /// Its key may not work here, or no longer.
  case notAllowed = 9
}

/// Why a worker could not prepare a stage or run a step; the raw values are the wire's.
package enum FailureCode: UInt32, Sendable, Hashable, CaseIterable {
  /// The model file cannot be read or lacks a tensor.
  case model = 1
  /// The device has no kernel for it.
  case unsupported = 2
  /// The device has too little memory.
  case memory = 3
  /// The device failed.
  case device = 4
  /// The step does not fit the stage.
  case step = 5
  /// The next stage does not take it.
  case handOff = 6
  /// A fault of the program.
  case `internal` = 7
  /// The step's results are no finite numbers.
  case notFinite = 8
}

/// Worker → coordinator: the first message of a connection.
///
/// Answered by Welcome or Refused.
package struct Hello: Sendable, Hashable {
  /// Again, for the answer to name; the envelope's decides.
  package var protocolVersion: UInt32
  package var programVersion: String
  /// Unique among the workers.
  package var name: String
  /// What it computes on: cpu, vulkan, npu.
  package var device: String
  /// The device is simulated; its speed says nothing.
  package var isEmulated: Bool
  package var pid: Int
  package var threads: Int
  /// Of config and weights; must equal the coordinator's.
  package var fingerprint: Digest
  package var modelName: String
  /// Of the model.
  package var layerCount: Int
  /// Where the stage before hands off to.
  package var dataEndpoint: String
  /// The most the device can hold.
  package var memoryBytes: UInt64
  /// ZeroMQ identity of the socket that its step results come from.
  package var resultsIdentity: PeerID
  /// What the data endpoint answers to; nil for ipc.
  package var dataKey: PublicKey?
  /// Of one boot of one machine, whose processes share a clock; empty if not known.
  package var machine: String

  package init(
    protocolVersion: UInt32,
    programVersion: String,
    name: String,
    device: String,
    isEmulated: Bool,
    pid: Int,
    threads: Int,
    fingerprint: Digest,
    modelName: String,
    layerCount: Int,
    dataEndpoint: String,
    memoryBytes: UInt64,
    resultsIdentity: PeerID,
    dataKey: PublicKey? = nil,
    machine: String = ""
  ) {
    self.protocolVersion = protocolVersion
    self.programVersion = programVersion
    self.name = name
    self.device = device
    self.isEmulated = isEmulated
    self.pid = pid
    self.threads = threads
    self.fingerprint = fingerprint
    self.modelName = modelName
    self.layerCount = layerCount
    self.dataEndpoint = dataEndpoint
    self.memoryBytes = memoryBytes
    self.resultsIdentity = resultsIdentity
    self.dataKey = dataKey
    self.machine = machine
  }
}

/// Worker → coordinator: at the interval of Welcome, and at once when the state changes.
///
/// Answered by HeartbeatAck, or Refused if the worker is not known; one that falls silent is lost.
package struct Heartbeat: Sendable, Hashable {
  package var state: WorkerState
  /// Of the stage that runs; 0 if none.
  package var epoch: UInt32
  /// Of the assignment being prepared, 0 to 1.
  package var loadFraction: Double
  /// Run since the start.
  package var steps: UInt64
  /// Run since the start.
  package var rows: UInt64
  /// Spent computing since the start.
  package var busyMicroseconds: UInt64
  package var lastStepMicroseconds: UInt64
  /// How long the running step has taken; 0 between steps.
  package var stepInProgressMicroseconds: UInt64
  package var residentBytes: UInt64
  package var kvBytes: UInt64
  /// Malformed or out of place.
  package var rejectedMessages: UInt64
  /// For people; empty if there is nothing to say.
  package var detail: String
  /// When it was sent, by the clock of its machine since it booted.
  package var clockMicroseconds: UInt64
  /// Memory its machine can still give; 0 if not known.
  package var availableBytes: UInt64
  /// Of the device; nil if its machine does not tell.
  package var temperature: Temperature?
  /// The last one; nil before the first.
  package var selfTest: SelfTestReport?
  /// Rows that passed a layer, summed over the layers, since the start.
  package var layerRows: UInt64
  /// Rows that were spared a layer: nobody wants their output.
  package var skippedLayerRows: UInt64

  package init(
    state: WorkerState,
    epoch: UInt32,
    loadFraction: Double,
    steps: UInt64,
    rows: UInt64,
    busyMicroseconds: UInt64,
    lastStepMicroseconds: UInt64,
    stepInProgressMicroseconds: UInt64,
    residentBytes: UInt64,
    kvBytes: UInt64,
    rejectedMessages: UInt64,
    detail: String,
    clockMicroseconds: UInt64 = 0,
    availableBytes: UInt64 = 0,
    temperature: Temperature? = nil,
    selfTest: SelfTestReport? = nil,
    layerRows: UInt64 = 0,
    skippedLayerRows: UInt64 = 0
  ) {
    self.state = state
    self.epoch = epoch
    self.loadFraction = loadFraction
    self.steps = steps
    self.rows = rows
    self.busyMicroseconds = busyMicroseconds
    self.lastStepMicroseconds = lastStepMicroseconds
    self.stepInProgressMicroseconds = stepInProgressMicroseconds
    self.residentBytes = residentBytes
    self.kvBytes = kvBytes
    self.rejectedMessages = rejectedMessages
    self.detail = detail
    self.clockMicroseconds = clockMicroseconds
    self.availableBytes = availableBytes
    self.temperature = temperature
    self.selfTest = selfTest
    self.layerRows = layerRows
    self.skippedLayerRows = skippedLayerRows
  }
}

/// Worker → coordinator: the stage of an Assign is mapped and compiled.
///
/// Not answered; steps of the epoch may follow.
package struct Prepared: Sendable, Hashable {
  package var epoch: UInt32

  package init(epoch: UInt32) {
    self.epoch = epoch
  }
}

/// Worker → coordinator: the stage of an Assign could not be prepared.
///
/// Not answered; the stage before it, if any, goes on running.
package struct PrepareFailed: Sendable, Hashable {
  package var epoch: UInt32
  package var code: FailureCode
  package var message: String

  package init(epoch: UInt32, code: FailureCode, message: String) {
    self.epoch = epoch
    self.code = code
    self.message = message
  }
}

/// What became of one row of a step.
package struct RowResult: Sendable, Hashable {
  package var slot: Int
  package var position: Int
  /// Sampled or scored; -1 if neither.
  package var token: Int32
  /// Of a scored token.
  package var logProbability: Double

  package init(slot: Int, position: Int, token: Int32, logProbability: Double) {
    self.slot = slot
    self.position = position
    self.token = token
    self.logProbability = logProbability
  }
}

/// Last worker → coordinator: a step has passed all stages.
///
/// Payload: one frame with the logits of the rows that asked for them, [rows, vocabulary], if
/// any did.
/// Not answered.
package struct StepDone: Sendable, Hashable {
  package var epoch: UInt32
  /// Of the step.
  package var sequence: UInt64
  /// Of the rows with an output, in their order.
  package var results: [RowResult]
  /// How long each stage computed.
  package var stageMicroseconds: [UInt64]
  /// When each began, by the clock of its machine.
  package var stageBeganMicroseconds: [UInt64]

  package init(
    epoch: UInt32,
    sequence: UInt64,
    results: [RowResult],
    stageMicroseconds: [UInt64],
    stageBeganMicroseconds: [UInt64] = []
  ) {
    self.epoch = epoch
    self.sequence = sequence
    self.results = results
    self.stageMicroseconds = stageMicroseconds
    self.stageBeganMicroseconds = stageBeganMicroseconds
  }
}

/// Any worker → coordinator: a step ended here.
///
/// Not answered; the coordinator replays the sessions in it, but for those whose results are no finite
/// numbers, which it ends.
package struct StepFailed: Sendable, Hashable {
  package var epoch: UInt32
  /// Of the step.
  package var sequence: UInt64
  package var worker: String
  package var code: FailureCode
  package var message: String
  /// Of rows whose results are no finite numbers; with `notFinite` alone.
  package var slots: [Int]

  package init(
    epoch: UInt32,
    sequence: UInt64,
    worker: String,
    code: FailureCode,
    message: String,
    slots: [Int] = []
  ) {
    self.epoch = epoch
    self.sequence = sequence
    self.worker = worker
    self.code = code
    self.message = message
    self.slots = slots
  }
}

/// Worker → coordinator: the worker leaves of its own will.
///
/// Not answered.
package struct Goodbye: Sendable, Hashable {
  package var reason: String

  package init(reason: String) {
    self.reason = reason
  }
}

/// Coordinator → worker: answers Hello.
package struct Welcome: Sendable, Hashable {
  /// The coordinator's name for the worker.
  package var name: String
  /// How often to send Heartbeat.
  package var heartbeatMilliseconds: Int

  package init(name: String, heartbeatMilliseconds: Int) {
    self.name = name
    self.heartbeatMilliseconds = heartbeatMilliseconds
  }
}

/// Coordinator → worker: answers Hello; the worker ends.
package struct Refused: Sendable, Hashable {
  package var code: RefusalCode
  /// What differs and what to do.
  package var message: String

  package init(code: RefusalCode, message: String) {
    self.code = code
    self.message = message
  }
}

/// Coordinator → worker: prepare these layers, and these rows of the output matrix, beside those that run.
///
/// A stage without layers has the layer count twice; one that computes no logits has no rows.
/// Answered by Prepared or PrepareFailed.
package struct Assign: Sendable, Hashable {
  /// Of the placement.
  package var epoch: UInt32
  package var firstLayer: Int
  /// Exclusive.
  package var endLayer: Int
  /// From 0.
  package var stage: Int
  package var stageCount: Int
  /// Where to hand off to; empty for the last stage.
  package var nextEndpoint: String
  /// Of a step.
  package var maxRows: Int
  package var slots: Int
  /// Of each slot.
  package var contextTokens: Int
  /// What the next endpoint answers to; nil for ipc.
  package var nextKey: PublicKey?
  /// Who may hand off to this worker, beside the coordinator.
  package var peerKeys: [PublicKey]
  package var firstVocabularyRow: Int
  /// Exclusive.
  package var endVocabularyRow: Int

  package init(
    epoch: UInt32,
    firstLayer: Int,
    endLayer: Int,
    firstVocabularyRow: Int,
    endVocabularyRow: Int,
    stage: Int,
    stageCount: Int,
    nextEndpoint: String,
    maxRows: Int,
    slots: Int,
    contextTokens: Int,
    nextKey: PublicKey? = nil,
    peerKeys: [PublicKey] = []
  ) {
    self.epoch = epoch
    self.firstLayer = firstLayer
    self.endLayer = endLayer
    self.firstVocabularyRow = firstVocabularyRow
    self.endVocabularyRow = endVocabularyRow
    self.stage = stage
    self.stageCount = stageCount
    self.nextEndpoint = nextEndpoint
    self.maxRows = maxRows
    self.slots = slots
    self.contextTokens = contextTokens
    self.nextKey = nextKey
    self.peerKeys = peerKeys
  }
}

/// Coordinator → worker: finish the step and end.
///
/// Not answered; the end of the process is the answer.
package struct Shutdown: Sendable, Hashable {
  package var reason: String

  package init(reason: String) {
    self.reason = reason
  }
}

/// Coordinator → worker: answers Heartbeat, so that a worker knows when its coordinator is gone.
package struct HeartbeatAck: Sendable, Hashable {
  package init() {}
}

extension Assign {
  /// The stage to hand off to; nil for the last one.
  ///
  /// - Throws: `WireError` if the endpoint is none.
  package func next() throws(WireError) -> PeerAddress? {
    nextEndpoint.isEmpty ? nil : PeerAddress(try Endpoint(nextEndpoint), key: nextKey)
  }
}
