// Which case of Message is which body of the Envelope, in both directions.

internal import WireMessages

extension Message {
  /// Puts the message into an envelope.
  func pack(into c: UnsafeMutablePointer<Trestle__Envelope>, _ packer: Packer) {
    switch self {
    case .hello(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_HELLO, \.hello, body.packed(packer))
    case .heartbeat(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_HEARTBEAT, \.heartbeat, body.packed(packer))
    case .prepared(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_PREPARED, \.prepared, body.packed(packer))
    case .prepareFailed(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_PREPARE_FAILED, \.prepare_failed, body.packed(packer))
    case .stepDone(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_STEP_DONE, \.step_done, body.packed(packer))
    case .stepFailed(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_STEP_FAILED, \.step_failed, body.packed(packer))
    case .goodbye(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_GOODBYE, \.goodbye, body.packed(packer))
    case .welcome(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_WELCOME, \.welcome, body.packed(packer))
    case .refused(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_REFUSED, \.refused, body.packed(packer))
    case .assign(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_ASSIGN, \.assign, body.packed(packer))
    case .shutdown(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_SHUTDOWN, \.shutdown, body.packed(packer))
    case .heartbeatAck(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_HEARTBEAT_ACK, \.heartbeat_ack, body.packed(packer))
    case .selfTest(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_SELF_TEST, \.self_test, body.packed(packer))
    case .step(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_STEP, \.step, body.packed(packer))
    case .generate(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_GENERATE, \.generate, body.packed(packer))
    case .evaluate(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_EVALUATE, \.evaluate, body.packed(packer))
    case .cancel(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_CANCEL, \.cancel, body.packed(packer))
    case .statusRequest(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_STATUS_REQUEST, \.status_request, body.packed(packer))
    case .healthRequest(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_HEALTH_REQUEST, \.health_request, body.packed(packer))
    case .accepted(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_ACCEPTED, \.accepted, body.packed(packer))
    case .delta(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_DELTA, \.delta, body.packed(packer))
    case .finished(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_FINISHED, \.finished, body.packed(packer))
    case .evaluated(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_EVALUATED, \.evaluated, body.packed(packer))
    case .requestFailed(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_REQUEST_FAILED, \.request_failed, body.packed(packer))
    case .statusReply(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_STATUS_REPLY, \.status_reply, body.packed(packer))
    case .healthReply(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_HEALTH_REPLY, \.health_reply, body.packed(packer))
    case .moved(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_MOVED, \.moved, body.packed(packer))
    case .move(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_MOVE, \.move, body.packed(packer))
    case .commit(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_COMMIT, \.commit, body.packed(packer))
    case .abandon(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_ABANDON, \.abandon, body.packed(packer))
    case .kvRows(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_KV_ROWS, \.kv_rows, body.packed(packer))
    case .rebalance(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_REBALANCE, \.rebalance, body.packed(packer))
    case .drain(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_DRAIN, \.drain, body.packed(packer))
    case .receipt(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_RECEIPT, \.receipt, body.packed(packer))
    case .rebalanced(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_REBALANCED, \.rebalanced, body.packed(packer))
    case .describeModel(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_DESCRIBE_MODEL, \.describe_model, body.packed(packer))
    case .modelDescription(let body):
      unsafe c.set(
        TRESTLE__ENVELOPE__BODY_MODEL_DESCRIPTION,
        \.model_description,
        body.packed(packer)
      )
    case .pull(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_PULL, \.pull, body.packed(packer))
    case .chunk(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_CHUNK, \.chunk, body.packed(packer))
    case .pullFailed(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_PULL_FAILED, \.pull_failed, body.packed(packer))
    case .pullReceipt(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_PULL_RECEIPT, \.pull_receipt, body.packed(packer))
    case .modelPending(let body):
      unsafe c.set(TRESTLE__ENVELOPE__BODY_MODEL_PENDING, \.model_pending, body.packed(packer))
    }
  }

