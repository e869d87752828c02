// The control plane in protobuf-c's structs and back: one line a field, the same name and limit in both
// directions.

internal import WireMessages

extension Hello {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Hello> {
    let c = unsafe packer.make(trestle__hello__init)
    unsafe c.pointee.protocol_version = protocolVersion
    unsafe c.pointee.program_version = packer.text(
      programVersion,
      "Hello.programVersion",
      limit: Limits.nameBytes
    )
    unsafe c.pointee.name = packer.text(name, "Hello.name", limit: Limits.nameBytes)
    unsafe c.pointee.device = packer.text(device, "Hello.device", limit: Limits.nameBytes)
    unsafe c.pointee.is_emulated = isEmulated ? 1 : 0
    unsafe c.pointee.pid = packer.integer(pid, "Hello.pid", limit: Limits.pids)
    unsafe c.pointee.threads = packer.integer(threads, "Hello.threads", limit: Limits.threads)
    unsafe c.pointee.fingerprint = packer.digest(fingerprint)
    unsafe c.pointee.model_name = packer.text(modelName, "Hello.modelName", limit: Limits.nameBytes)
    unsafe c.pointee.layer_count = packer.integer(
      layerCount,
      "Hello.layerCount",
      limit: Limits.layers
    )
    unsafe c.pointee.data_endpoint = packer.text(
      dataEndpoint,
      "Hello.dataEndpoint",
      limit: Limits.endpointBytes
    )
    unsafe c.pointee.memory_bytes = memoryBytes
    unsafe c.pointee.results_identity = packer.identity(resultsIdentity)
    unsafe c.pointee.data_key = packer.key(dataKey)
    unsafe c.pointee.machine = packer.text(machine, "Hello.machine", limit: Limits.nameBytes)
    return unsafe c
  }

  init(unpacking c: Trestle__Hello) throws(WireError) {
    try unsafe Unpack.known(c.base, "Hello")
    try unsafe self.init(
      protocolVersion: c.protocol_version,
      programVersion: Unpack.text(
        c.program_version,
        "Hello.programVersion",
        limit: Limits.nameBytes
      ),
      name: Unpack.text(c.name, "Hello.name", limit: Limits.nameBytes),
      device: Unpack.text(c.device, "Hello.device", limit: Limits.nameBytes),
      isEmulated: c.is_emulated != 0,
      pid: Unpack.integer(c.pid, "Hello.pid", limit: Limits.pids),
      threads: Unpack.integer(c.threads, "Hello.threads", limit: Limits.threads),
      fingerprint: Unpack.digest(c.fingerprint, "Hello.fingerprint"),
      modelName: Unpack.text(c.model_name, "Hello.modelName", limit: Limits.nameBytes),
      layerCount: Unpack.integer(c.layer_count, "Hello.layerCount", limit: Limits.layers),
      dataEndpoint: Unpack.text(c.data_endpoint, "Hello.dataEndpoint", limit: Limits.endpointBytes),
      memoryBytes: c.memory_bytes,
      resultsIdentity: Unpack.identity(c.results_identity, "Hello.resultsIdentity"),
      dataKey: Unpack.key(c.data_key, "Hello.dataKey"),
      machine: Unpack.text(c.machine, "Hello.machine", limit: Limits.nameBytes)
    )
  }
}

extension Heartbeat {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Heartbeat> {
    let c = unsafe packer.make(trestle__heartbeat__init)
    unsafe c.pointee.state = Trestle__WorkerState(state.rawValue)
    unsafe c.pointee.epoch = epoch
    unsafe c.pointee.load_fraction = packer.finite(loadFraction, "Heartbeat.loadFraction")
    unsafe c.pointee.steps = steps
    unsafe c.pointee.rows = rows
    unsafe c.pointee.busy_microseconds = busyMicroseconds
    unsafe c.pointee.last_step_microseconds = lastStepMicroseconds
    unsafe c.pointee.step_in_progress_microseconds = stepInProgressMicroseconds
    unsafe c.pointee.resident_bytes = residentBytes
    unsafe c.pointee.kv_bytes = kvBytes
    unsafe c.pointee.rejected_messages = rejectedMessages
    unsafe c.pointee.detail = packer.prose(detail)
    unsafe c.pointee.clock_microseconds = clockMicroseconds
    unsafe c.pointee.available_bytes = availableBytes
    unsafe c.pointee.temperature = temperature?.packed(packer)
    unsafe c.pointee.self_test = selfTest?.packed(packer)
    unsafe c.pointee.layer_rows = layerRows
    unsafe c.pointee.skipped_layer_rows = skippedLayerRows
    return unsafe c
  }

