// The running stage and, beside it, that of the next epoch. The next one is prepared, receives the
// keys and values of the live sessions between two tokens, and then replaces the running one. There
// is no socket and no thread in here.

internal import Compute
package import Wire

/// Keys and values to be sent to another worker.
package struct OutgoingRows: Sendable {
  package var address: PeerAddress
  package var header: KVRows
  /// Keys and values, each [positions, kvHeads * headDim].
  package var payloads: [[Float]]

  package var byteCount: Int { payloads.reduce(0) { $0 + $1.count * MemoryLayout<Float>.size } }
}

/// The running and the prepared stage of a worker.
///
/// It must be used by one thread at a time.
package struct StagePair {
  package private(set) var running: Stage?
  package private(set) var prepared: Stage?
  /// The worker that the running stage hands off to; nil for the last stage.
  package private(set) var next: PeerAddress?
  private var preparedNext: PeerAddress?
  private var move: MoveProgress?

  /// The progress of a move.
  private struct MoveProgress {
    let order: Move
    /// The exports that are still to be sent, one for each layer and slot, in reverse order.
    var exports: [(export: KVExport, slot: SlotState)]
    var sentBytes = 0
    var isReported = false
  }

  /// The keys and values of one layer and one slot.
  private struct CachePlace: Hashable {
    let layer: Int
    let slot: Int
  }

  /// Which KVRows the prepared stage has received.
  ///
  /// They may come before the Move that announces them.
  private var imported: Set<CachePlace> = []
  private var importedEarly: Set<CachePlace> = []

  /// A worker that takes over the keys and values of one layer and one slot; several workers may
  /// take the same.
  private struct Destination: Hashable {
    let place: CachePlace
    let endpoint: String
  }

  /// Up to which position a slot has been sent early.
  ///
  /// The entry of a slot is removed as soon as anything other than appending happens to the slot.
  private var sentEarly: [Destination: Int] = [:]

  /// The last epoch that was abandoned.
  ///
  /// Its loader may finish afterwards, and its stage is then refused.
  private var abandoned: UInt32 = 0

  package init() {}

  /// Keeps a stage as the prepared one.
  ///
  /// Returns false if there is a later one already, or if its epoch was abandoned.
  package mutating func install(_ stage: Stage, next: PeerAddress?) -> Bool {
    let latest = max(running?.epoch ?? 0, prepared?.epoch ?? 0, abandoned)
    guard stage.epoch > latest else { return false }
    prepared = stage
    preparedNext = next
    forgetMove()
    return true
  }

  private mutating func forgetMove() {
    move = nil
    imported = []
    importedEarly = []
    sentEarly = [:]
  }

  /// Returns the stage that a step runs on.
  ///
  /// The first step of a prepared epoch commits it.
  ///
  /// - Returns: The stage, and whether this call has committed it.
  package mutating func stage(for step: Step) -> (stage: Stage?, isNew: Bool) {
    guard let prepared, prepared.epoch == step.epoch else {
      // The step replaces the contents of these slots, so what was sent of them early is no longer
      // valid.
      let others = Set(step.cleared + step.forks.map(\.target))
      if !others.isEmpty { sentEarly = sentEarly.filter { !others.contains($0.key.place.slot) } }
      return (running, false)
    }
    let isNew = commit(step.epoch)
    return (running, isNew)
  }

  // MARK: Moving

  /// The epoch of the move in progress; nil if there is none.
  package var moveEpoch: UInt32? { move?.order.epoch }

  /// Whether keys and values are being sent while steps go on.
  ///
  /// Steps take precedence.
  package var isSendingEarly: Bool { move.map { $0.order.isEarly && !$0.isReported } ?? false }

  /// Begins a move; from now on `nextExport` returns the keys and values to send.
  ///
  /// - Throws: `WorkerError` if the epoch is not the prepared one, or if this worker has no such
  ///   slots or layers.
  package mutating func begin(_ order: Move) throws(WorkerError) {
    if let prepared, prepared.epoch != order.epoch {
      throw WorkerError(
        .prepare,
        "move to epoch \(order.epoch), but epoch \(prepared.epoch) is prepared"
      )
    }
    let live = order.slots.filter { order.isEarly || $0.positionCount > 0 }
    let slotCount = running?.runner.limits.slots ?? 0
    if !order.exports.isEmpty,
      let slot = live.map(\.slot).first(where: { !(0..<slotCount).contains($0) })
    {
      throw WorkerError(.prepare, "slot \(slot) is outside 0..<\(slotCount)")
    }
    var exports: [(export: KVExport, slot: SlotState)] = []
    for export in order.exports {
      guard running?.cacheIndex(ofLayer: export.layer) != nil else {
        throw WorkerError(.prepare, "this worker has no keys and values of layer \(export.layer)")
      }
      exports += live.map { (export, $0) }
    }
    // Reversed, because `nextExport` takes from the end.
    move = MoveProgress(order: order, exports: exports.reversed())
  }

  /// Returns the next keys and values to send; nil when none are left.
  ///
  /// - Throws: `WorkerError` if the running stage does not have them.
  package mutating func nextExport() throws(WorkerError) -> OutgoingRows? {
    guard let running, let order = move?.order else { return nil }
    while let (export, slot) = move?.exports.popLast() {
      let count =
        order.isEarly ? running.runner.positionCount(slot: slot.slot) : slot.positionCount
      guard count > 0 else { continue }
      return try rows(of: export, slot.slot, count, running, order)
    }
    return nil
  }

  private mutating func rows(
    of export: KVExport,
    _ slot: Int,
    _ count: Int,
    _ running: Stage,
    _ order: Move
  ) throws(WorkerError) -> OutgoingRows {
    let address: PeerAddress
    do {
      address = try export.address()
    } catch {
      throw WorkerError(.prepare, "layer \(export.layer) cannot be sent", underlying: error)
    }
    let destination = Destination(
      place: CachePlace(layer: export.layer, slot: slot),
      endpoint: export.endpoint
    )
    let sent = order.isEarly ? nil : sentEarly[destination]
    let rows = try running.export(layer: export.layer, slot: slot, count: count, after: sent)
    if order.isEarly { sentEarly[destination] = count }
    let outgoing = OutgoingRows(
      address: address,
      header: KVRows(
        epoch: order.epoch,
        layer: export.layer,
        slot: slot,
        positions: rows.positions,
        isEarly: order.isEarly,
        continues: rows.positions.lowerBound == sent
      ),
      payloads: [rows.keys, rows.values]
    )
    move?.sentBytes += outgoing.byteCount
    return outgoing
  }

  /// Stores received keys and values in the prepared stage.
  ///
  /// - Throws: `WorkerError` if they do not fit it.
  package mutating func take(_ header: KVRows, _ payloads: [[Float]]) throws(WorkerError) {
    guard let prepared, prepared.epoch == header.epoch else {
      throw WorkerError(
        .prepare,
        "keys and values for epoch \(header.epoch), which is not prepared"
      )
    }
    guard payloads.count == 2 else {
      throw WorkerError(.prepare, "keys and values in \(payloads.count) frames; expected 2")
    }
    // No worker may send the keys and values of a layer that is here, because the running stage may
    // read the same cache.
    guard running?.cacheIndex(ofLayer: header.layer) == nil else {
      throw WorkerError(
        .prepare,
        "keys and values of layer \(header.layer), which this worker has already"
      )
    }
    let place = CachePlace(layer: header.layer, slot: header.slot)
    let isFirst =
      header.isEarly
      ? !imported.contains(place) && importedEarly.insert(place).inserted
      : imported.insert(place).inserted
    guard isFirst else {
      throw WorkerError(
        .prepare,
        "keys and values of layer \(header.layer), slot \(header.slot) came twice"
      )
    }
    try prepared.take(
      CacheRows(
        layer: header.layer,
        positions: header.positions,
        keys: payloads[0],
        values: payloads[1]
      ),
      slot: header.slot,
      replacing: !header.continues
    )
  }

  /// Returns the report of a move when everything has been sent and received; nil before that, and
  /// after it was returned once.
  ///
  /// - Throws: `WorkerError` if the sessions cannot resume from the rows received.
  package mutating func completeMove() throws(WorkerError) -> Moved? {
    guard let progress = move, !progress.isReported, progress.exports.isEmpty,
      progress.order.isEarly || imported.count == progress.order.imports
    else { return nil }
    move?.isReported = true
    if let prepared, !progress.order.isEarly {
      for slot in progress.order.slots { try prepared.resume(slot) }
    }
    return Moved(epoch: progress.order.epoch, sentBytes: UInt64(progress.sentBytes))
  }

  // MARK: Ending

  /// Makes the prepared stage the running one.
  ///
  /// If none is prepared, the worker has no layers from now on.
  ///
  /// - Returns: False if nothing changes because the first step of the epoch has committed it
  ///   already.
  package mutating func commit(_ epoch: UInt32) -> Bool {
    guard epoch > running?.epoch ?? 0, prepared.map({ $0.epoch == epoch }) ?? true else {
      return false
    }
    if let prepared {
      // The contents of slots that were not moved belong to sessions that have ended.
      let hasMoved = move.map { $0.isReported && !$0.order.isEarly } ?? false
      prepared.clear(except: Set(hasMoved ? move?.order.slots.map(\.slot) ?? [] : []))
    }
    running = prepared
    next = preparedNext
    prepared = nil
    preparedNext = nil
    forgetMove()
    return true
  }

  /// Discards the prepared stage of an abandoned epoch.
  package mutating func abandon(_ epoch: UInt32) {
    abandoned = max(abandoned, epoch)
    if prepared?.epoch == epoch {
      prepared = nil
      preparedNext = nil
      forgetMove()
    }
    if move?.order.epoch == epoch { forgetMove() }
  }
}
