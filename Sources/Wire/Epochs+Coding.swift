// The messages of a change of epoch in protobuf-c's structs and back.

internal import WireMessages

extension SlotState {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__SlotState> {
    let c = unsafe packer.make(trestle__slot_state__init)
    unsafe c.pointee.slot = packer.integer(slot, "SlotState.slot", limit: Limits.slots)
    unsafe c.pointee.position_count = packer.integer(
      positionCount,
      "SlotState.positionCount",
      limit: Limits.positions
    )
    unsafe (c.pointee.n_tokens, c.pointee.tokens) = packer.tokens(tokens, "SlotState.tokens")
    return unsafe c
  }

  init(unpacking c: Trestle__SlotState) throws(WireError) {
    try unsafe Unpack.known(c.base, "SlotState")
    try unsafe self.init(
      slot: Unpack.integer(c.slot, "SlotState.slot", limit: Limits.slots),
      positionCount: Unpack.integer(
        c.position_count,
        "SlotState.positionCount",
        limit: Limits.positions
      ),
      tokens: Unpack.tokens(c.n_tokens, c.tokens, "SlotState.tokens")
    )
  }
}

extension KVExport {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__KVExport> {
    let c = unsafe packer.make(trestle__kvexport__init)
    unsafe c.pointee.layer = packer.integer(layer, "KVExport.layer", limit: Limits.layers)
    unsafe c.pointee.endpoint = packer.text(
      endpoint,
      "KVExport.endpoint",
      limit: Limits.endpointBytes
    )
    unsafe c.pointee.key = packer.key(key)
    return unsafe c
  }

  init(unpacking c: Trestle__KVExport) throws(WireError) {
    try unsafe Unpack.known(c.base, "KVExport")
    try unsafe self.init(
      layer: Unpack.integer(c.layer, "KVExport.layer", limit: Limits.layers),
      endpoint: Unpack.text(c.endpoint, "KVExport.endpoint", limit: Limits.endpointBytes),
      key: Unpack.key(c.key, "KVExport.key")
    )
  }
}

extension Move {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Move> {
    let c = unsafe packer.make(trestle__move__init)
    unsafe c.pointee.epoch = epoch
    unsafe (c.pointee.n_slots, c.pointee.slots) = packer.list(
      slots,
      "Move.slots",
      limit: Limits.slots
    ) {
      unsafe $0.packed(packer)
    }
    unsafe (c.pointee.n_exports, c.pointee.exports) = packer.list(
      exports,
      "Move.exports",
      limit: Limits.layers
    ) {
      unsafe $0.packed(packer)
    }
    unsafe c.pointee.imports = packer.integer(imports, "Move.imports", limit: Limits.kvMessages)
    unsafe c.pointee.is_early = isEarly ? 1 : 0
    return unsafe c
  }

  init(unpacking c: Trestle__Move) throws(WireError) {
    try unsafe Unpack.known(c.base, "Move")
    try unsafe self.init(
      epoch: c.epoch,
      slots: Unpack.list(
        c.n_slots,
        c.slots,
        "Move.slots",
        limit: Limits.slots,
        SlotState.init(unpacking:)
      ),
      exports: Unpack.list(
        c.n_exports,
        c.exports,
        "Move.exports",
        limit: Limits.layers,
        KVExport.init(unpacking:)
      ),
      imports: Unpack.integer(c.imports, "Move.imports", limit: Limits.kvMessages),
      isEarly: c.is_early != 0
    )
  }
}

extension Moved {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Moved> {
    let c = unsafe packer.make(trestle__moved__init)
    unsafe c.pointee.epoch = epoch
    unsafe c.pointee.sent_bytes = sentBytes
    return unsafe c
  }

  init(unpacking c: Trestle__Moved) throws(WireError) {
    try unsafe Unpack.known(c.base, "Moved")
    unsafe self.init(epoch: c.epoch, sentBytes: c.sent_bytes)
  }
}

extension Commit {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Commit> {
    let c = unsafe packer.make(trestle__commit__init)
    unsafe c.pointee.epoch = epoch
    return unsafe c
  }

  init(unpacking c: Trestle__Commit) throws(WireError) {
    try unsafe Unpack.known(c.base, "Commit")
    unsafe self.init(epoch: c.epoch)
  }
}

extension Abandon {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Abandon> {
    let c = unsafe packer.make(trestle__abandon__init)
    unsafe c.pointee.epoch = epoch
    return unsafe c
  }

  init(unpacking c: Trestle__Abandon) throws(WireError) {
    try unsafe Unpack.known(c.base, "Abandon")
    unsafe self.init(epoch: c.epoch)
  }
}
