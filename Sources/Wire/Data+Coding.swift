// The data plane in protobuf-c's structs and back.

internal import WireMessages

extension Sampling {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Sampling> {
    let c = unsafe packer.make(trestle__sampling__init)
    unsafe c.pointee.temperature = packer.finite(temperature, "Sampling.temperature")
    unsafe c.pointee.top_k = packer.integer(topK, "Sampling.topK", limit: Limits.vocabulary)
    unsafe c.pointee.top_p = packer.finite(topP, "Sampling.topP")
    unsafe c.pointee.min_p = packer.finite(minP, "Sampling.minP")
    unsafe c.pointee.repeat_penalty = packer.finite(repeatPenalty, "Sampling.repeatPenalty")
    unsafe c.pointee.repeat_window = packer.integer(
      repeatWindow,
      "Sampling.repeatWindow",
      limit: Limits.positions
    )
    unsafe c.pointee.seed = seed
    return unsafe c
  }

  init(unpacking c: Trestle__Sampling) throws(WireError) {
    try unsafe Unpack.known(c.base, "Sampling")
    try unsafe self.init(
      temperature: Unpack.finite(c.temperature, "Sampling.temperature"),
      topK: Unpack.integer(c.top_k, "Sampling.topK", limit: Limits.vocabulary),
      topP: Unpack.finite(c.top_p, "Sampling.topP"),
      minP: Unpack.finite(c.min_p, "Sampling.minP"),
      repeatPenalty: Unpack.finite(c.repeat_penalty, "Sampling.repeatPenalty"),
      repeatWindow: Unpack.integer(
        c.repeat_window,
        "Sampling.repeatWindow",
        limit: Limits.positions
      ),
      seed: c.seed
    )
  }
}

extension StepRow {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__StepRow> {
    let c = unsafe packer.make(trestle__step_row__init)
    unsafe c.pointee.slot = packer.integer(slot, "StepRow.slot", limit: Limits.slots)
    unsafe c.pointee.position = packer.integer(
      position,
      "StepRow.position",
      limit: Limits.positions
    )
    unsafe c.pointee.token = packer.token(token, "StepRow.token")
    switch output {
    case .none: break
    case .sample(let sampling):
      unsafe c.pointee.output_case = TRESTLE__STEP_ROW__OUTPUT_SAMPLE
      unsafe c.pointee.sample = sampling.packed(packer)
    case .logits:
      unsafe c.pointee.output_case = TRESTLE__STEP_ROW__OUTPUT_LOGITS
      unsafe c.pointee.logits = 1
    case .score(let target):
      unsafe c.pointee.output_case = TRESTLE__STEP_ROW__OUTPUT_SCORE
      unsafe c.pointee.score = packer.token(target, "StepRow.score")
    }
    return unsafe c
  }

  init(unpacking c: Trestle__StepRow) throws(WireError) {
    try unsafe Unpack.known(c.base, "StepRow")
    try unsafe self.init(
      slot: Unpack.integer(c.slot, "StepRow.slot", limit: Limits.slots),
      position: Unpack.integer(c.position, "StepRow.position", limit: Limits.positions),
      token: Unpack.token(c.token, "StepRow.token"),
      output: RowOutput(unpacking: c)
    )
  }
}

extension RowOutput {
  init(unpacking c: Trestle__StepRow) throws(WireError) {
    switch unsafe c.output_case {
    case TRESTLE__STEP_ROW__OUTPUT__NOT_SET: self = .none
    case TRESTLE__STEP_ROW__OUTPUT_SAMPLE:
      self = try unsafe .sample(
        Sampling(unpacking: Unpack.required(c.sample, "StepRow.sample"))
      )
    case TRESTLE__STEP_ROW__OUTPUT_LOGITS:
      guard unsafe c.logits != 0 else {
        throw WireError(.malformed, "an output is set to false", context: "StepRow.logits")
      }
      self = .logits
    case TRESTLE__STEP_ROW__OUTPUT_SCORE:
      self = try unsafe .score(target: Unpack.token(c.score, "StepRow.score"))
    default: throw WireError(.malformed, "unknown output", context: "StepRow.output")
    }
  }
}

extension Fork {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Fork> {
    let c = unsafe packer.make(trestle__fork__init)
    unsafe c.pointee.source = packer.integer(source, "Fork.source", limit: Limits.slots)
    unsafe c.pointee.target = packer.integer(target, "Fork.target", limit: Limits.slots)
    unsafe c.pointee.position_count = packer.integer(
      positionCount,
      "Fork.positionCount",
      limit: Limits.positions
    )
    return unsafe c
  }

