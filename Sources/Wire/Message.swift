// A message between two processes: one case for each body of the Envelope in proto/trestle.proto.

/// The version of the protocol that this program speaks.
///
/// Raised by any change of `proto/trestle.proto` that a peer could notice.
package let protocolVersion: UInt32 = 4

/// What one process tells another, without the tensors that may go with it.
package enum Message: Sendable, Hashable {
  case hello(Hello)
  case heartbeat(Heartbeat)
  case prepared(Prepared)
  case prepareFailed(PrepareFailed)
  case stepDone(StepDone)
  case stepFailed(StepFailed)
  case goodbye(Goodbye)
  case welcome(Welcome)
  case refused(Refused)
  case assign(Assign)
  case shutdown(Shutdown)
  case heartbeatAck(HeartbeatAck)
  case selfTest(SelfTest)
  case step(Step)
  case generate(Generate)
  case evaluate(Evaluate)
  case cancel(Cancel)
  case statusRequest(StatusRequest)
  case healthRequest(HealthRequest)
  case accepted(Accepted)
  case delta(Delta)
  case finished(Finished)
  case evaluated(Evaluated)
  case requestFailed(RequestFailed)
  case statusReply(StatusReply)
  case healthReply(HealthReply)
  case moved(Moved)
  case move(Move)
  case commit(Commit)
  case abandon(Abandon)
  case kvRows(KVRows)
  case rebalance(Rebalance)
  case drain(Drain)
  case receipt(Receipt)
  case rebalanced(Rebalanced)
  case describeModel(DescribeModel)
  case modelDescription(ModelDescription)
  case pull(Pull)
  case chunk(Chunk)
  case pullFailed(PullFailed)
  case pullReceipt(PullReceipt)
  case modelPending(ModelPending)
}

extension Message {
  /// The message's name in `proto/trestle.proto`, for logs.
  package var name: String {
    switch self {
    case .hello: "Hello"
    case .heartbeat: "Heartbeat"
    case .prepared: "Prepared"
    case .prepareFailed: "PrepareFailed"
    case .stepDone: "StepDone"
    case .stepFailed: "StepFailed"
    case .goodbye: "Goodbye"
    case .welcome: "Welcome"
    case .refused: "Refused"
    case .assign: "Assign"
    case .shutdown: "Shutdown"
    case .heartbeatAck: "HeartbeatAck"
    case .selfTest: "SelfTest"
    case .step: "Step"
    case .generate: "Generate"
    case .evaluate: "Evaluate"
    case .cancel: "Cancel"
    case .statusRequest: "StatusRequest"
    case .healthRequest: "HealthRequest"
    case .accepted: "Accepted"
    case .delta: "Delta"
    case .finished: "Finished"
    case .evaluated: "Evaluated"
    case .requestFailed: "RequestFailed"
    case .statusReply: "StatusReply"
    case .healthReply: "HealthReply"
    case .moved: "Moved"
    case .move: "Move"
    case .commit: "Commit"
    case .abandon: "Abandon"
    case .kvRows: "KVRows"
    case .rebalance: "Rebalance"
    case .drain: "Drain"
    case .receipt: "Receipt"
    case .rebalanced: "Rebalanced"
    case .describeModel: "DescribeModel"
    case .modelDescription: "ModelDescription"
    case .pull: "Pull"
    case .chunk: "Chunk"
    case .pullFailed: "PullFailed"
    case .pullReceipt: "PullReceipt"
    case .modelPending: "ModelPending"
    }
  }
}