  init(unpacking c: Trestle__Heartbeat) throws(WireError) {
    try unsafe Unpack.known(c.base, "Heartbeat")
    try unsafe self.init(
      state: Unpack.enumeration(c.state.rawValue, "Heartbeat.state"),
      epoch: c.epoch,
      loadFraction: Unpack.finite(c.load_fraction, "Heartbeat.loadFraction"),
      steps: c.steps,
      rows: c.rows,
      busyMicroseconds: c.busy_microseconds,
      lastStepMicroseconds: c.last_step_microseconds,
      stepInProgressMicroseconds: c.step_in_progress_microseconds,
      residentBytes: c.resident_bytes,
      kvBytes: c.kv_bytes,
      rejectedMessages: c.rejected_messages,
      detail: Unpack.text(c.detail, "Heartbeat.detail", limit: Limits.proseBytes),
      clockMicroseconds: c.clock_microseconds,
      availableBytes: c.available_bytes,
      temperature: Unpack.optional(c.temperature, Temperature.init(unpacking:)),
      selfTest: Unpack.optional(c.self_test, SelfTestReport.init(unpacking:)),
      layerRows: c.layer_rows,
      skippedLayerRows: c.skipped_layer_rows
    )
  }
}

extension Prepared {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Prepared> {
    let c = unsafe packer.make(trestle__prepared__init)
    unsafe c.pointee.epoch = epoch
    return unsafe c
  }

  init(unpacking c: Trestle__Prepared) throws(WireError) {
    try unsafe Unpack.known(c.base, "Prepared")
    unsafe self.init(
      epoch: c.epoch
    )
  }
}

extension PrepareFailed {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__PrepareFailed> {
    let c = unsafe packer.make(trestle__prepare_failed__init)
    unsafe c.pointee.epoch = epoch
    unsafe c.pointee.code = Trestle__FailureCode(code.rawValue)
    unsafe c.pointee.message = packer.prose(message)
    return unsafe c
  }

  init(unpacking c: Trestle__PrepareFailed) throws(WireError) {
    try unsafe Unpack.known(c.base, "PrepareFailed")
    try unsafe self.init(
      epoch: c.epoch,
      code: Unpack.enumeration(c.code.rawValue, "PrepareFailed.code"),
      message: Unpack.text(c.message, "PrepareFailed.message", limit: Limits.proseBytes)
    )
  }
}

extension RowResult {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__RowResult> {
    let c = unsafe packer.make(trestle__row_result__init)
    unsafe c.pointee.slot = packer.integer(slot, "RowResult.slot", limit: Limits.slots)
    unsafe c.pointee.position = packer.integer(
      position,
      "RowResult.position",
      limit: Limits.positions
    )
    unsafe c.pointee.token = token
    unsafe c.pointee.log_probability = logProbability
    return unsafe c
  }

  init(unpacking c: Trestle__RowResult) throws(WireError) {
    try unsafe Unpack.known(c.base, "RowResult")
    try unsafe self.init(
      slot: Unpack.integer(c.slot, "RowResult.slot", limit: Limits.slots),
      position: Unpack.integer(c.position, "RowResult.position", limit: Limits.positions),
      token: c.token,
      logProbability: c.log_probability
    )
  }
}

extension StepDone {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__StepDone> {
    let c = unsafe packer.make(trestle__step_done__init)
    unsafe c.pointee.epoch = epoch
    unsafe c.pointee.sequence = sequence
    unsafe (c.pointee.n_results, c.pointee.results) = packer.list(
      results,
      "StepDone.results",
      limit: Limits.rows
    ) { unsafe $0.packed(packer) }
    unsafe (c.pointee.n_stage_microseconds, c.pointee.stage_microseconds) = packer.numbers(
      stageMicroseconds,
      "StepDone.stageMicroseconds",
      limit: Limits.stages
    )
    unsafe (c.pointee.n_stage_began_microseconds, c.pointee.stage_began_microseconds) =
      packer.numbers(
        stageBeganMicroseconds,
        "StepDone.stageBeganMicroseconds",
        limit: Limits.stages
      )
    return unsafe c
  }