  init(unpacking c: Trestle__Fork) throws(WireError) {
    try unsafe Unpack.known(c.base, "Fork")
    try unsafe self.init(
      source: Unpack.integer(c.source, "Fork.source", limit: Limits.slots),
      target: Unpack.integer(c.target, "Fork.target", limit: Limits.slots),
      positionCount: Unpack.integer(
        c.position_count,
        "Fork.positionCount",
        limit: Limits.positions
      )
    )
  }
}

extension KVRows {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__KVRows> {
    let c = unsafe packer.make(trestle__kvrows__init)
    unsafe c.pointee.epoch = epoch
    unsafe c.pointee.layer = packer.integer(layer, "KVRows.layer", limit: Limits.layers)
    unsafe c.pointee.slot = packer.integer(slot, "KVRows.slot", limit: Limits.slots)
    unsafe c.pointee.first_position = packer.integer(
      positions.lowerBound,
      "KVRows.firstPosition",
      limit: Limits.positions
    )
    unsafe c.pointee.end_position = packer.integer(
      positions.upperBound,
      "KVRows.endPosition",
      limit: Limits.positions
    )
    unsafe c.pointee.is_early = isEarly ? 1 : 0
    unsafe c.pointee.continues = continues ? 1 : 0
    return unsafe c
  }

  init(unpacking c: Trestle__KVRows) throws(WireError) {
    try unsafe Unpack.known(c.base, "KVRows")
    let first = try unsafe Unpack.integer(
      c.first_position,
      "KVRows.firstPosition",
      limit: Limits.positions
    )
    let end = try unsafe Unpack.integer(
      c.end_position,
      "KVRows.endPosition",
      limit: Limits.positions
    )
    guard first <= end else {
      throw WireError(.malformed, "positions \(first)..<\(end)", context: "KVRows.endPosition")
    }
    try unsafe self.init(
      epoch: c.epoch,
      layer: Unpack.integer(c.layer, "KVRows.layer", limit: Limits.layers),
      slot: Unpack.integer(c.slot, "KVRows.slot", limit: Limits.slots),
      positions: first..<end,
      isEarly: c.is_early != 0,
      continues: c.continues != 0
    )
  }
}

extension Step {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Step> {
    let c = unsafe packer.make(trestle__step__init)
    unsafe c.pointee.epoch = epoch
    unsafe c.pointee.sequence = sequence
    unsafe (c.pointee.n_cleared, c.pointee.cleared) = packer.integers(
      cleared,
      "Step.cleared",
      count: Limits.slots,
      limit: Limits.slots
    )
    unsafe (c.pointee.n_rows, c.pointee.rows) = packer.list(rows, "Step.rows", limit: Limits.rows) {
      unsafe $0.packed(packer)
    }
    unsafe (c.pointee.n_stage_microseconds, c.pointee.stage_microseconds) = packer.numbers(
      stageMicroseconds,
      "Step.stageMicroseconds",
      limit: Limits.stages
    )
    unsafe (c.pointee.n_forks, c.pointee.forks) = packer.list(
      forks,
      "Step.forks",
      limit: Limits.slots
    ) {
      unsafe $0.packed(packer)
    }
    unsafe (c.pointee.n_stage_began_microseconds, c.pointee.stage_began_microseconds) =
      packer.numbers(
        stageBeganMicroseconds,
        "Step.stageBeganMicroseconds",
        limit: Limits.stages
      )
    return unsafe c
  }

  init(unpacking c: Trestle__Step) throws(WireError) {
    try unsafe Unpack.known(c.base, "Step")
    try unsafe self.init(
      epoch: c.epoch,
      sequence: c.sequence,
      cleared: Unpack.integers(
        c.n_cleared,
        c.cleared,
        "Step.cleared",
        count: Limits.slots,
        limit: Limits.slots
      ),
      forks: Unpack.list(
        c.n_forks,
        c.forks,
        "Step.forks",
        limit: Limits.slots,
        Fork.init(unpacking:)
      ),
      rows: Unpack.list(
        c.n_rows,
        c.rows,
        "Step.rows",
        limit: Limits.rows,
        StepRow.init(unpacking:)
      ),
      stageMicroseconds: Unpack.numbers(
        c.n_stage_microseconds,
        c.stage_microseconds,
        "Step.stageMicroseconds",
        limit: Limits.stages
      ),
      stageBeganMicroseconds: Unpack.numbers(
        c.n_stage_began_microseconds,
        c.stage_began_microseconds,
        "Step.stageBeganMicroseconds",
        limit: Limits.stages
      )
    )
  }
}
