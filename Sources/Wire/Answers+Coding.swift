// What clients are answered, in protobuf-c's structs and back.

internal import WireMessages

extension Accepted {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Accepted> {
    let c = unsafe packer.make(trestle__accepted__init)
    unsafe c.pointee.request = request
    unsafe c.pointee.prompt_tokens = packer.integer(
      promptTokens,
      "Accepted.promptTokens",
      limit: Limits.tokens
    )
    unsafe c.pointee.queue_position = packer.integer(
      queuePosition,
      "Accepted.queuePosition",
      limit: Limits.queue
    )
    return unsafe c
  }

  init(unpacking c: Trestle__Accepted) throws(WireError) {
    try unsafe Unpack.known(c.base, "Accepted")
    try unsafe self.init(
      request: c.request,
      promptTokens: Unpack.integer(c.prompt_tokens, "Accepted.promptTokens", limit: Limits.tokens),
      queuePosition: Unpack.integer(c.queue_position, "Accepted.queuePosition", limit: Limits.queue)
    )
  }
}

extension Delta {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Delta> {
    let c = unsafe packer.make(trestle__delta__init)
    unsafe c.pointee.request = request
    unsafe c.pointee.text = packer.text(text, "Delta.text", limit: Limits.textBytes)
    unsafe (c.pointee.n_tokens, c.pointee.tokens) = packer.tokens(tokens, "Delta.tokens")
    return unsafe c
  }

  init(unpacking c: Trestle__Delta) throws(WireError) {
    try unsafe Unpack.known(c.base, "Delta")
    try unsafe self.init(
      request: c.request,
      text: Unpack.text(c.text, "Delta.text", limit: Limits.textBytes),
      tokens: Unpack.tokens(c.n_tokens, c.tokens, "Delta.tokens")
    )
  }
}

extension RequestTiming {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__RequestTiming> {
    let c = unsafe packer.make(trestle__request_timing__init)
    unsafe c.pointee.queued_microseconds = queuedMicroseconds
    unsafe c.pointee.first_token_microseconds = firstTokenMicroseconds
    unsafe c.pointee.prefill_microseconds = prefillMicroseconds
    unsafe c.pointee.decode_microseconds = decodeMicroseconds
    unsafe c.pointee.total_microseconds = totalMicroseconds
    return unsafe c
  }

  init(unpacking c: Trestle__RequestTiming) throws(WireError) {
    try unsafe Unpack.known(c.base, "RequestTiming")
    unsafe self.init(
      queuedMicroseconds: c.queued_microseconds,
      firstTokenMicroseconds: c.first_token_microseconds,
      prefillMicroseconds: c.prefill_microseconds,
      decodeMicroseconds: c.decode_microseconds,
      totalMicroseconds: c.total_microseconds
    )
  }
}

extension PlacementEntry {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__PlacementEntry> {
    let c = unsafe packer.make(trestle__placement_entry__init)
    unsafe c.pointee.worker = packer.text(worker, "PlacementEntry.worker", limit: Limits.nameBytes)
    unsafe c.pointee.device = packer.text(device, "PlacementEntry.device", limit: Limits.nameBytes)
    unsafe c.pointee.is_emulated = isEmulated ? 1 : 0
    unsafe c.pointee.first_layer = packer.integer(
      firstLayer,
      "PlacementEntry.firstLayer",
      limit: Limits.layers
    )
    unsafe c.pointee.end_layer = packer.integer(
      endLayer,
      "PlacementEntry.endLayer",
      limit: Limits.layers
    )
    unsafe c.pointee.first_vocabulary_row = packer.integer(
      firstVocabularyRow,
      "PlacementEntry.firstVocabularyRow",
      limit: Limits.vocabulary
    )
    unsafe c.pointee.end_vocabulary_row = packer.integer(
      endVocabularyRow,
      "PlacementEntry.endVocabularyRow",
      limit: Limits.vocabulary
    )
    return unsafe c
  }