  /// Takes the message out of an envelope.
  ///
  /// - Throws: `WireError` with code `malformed` or `oversized`, naming the field at fault.
  init(unpacking c: Trestle__Envelope) throws(WireError) {
    try unsafe Unpack.known(c.base, "Envelope")
    switch unsafe c.body_case {
    case TRESTLE__ENVELOPE__BODY_HELLO:
      self = try unsafe .hello(Hello(unpacking: Unpack.required(c.hello, "Hello")))
    case TRESTLE__ENVELOPE__BODY_HEARTBEAT:
      self = try unsafe .heartbeat(Heartbeat(unpacking: Unpack.required(c.heartbeat, "Heartbeat")))
    case TRESTLE__ENVELOPE__BODY_PREPARED:
      self = try unsafe .prepared(Prepared(unpacking: Unpack.required(c.prepared, "Prepared")))
    case TRESTLE__ENVELOPE__BODY_PREPARE_FAILED:
      self = try unsafe .prepareFailed(
        PrepareFailed(unpacking: Unpack.required(c.prepare_failed, "PrepareFailed"))
      )
    case TRESTLE__ENVELOPE__BODY_STEP_DONE:
      self = try unsafe .stepDone(StepDone(unpacking: Unpack.required(c.step_done, "StepDone")))
    case TRESTLE__ENVELOPE__BODY_STEP_FAILED:
      self = try unsafe .stepFailed(
        StepFailed(unpacking: Unpack.required(c.step_failed, "StepFailed"))
      )
    case TRESTLE__ENVELOPE__BODY_GOODBYE:
      self = try unsafe .goodbye(Goodbye(unpacking: Unpack.required(c.goodbye, "Goodbye")))
    case TRESTLE__ENVELOPE__BODY_WELCOME:
      self = try unsafe .welcome(Welcome(unpacking: Unpack.required(c.welcome, "Welcome")))
    case TRESTLE__ENVELOPE__BODY_REFUSED:
      self = try unsafe .refused(Refused(unpacking: Unpack.required(c.refused, "Refused")))
    case TRESTLE__ENVELOPE__BODY_ASSIGN:
      self = try unsafe .assign(Assign(unpacking: Unpack.required(c.assign, "Assign")))
    case TRESTLE__ENVELOPE__BODY_SHUTDOWN:
      self = try unsafe .shutdown(Shutdown(unpacking: Unpack.required(c.shutdown, "Shutdown")))
    case TRESTLE__ENVELOPE__BODY_HEARTBEAT_ACK:
      self = try unsafe .heartbeatAck(
        HeartbeatAck(unpacking: Unpack.required(c.heartbeat_ack, "HeartbeatAck"))
      )
    case TRESTLE__ENVELOPE__BODY_SELF_TEST:
      self = try unsafe .selfTest(SelfTest(unpacking: Unpack.required(c.self_test, "SelfTest")))
    case TRESTLE__ENVELOPE__BODY_STEP:
      self = try unsafe .step(Step(unpacking: Unpack.required(c.step, "Step")))
    case TRESTLE__ENVELOPE__BODY_GENERATE:
      self = try unsafe .generate(Generate(unpacking: Unpack.required(c.generate, "Generate")))
    case TRESTLE__ENVELOPE__BODY_EVALUATE:
      self = try unsafe .evaluate(Evaluate(unpacking: Unpack.required(c.evaluate, "Evaluate")))
    case TRESTLE__ENVELOPE__BODY_CANCEL:
      self = try unsafe .cancel(Cancel(unpacking: Unpack.required(c.cancel, "Cancel")))
    case TRESTLE__ENVELOPE__BODY_STATUS_REQUEST:
      self = try unsafe .statusRequest(
        StatusRequest(unpacking: Unpack.required(c.status_request, "StatusRequest"))
      )
    case TRESTLE__ENVELOPE__BODY_HEALTH_REQUEST:
      self = try unsafe .healthRequest(
        HealthRequest(unpacking: Unpack.required(c.health_request, "HealthRequest"))
      )
    case TRESTLE__ENVELOPE__BODY_ACCEPTED:
      self = try unsafe .accepted(Accepted(unpacking: Unpack.required(c.accepted, "Accepted")))
    case TRESTLE__ENVELOPE__BODY_DELTA:
      self = try unsafe .delta(Delta(unpacking: Unpack.required(c.delta, "Delta")))
    case TRESTLE__ENVELOPE__BODY_FINISHED:
      self = try unsafe .finished(Finished(unpacking: Unpack.required(c.finished, "Finished")))
    case TRESTLE__ENVELOPE__BODY_EVALUATED:
      self = try unsafe .evaluated(Evaluated(unpacking: Unpack.required(c.evaluated, "Evaluated")))
    case TRESTLE__ENVELOPE__BODY_REQUEST_FAILED:
      self = try unsafe .requestFailed(
        RequestFailed(unpacking: Unpack.required(c.request_failed, "RequestFailed"))
      )
    case TRESTLE__ENVELOPE__BODY_STATUS_REPLY:
      self = try unsafe .statusReply(
        StatusReply(unpacking: Unpack.required(c.status_reply, "StatusReply"))
      )
    case TRESTLE__ENVELOPE__BODY_HEALTH_REPLY:
      self = try unsafe .healthReply(
        HealthReply(unpacking: Unpack.required(c.health_reply, "HealthReply"))
      )
    case TRESTLE__ENVELOPE__BODY_MOVED:
      self = try unsafe .moved(Moved(unpacking: Unpack.required(c.moved, "Moved")))
    case TRESTLE__ENVELOPE__BODY_MOVE:
      self = try unsafe .move(Move(unpacking: Unpack.required(c.move, "Move")))
    case TRESTLE__ENVELOPE__BODY_COMMIT:
      self = try unsafe .commit(Commit(unpacking: Unpack.required(c.commit, "Commit")))
    case TRESTLE__ENVELOPE__BODY_ABANDON:
      self = try unsafe .abandon(Abandon(unpacking: Unpack.required(c.abandon, "Abandon")))
    case TRESTLE__ENVELOPE__BODY_KV_ROWS:
      self = try unsafe .kvRows(KVRows(unpacking: Unpack.required(c.kv_rows, "KVRows")))
    case TRESTLE__ENVELOPE__BODY_REBALANCE:
      self = try unsafe .rebalance(Rebalance(unpacking: Unpack.required(c.rebalance, "Rebalance")))
    case TRESTLE__ENVELOPE__BODY_DRAIN:
      self = try unsafe .drain(Drain(unpacking: Unpack.required(c.drain, "Drain")))
    case TRESTLE__ENVELOPE__BODY_RECEIPT:
      self = try unsafe .receipt(Receipt(unpacking: Unpack.required(c.receipt, "Receipt")))
    case TRESTLE__ENVELOPE__BODY_REBALANCED:
      self = try unsafe .rebalanced(
        Rebalanced(unpacking: Unpack.required(c.rebalanced, "Rebalanced"))
      )
    case TRESTLE__ENVELOPE__BODY_DESCRIBE_MODEL:
      self = try unsafe .describeModel(
        DescribeModel(unpacking: Unpack.required(c.describe_model, "DescribeModel"))
      )
    case TRESTLE__ENVELOPE__BODY_MODEL_DESCRIPTION:
      self = try unsafe .modelDescription(
        ModelDescription(unpacking: Unpack.required(c.model_description, "ModelDescription"))
      )
    case TRESTLE__ENVELOPE__BODY_PULL:
      self = try unsafe .pull(Pull(unpacking: Unpack.required(c.pull, "Pull")))
    case TRESTLE__ENVELOPE__BODY_CHUNK:
      self = try unsafe .chunk(Chunk(unpacking: Unpack.required(c.chunk, "Chunk")))
    case TRESTLE__ENVELOPE__BODY_PULL_FAILED:
      self = try unsafe .pullFailed(
        PullFailed(unpacking: Unpack.required(c.pull_failed, "PullFailed"))
      )
    case TRESTLE__ENVELOPE__BODY_PULL_RECEIPT:
      self = try unsafe .pullReceipt(
        PullReceipt(unpacking: Unpack.required(c.pull_receipt, "PullReceipt"))
      )
    case TRESTLE__ENVELOPE__BODY_MODEL_PENDING:
      self = try unsafe .modelPending(
        ModelPending(unpacking: Unpack.required(c.model_pending, "ModelPending"))
      )
    default:
      throw WireError(.malformed, "the header holds no message", context: "Envelope.body")
    }
  }
}