  init(unpacking c: Trestle__StepDone) throws(WireError) {
    try unsafe Unpack.known(c.base, "StepDone")
    try unsafe self.init(
      epoch: c.epoch,
      sequence: c.sequence,
      results: Unpack.list(
        c.n_results,
        c.results,
        "StepDone.results",
        limit: Limits.rows,
        RowResult.init(unpacking:)
      ),
      stageMicroseconds: Unpack.numbers(
        c.n_stage_microseconds,
        c.stage_microseconds,
        "StepDone.stageMicroseconds",
        limit: Limits.stages
      ),
      stageBeganMicroseconds: Unpack.numbers(
        c.n_stage_began_microseconds,
        c.stage_began_microseconds,
        "StepDone.stageBeganMicroseconds",
        limit: Limits.stages
      )
    )
  }
}

extension StepFailed {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__StepFailed> {
    let c = unsafe packer.make(trestle__step_failed__init)
    unsafe c.pointee.epoch = epoch
    unsafe c.pointee.sequence = sequence
    unsafe c.pointee.worker = packer.text(worker, "StepFailed.worker", limit: Limits.nameBytes)
    unsafe c.pointee.code = Trestle__FailureCode(code.rawValue)
    unsafe c.pointee.message = packer.prose(message)
    unsafe (c.pointee.n_slots, c.pointee.slots) = packer.integers(
      slots,
      "StepFailed.slots",
      count: Limits.slots,
      limit: Limits.slots
    )
    return unsafe c
  }

  init(unpacking c: Trestle__StepFailed) throws(WireError) {
    try unsafe Unpack.known(c.base, "StepFailed")
    try unsafe self.init(
      epoch: c.epoch,
      sequence: c.sequence,
      worker: Unpack.text(c.worker, "StepFailed.worker", limit: Limits.nameBytes),
      code: Unpack.enumeration(c.code.rawValue, "StepFailed.code"),
      message: Unpack.text(c.message, "StepFailed.message", limit: Limits.proseBytes),
      slots: Unpack.integers(
        c.n_slots,
        c.slots,
        "StepFailed.slots",
        count: Limits.slots,
        limit: Limits.slots
      )
    )
  }
}

extension Goodbye {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Goodbye> {
    let c = unsafe packer.make(trestle__goodbye__init)
    unsafe c.pointee.reason = packer.prose(reason)
    return unsafe c
  }

  init(unpacking c: Trestle__Goodbye) throws(WireError) {
    try unsafe Unpack.known(c.base, "Goodbye")
    try unsafe self.init(
      reason: Unpack.text(c.reason, "Goodbye.reason", limit: Limits.proseBytes)
    )
  }
}

extension Welcome {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Welcome> {
    let c = unsafe packer.make(trestle__welcome__init)
    unsafe c.pointee.name = packer.text(name, "Welcome.name", limit: Limits.nameBytes)
    unsafe c.pointee.heartbeat_milliseconds = packer.integer(
      heartbeatMilliseconds,
      "Welcome.heartbeatMilliseconds",
      limit: Limits.milliseconds
    )
    return unsafe c
  }

  init(unpacking c: Trestle__Welcome) throws(WireError) {
    try unsafe Unpack.known(c.base, "Welcome")
    try unsafe self.init(
      name: Unpack.text(c.name, "Welcome.name", limit: Limits.nameBytes),
      heartbeatMilliseconds: Unpack.integer(
        c.heartbeat_milliseconds,
        "Welcome.heartbeatMilliseconds",
        limit: Limits.milliseconds
      )
    )
  }
}

extension Refused {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Refused> {
    let c = unsafe packer.make(trestle__refused__init)
    unsafe c.pointee.code = Trestle__RefusalCode(code.rawValue)
    unsafe c.pointee.message = packer.prose(message)
    return unsafe c
  }

  init(unpacking c: Trestle__Refused) throws(WireError) {
    try unsafe Unpack.known(c.base, "Refused")
    try unsafe self.init(
      code: Unpack.enumeration(c.code.rawValue, "Refused.code"),
      message: Unpack.text(c.message, "Refused.message", limit: Limits.proseBytes)
    )
  }
}