  init(unpacking c: Trestle__PlacementEntry) throws(WireError) {
    try unsafe Unpack.known(c.base, "PlacementEntry")
    try unsafe self.init(
      worker: Unpack.text(c.worker, "PlacementEntry.worker", limit: Limits.nameBytes),
      device: Unpack.text(c.device, "PlacementEntry.device", limit: Limits.nameBytes),
      isEmulated: c.is_emulated != 0,
      firstLayer: Unpack.integer(c.first_layer, "PlacementEntry.firstLayer", limit: Limits.layers),
      endLayer: Unpack.integer(c.end_layer, "PlacementEntry.endLayer", limit: Limits.layers),
      firstVocabularyRow: Unpack.integer(
        c.first_vocabulary_row,
        "PlacementEntry.firstVocabularyRow",
        limit: Limits.vocabulary
      ),
      endVocabularyRow: Unpack.integer(
        c.end_vocabulary_row,
        "PlacementEntry.endVocabularyRow",
        limit: Limits.vocabulary
      )
    )
  }
}

extension Finished {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Finished> {
    let c = unsafe packer.make(trestle__finished__init)
    unsafe c.pointee.request = request
    unsafe c.pointee.reason = Trestle__FinishReason(reason.rawValue)
    unsafe c.pointee.prompt_tokens = packer.integer(
      promptTokens,
      "Finished.promptTokens",
      limit: Limits.tokens
    )
    unsafe c.pointee.generated_tokens = packer.integer(
      generatedTokens,
      "Finished.generatedTokens",
      limit: Limits.positions
    )
    unsafe c.pointee.timing = timing.packed(packer)
    unsafe (c.pointee.n_placement, c.pointee.placement) = packer.list(
      placement,
      "Finished.placement",
      limit: Limits.workers
    ) { unsafe $0.packed(packer) }
    return unsafe c
  }

  init(unpacking c: Trestle__Finished) throws(WireError) {
    try unsafe Unpack.known(c.base, "Finished")
    try unsafe self.init(
      request: c.request,
      reason: Unpack.enumeration(c.reason.rawValue, "Finished.reason"),
      promptTokens: Unpack.integer(c.prompt_tokens, "Finished.promptTokens", limit: Limits.tokens),
      generatedTokens: Unpack.integer(
        c.generated_tokens,
        "Finished.generatedTokens",
        limit: Limits.positions
      ),
      timing: RequestTiming(unpacking: Unpack.required(c.timing, "Finished.timing")),
      placement: Unpack.list(
        c.n_placement,
        c.placement,
        "Finished.placement",
        limit: Limits.workers,
        PlacementEntry.init(unpacking:)
      )
    )
  }
}

extension Evaluated {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Evaluated> {
    let c = unsafe packer.make(trestle__evaluated__init)
    unsafe c.pointee.request = request
    unsafe c.pointee.first_position = packer.integer(
      firstPosition,
      "Evaluated.firstPosition",
      limit: Limits.positions
    )
    unsafe c.pointee.row_count = packer.integer(
      rowCount,
      "Evaluated.rowCount",
      limit: Limits.tokens
    )
    unsafe c.pointee.is_last = isLast ? 1 : 0
    unsafe (c.pointee.n_scores, c.pointee.scores) = packer.numbers(
      scores,
      "Evaluated.scores",
      limit: Limits.tokens
    )
    unsafe c.pointee.proof = proof
    return unsafe c
  }

  init(unpacking c: Trestle__Evaluated) throws(WireError) {
    try unsafe Unpack.known(c.base, "Evaluated")
    try unsafe self.init(
      request: c.request,
      firstPosition: Unpack.integer(
        c.first_position,
        "Evaluated.firstPosition",
        limit: Limits.positions
      ),
      rowCount: Unpack.integer(c.row_count, "Evaluated.rowCount", limit: Limits.tokens),
      isLast: c.is_last != 0,
      scores: Unpack.numbers(c.n_scores, c.scores, "Evaluated.scores", limit: Limits.tokens),
      proof: c.proof
    )
  }
}

extension RequestFailed {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__RequestFailed> {
    let c = unsafe packer.make(trestle__request_failed__init)
    unsafe c.pointee.request = request
    unsafe c.pointee.code = Trestle__RequestFailureCode(code.rawValue)
    unsafe c.pointee.message = packer.prose(message)
    return unsafe c
  }