extension Trestle__Envelope {
  /// The client's number of the request in the body; nil if the body is no request of a client's.
  ///
  /// It is known however little of the rest makes sense, so that a request with a bad field can be
  /// answered by name.
  var request: UInt64? {
    switch unsafe body_case {
    case TRESTLE__ENVELOPE__BODY_GENERATE: unsafe generate?.pointee.request
    case TRESTLE__ENVELOPE__BODY_EVALUATE: unsafe evaluate?.pointee.request
    case TRESTLE__ENVELOPE__BODY_STATUS_REQUEST: unsafe status_request?.pointee.request
    case TRESTLE__ENVELOPE__BODY_HEALTH_REQUEST: unsafe health_request?.pointee.request
    case TRESTLE__ENVELOPE__BODY_REBALANCE: unsafe rebalance?.pointee.request
    case TRESTLE__ENVELOPE__BODY_DRAIN: unsafe drain?.pointee.request
    default: nil
    }
  }
}

extension UnsafeMutablePointer where Pointee == Trestle__Envelope {
  /// Sets the body and says which one it is.
  fileprivate func set<Body>(
    _ bodyCase: Trestle__Envelope__BodyCase,
    _ field: WritableKeyPath<Trestle__Envelope, UnsafeMutablePointer<Body>?>,
    _ body: UnsafeMutablePointer<Body>
  ) {
    unsafe pointee.body_case = bodyCase
    unsafe pointee[keyPath: field] = unsafe body
  }
}