extension Assign {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Assign> {
    let c = unsafe packer.make(trestle__assign__init)
    unsafe c.pointee.epoch = epoch
    unsafe c.pointee.first_layer = packer.integer(
      firstLayer,
      "Assign.firstLayer",
      limit: Limits.layers
    )
    unsafe c.pointee.end_layer = packer.integer(endLayer, "Assign.endLayer", limit: Limits.layers)
    unsafe c.pointee.first_vocabulary_row = packer.integer(
      firstVocabularyRow,
      "Assign.firstVocabularyRow",
      limit: Limits.vocabulary
    )
    unsafe c.pointee.end_vocabulary_row = packer.integer(
      endVocabularyRow,
      "Assign.endVocabularyRow",
      limit: Limits.vocabulary
    )
    unsafe c.pointee.stage = packer.integer(stage, "Assign.stage", limit: Limits.stages)
    unsafe c.pointee.stage_count = packer.integer(
      stageCount,
      "Assign.stageCount",
      limit: Limits.stages
    )
    unsafe c.pointee.next_endpoint = packer.text(
      nextEndpoint,
      "Assign.nextEndpoint",
      limit: Limits.endpointBytes
    )
    unsafe c.pointee.max_rows = packer.integer(maxRows, "Assign.maxRows", limit: Limits.rows)
    unsafe c.pointee.slots = packer.integer(slots, "Assign.slots", limit: Limits.slots)
    unsafe c.pointee.context_tokens = packer.integer(
      contextTokens,
      "Assign.contextTokens",
      limit: Limits.positions
    )
    unsafe c.pointee.next_key = packer.key(nextKey)
    unsafe (c.pointee.n_peer_keys, c.pointee.peer_keys) = packer.texts(
      peerKeys.map(\.description),
      "Assign.peerKeys",
      count: Limits.workers,
      limit: Limits.keyBytes
    )
    return unsafe c
  }

  init(unpacking c: Trestle__Assign) throws(WireError) {
    try unsafe Unpack.known(c.base, "Assign")
    try unsafe self.init(
      epoch: c.epoch,
      firstLayer: Unpack.integer(c.first_layer, "Assign.firstLayer", limit: Limits.layers),
      endLayer: Unpack.integer(c.end_layer, "Assign.endLayer", limit: Limits.layers),
      firstVocabularyRow: Unpack.integer(
        c.first_vocabulary_row,
        "Assign.firstVocabularyRow",
        limit: Limits.vocabulary
      ),
      endVocabularyRow: Unpack.integer(
        c.end_vocabulary_row,
        "Assign.endVocabularyRow",
        limit: Limits.vocabulary
      ),
      stage: Unpack.integer(c.stage, "Assign.stage", limit: Limits.stages),
      stageCount: Unpack.integer(c.stage_count, "Assign.stageCount", limit: Limits.stages),
      nextEndpoint: Unpack.text(
        c.next_endpoint,
        "Assign.nextEndpoint",
        limit: Limits.endpointBytes
      ),
      maxRows: Unpack.integer(c.max_rows, "Assign.maxRows", limit: Limits.rows),
      slots: Unpack.integer(c.slots, "Assign.slots", limit: Limits.slots),
      contextTokens: Unpack.integer(
        c.context_tokens,
        "Assign.contextTokens",
        limit: Limits.positions
      ),
      nextKey: Unpack.key(c.next_key, "Assign.nextKey"),
      peerKeys: Unpack.keys(
        c.n_peer_keys,
        c.peer_keys,
        "Assign.peerKeys",
        limit: Limits.workers
      )
    )
  }
}

extension Shutdown {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Shutdown> {
    let c = unsafe packer.make(trestle__shutdown__init)
    unsafe c.pointee.reason = packer.prose(reason)
    return unsafe c
  }

  init(unpacking c: Trestle__Shutdown) throws(WireError) {
    try unsafe Unpack.known(c.base, "Shutdown")
    try unsafe self.init(
      reason: Unpack.text(c.reason, "Shutdown.reason", limit: Limits.proseBytes)
    )
  }
}

extension HeartbeatAck {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__HeartbeatAck> {
    unsafe packer.make(trestle__heartbeat_ack__init)
  }

  init(unpacking c: Trestle__HeartbeatAck) throws(WireError) {
    try unsafe Unpack.known(c.base, "HeartbeatAck")
    self.init()
  }
}