  init(unpacking c: Trestle__RequestFailed) throws(WireError) {
    try unsafe Unpack.known(c.base, "RequestFailed")
    try unsafe self.init(
      request: c.request,
      code: Unpack.enumeration(c.code.rawValue, "RequestFailed.code"),
      message: Unpack.text(c.message, "RequestFailed.message", limit: Limits.proseBytes)
    )
  }
}

extension WorkerStatus {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__WorkerStatus> {
    let c = unsafe packer.make(trestle__worker_status__init)
    unsafe c.pointee.name = packer.text(name, "WorkerStatus.name", limit: Limits.nameBytes)
    unsafe c.pointee.pid = packer.integer(pid, "WorkerStatus.pid", limit: Limits.pids)
    unsafe c.pointee.device = packer.text(device, "WorkerStatus.device", limit: Limits.nameBytes)
    unsafe c.pointee.is_emulated = isEmulated ? 1 : 0
    unsafe c.pointee.first_layer = packer.integer(
      firstLayer,
      "WorkerStatus.firstLayer",
      limit: Limits.layers
    )
    unsafe c.pointee.end_layer = packer.integer(
      endLayer,
      "WorkerStatus.endLayer",
      limit: Limits.layers
    )
    unsafe c.pointee.first_vocabulary_row = packer.integer(
      firstVocabularyRow,
      "WorkerStatus.firstVocabularyRow",
      limit: Limits.vocabulary
    )
    unsafe c.pointee.end_vocabulary_row = packer.integer(
      endVocabularyRow,
      "WorkerStatus.endVocabularyRow",
      limit: Limits.vocabulary
    )
    unsafe c.pointee.state = Trestle__HealthState(state.rawValue)
    unsafe c.pointee.resident_bytes = residentBytes
    unsafe c.pointee.kv_bytes = kvBytes
    unsafe c.pointee.busy = packer.finite(busy, "WorkerStatus.busy")
    unsafe c.pointee.busy_microseconds = busyMicroseconds
    unsafe c.pointee.step_milliseconds = packer.finite(
      stepMilliseconds,
      "WorkerStatus.stepMilliseconds"
    )
    unsafe c.pointee.heartbeat_age_milliseconds = packer.integer(
      heartbeatAgeMilliseconds,
      "WorkerStatus.heartbeatAgeMilliseconds",
      limit: Limits.milliseconds
    )
    unsafe c.pointee.threads = packer.integer(
      threads,
      "WorkerStatus.threads",
      limit: Limits.threads
    )
    unsafe c.pointee.load_fraction = packer.finite(loadFraction, "WorkerStatus.loadFraction")
    unsafe c.pointee.detail = packer.prose(detail)
    unsafe c.pointee.bubble = packer.finite(bubble, "WorkerStatus.bubble")
    unsafe c.pointee.queued = packer.finite(queued, "WorkerStatus.queued")
    unsafe c.pointee.available_bytes = availableBytes
    unsafe c.pointee.temperature = temperature?.packed(packer)
    unsafe c.pointee.layer_rows = layerRows
    unsafe c.pointee.skipped_layer_rows = skippedLayerRows
    return unsafe c
  }

  init(unpacking c: Trestle__WorkerStatus) throws(WireError) {
    try unsafe Unpack.known(c.base, "WorkerStatus")
    try unsafe self.init(
      name: Unpack.text(c.name, "WorkerStatus.name", limit: Limits.nameBytes),
      pid: Unpack.integer(c.pid, "WorkerStatus.pid", limit: Limits.pids),
      device: Unpack.text(c.device, "WorkerStatus.device", limit: Limits.nameBytes),
      isEmulated: c.is_emulated != 0,
      firstLayer: Unpack.integer(c.first_layer, "WorkerStatus.firstLayer", limit: Limits.layers),
      endLayer: Unpack.integer(c.end_layer, "WorkerStatus.endLayer", limit: Limits.layers),
      firstVocabularyRow: Unpack.integer(
        c.first_vocabulary_row,
        "WorkerStatus.firstVocabularyRow",
        limit: Limits.vocabulary
      ),
      endVocabularyRow: Unpack.integer(
        c.end_vocabulary_row,
        "WorkerStatus.endVocabularyRow",
        limit: Limits.vocabulary
      ),
      state: Unpack.enumeration(c.state.rawValue, "WorkerStatus.state"),
      residentBytes: c.resident_bytes,
      kvBytes: c.kv_bytes,
      busy: Unpack.finite(c.busy, "WorkerStatus.busy"),
      busyMicroseconds: c.busy_microseconds,
      stepMilliseconds: Unpack.finite(c.step_milliseconds, "WorkerStatus.stepMilliseconds"),
      heartbeatAgeMilliseconds: Unpack.integer(
        c.heartbeat_age_milliseconds,
        "WorkerStatus.heartbeatAgeMilliseconds",
        limit: Limits.milliseconds
      ),
      threads: Unpack.integer(c.threads, "WorkerStatus.threads", limit: Limits.threads),
      loadFraction: Unpack.finite(c.load_fraction, "WorkerStatus.loadFraction"),
      detail: Unpack.text(c.detail, "WorkerStatus.detail", limit: Limits.proseBytes),
      bubble: Unpack.finite(c.bubble, "WorkerStatus.bubble"),
      queued: Unpack.finite(c.queued, "WorkerStatus.queued"),
      availableBytes: c.available_bytes,
      temperature: Unpack.optional(c.temperature, Temperature.init(unpacking:)),
      layerRows: c.layer_rows,
      skippedLayerRows: c.skipped_layer_rows
    )
  }
}

extension StatusReply {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__StatusReply> {
    let c = unsafe packer.make(trestle__status_reply__init)
    unsafe c.pointee.request = request
    unsafe c.pointee.model = packer.text(model, "StatusReply.model", limit: Limits.nameBytes)
    unsafe c.pointee.epoch = epoch
    unsafe c.pointee.fingerprint = packer.digest(fingerprint)
    unsafe c.pointee.state = Trestle__ServiceState(state.rawValue)
    unsafe c.pointee.sessions = packer.integer(
      sessions,
      "StatusReply.sessions",
      limit: Limits.queue
    )
    unsafe c.pointee.queued = packer.integer(queued, "StatusReply.queued", limit: Limits.queue)
    unsafe c.pointee.tokens_per_second = packer.finite(
      tokensPerSecond,
      "StatusReply.tokensPerSecond"
    )
    unsafe c.pointee.uptime_milliseconds = uptimeMilliseconds
    unsafe c.pointee.protocol_errors = protocolErrors
    unsafe (c.pointee.n_workers, c.pointee.workers) = packer.list(
      workers,
      "StatusReply.workers",
      limit: Limits.workers
    ) { unsafe $0.packed(packer) }
    unsafe c.pointee.first_token = firstToken.packed(packer)
    unsafe c.pointee.inter_token = interToken.packed(packer)
    unsafe c.pointee.kv_positions = kvPositions
    unsafe c.pointee.kv_capacity_positions = kvCapacityPositions
    unsafe c.pointee.auto_rebalance = autoRebalance?.packed(packer)
    return unsafe c
  }

  init(unpacking c: Trestle__StatusReply) throws(WireError) {
    try unsafe Unpack.known(c.base, "StatusReply")
    try unsafe self.init(
      request: c.request,
      model: Unpack.text(c.model, "StatusReply.model", limit: Limits.nameBytes),
      epoch: c.epoch,
      fingerprint: Unpack.digest(c.fingerprint, "StatusReply.fingerprint"),
      state: Unpack.enumeration(c.state.rawValue, "StatusReply.state"),
      sessions: Unpack.integer(c.sessions, "StatusReply.sessions", limit: Limits.queue),
      queued: Unpack.integer(c.queued, "StatusReply.queued", limit: Limits.queue),
      tokensPerSecond: Unpack.finite(c.tokens_per_second, "StatusReply.tokensPerSecond"),
      uptimeMilliseconds: c.uptime_milliseconds,
      protocolErrors: c.protocol_errors,
      workers: Unpack.list(
        c.n_workers,
        c.workers,
        "StatusReply.workers",
        limit: Limits.workers,
        WorkerStatus.init(unpacking:)
      ),
      firstToken: LatencySummary(
        unpacking: Unpack.required(c.first_token, "StatusReply.firstToken")
      ),
      interToken: LatencySummary(
        unpacking: Unpack.required(c.inter_token, "StatusReply.interToken")
      ),
      kvPositions: c.kv_positions,
      kvCapacityPositions: c.kv_capacity_positions,
      autoRebalance: Unpack.optional(c.auto_rebalance, AutoRebalance.init(unpacking:))
    )
  }
}

extension WorkerHealth {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__WorkerHealth> {
    let c = unsafe packer.make(trestle__worker_health__init)
    unsafe c.pointee.name = packer.text(name, "WorkerHealth.name", limit: Limits.nameBytes)
    unsafe c.pointee.pid = packer.integer(pid, "WorkerHealth.pid", limit: Limits.pids)
    unsafe c.pointee.state = Trestle__HealthState(state.rawValue)
    unsafe c.pointee.heartbeat_age_milliseconds = packer.integer(
      heartbeatAgeMilliseconds,
      "WorkerHealth.heartbeatAgeMilliseconds",
      limit: Limits.milliseconds
    )
    unsafe c.pointee.detail = packer.prose(detail)
    unsafe c.pointee.resident_bytes = residentBytes
    unsafe c.pointee.available_bytes = availableBytes
    unsafe c.pointee.temperature = temperature?.packed(packer)
    unsafe c.pointee.self_test = selfTest?.packed(packer)
    return unsafe c
  }

  init(unpacking c: Trestle__WorkerHealth) throws(WireError) {
    try unsafe Unpack.known(c.base, "WorkerHealth")
    try unsafe self.init(
      name: Unpack.text(c.name, "WorkerHealth.name", limit: Limits.nameBytes),
      pid: Unpack.integer(c.pid, "WorkerHealth.pid", limit: Limits.pids),
      state: Unpack.enumeration(c.state.rawValue, "WorkerHealth.state"),
      heartbeatAgeMilliseconds: Unpack.integer(
        c.heartbeat_age_milliseconds,
        "WorkerHealth.heartbeatAgeMilliseconds",
        limit: Limits.milliseconds
      ),
      detail: Unpack.text(c.detail, "WorkerHealth.detail", limit: Limits.proseBytes),
      residentBytes: c.resident_bytes,
      availableBytes: c.available_bytes,
      temperature: Unpack.optional(c.temperature, Temperature.init(unpacking:)),
      selfTest: Unpack.optional(c.self_test, SelfTestReport.init(unpacking:))
    )
  }
}

extension HealthReply {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__HealthReply> {
    let c = unsafe packer.make(trestle__health_reply__init)
    unsafe c.pointee.request = request
    unsafe c.pointee.is_healthy = isHealthy ? 1 : 0
    unsafe (c.pointee.n_workers, c.pointee.workers) = packer.list(
      workers,
      "HealthReply.workers",
      limit: Limits.workers
    ) { unsafe $0.packed(packer) }
    return unsafe c
  }

  init(unpacking c: Trestle__HealthReply) throws(WireError) {
    try unsafe Unpack.known(c.base, "HealthReply")
    try unsafe self.init(
      request: c.request,
      isHealthy: c.is_healthy != 0,
      workers: Unpack.list(
        c.n_workers,
        c.workers,
        "HealthReply.workers",
        limit: Limits.workers,
        WorkerHealth.init(unpacking:)
      )
    )
  }
}

extension Rebalanced {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Rebalanced> {
    let c = unsafe packer.make(trestle__rebalanced__init)
    unsafe c.pointee.request = request
    unsafe c.pointee.epoch = epoch
    unsafe c.pointee.layers_moved = packer.integer(
      layersMoved,
      "Rebalanced.layersMoved",
      limit: Limits.layers
    )
    unsafe c.pointee.kv_bytes_moved = kvBytesMoved
    unsafe c.pointee.pause_microseconds = pauseMicroseconds
    return unsafe c
  }

  init(unpacking c: Trestle__Rebalanced) throws(WireError) {
    try unsafe Unpack.known(c.base, "Rebalanced")
    try unsafe self.init(
      request: c.request,
      epoch: c.epoch,
      layersMoved: Unpack.integer(c.layers_moved, "Rebalanced.layersMoved", limit: Limits.layers),
      kvBytesMoved: c.kv_bytes_moved,
      pauseMicroseconds: c.pause_microseconds
    )
  }
}
