// The stage that runs and, beside it, the one of the next epoch: prepared, filled with the keys and
// values of the live sessions at a token boundary, then put in its place. No socket, no thread.

internal import Compute
package import Wire

/// Keys and values on their way to another worker.
package struct OutgoingRows: Sendable {
  package var address: PeerAddress
  package var header: KVRows
  /// Keys and values, each [positions, kvHeads * headDim].
  package var payloads: [[Float]]

  package var byteCount: Int { payloads.reduce(0) { $0 + $1.count * MemoryLayout<Float>.size } }
}

/// The stages of a worker in the course of epochs.
///
/// Used by one thread at a time.
package struct StagePair {
  package private(set) var running: Stage?
  package private(set) var prepared: Stage?
  /// Where the running stage hands off to; nil for the last one.
  package private(set) var next: PeerAddress?
  private var preparedNext: PeerAddress?
  private var move: MoveProgress?

  /// How far a move has come.
  private struct MoveProgress {
    let order: Move
    /// What is still to be sent: an export and a slot each.
    var exports: [(export: KVExport, slot: SlotState)]
    var sentBytes = 0
    var isReported = false
  }

  /// A layer's keys and values of one slot.
  private struct CachePlace: Hashable {
    let layer: Int
    let slot: Int
  }

  /// Of the KVRows taken for the stage that is prepared; they may come before the Move that announces
  /// them.
  private var imported: Set<CachePlace> = []
  private var importedEarly: Set<CachePlace> = []

  /// A worker that takes over a layer's keys and values of one slot; several may take the same.
  private struct Destination: Hashable {
    let place: CachePlace
    let endpoint: String
  }

  /// Up to which position a slot has been sent early.
  ///
  /// Only while it has done nothing but grow since.
  private var sentEarly: [Destination: Int] = [:]

  /// The last epoch that was abandoned: its loader may come to its end only then.
  private var abandoned: UInt32 = 0

  package init() {}

  /// Puts a stage beside the one that runs; false if a later one is there already, or nobody waits for
  /// it any more.
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

  /// Returns the stage that a step runs on; the first step of a prepared epoch puts it in place.
  ///
  /// - Returns: The stage, and whether it was put in place just now.
  package mutating func stage(for step: Step) -> (stage: Stage?, isNew: Bool) {
    guard let prepared, prepared.epoch == step.epoch else {
      // What these slots held before the step is not what they hold behind it.
      let others = Set(step.cleared + step.forks.map(\.target))
      if !others.isEmpty { sentEarly = sentEarly.filter { !others.contains($0.key.place.slot) } }
      return (running, false)
    }
    let isNew = commit(step.epoch)
    return (running, isNew)
  }

  // MARK: Moving

  /// The epoch that is moved to; nil if none is.
  package var moveEpoch: UInt32? { move?.order.epoch }

  /// Whether keys and values are sent while steps go on, which come first.
  package var isSendingEarly: Bool { move.map { $0.order.isEarly && !$0.isReported } ?? false }

  /// Begins to move: from now on `nextExport` has what is to be sent.
  ///
  /// - Throws: `WorkerError` if the epoch is not the prepared one, or there is nothing to export from.
  package mutating func begin(_ order: Move) throws(WorkerError) {
    if let prepared, prepared.epoch != order.epoch {
      throw WorkerError(.prepare, "move to epoch \(order.epoch), prepared is \(prepared.epoch)")
    }
    let live = order.slots.filter { order.isEarly || $0.positionCount > 0 }
    let slotCount = running?.runner.limits.slots ?? 0
    if !order.exports.isEmpty,
      let slot = live.map(\.slot).first(where: { !(0..<slotCount).contains($0) })
    {
      throw WorkerError(.prepare, "slot \(slot) outside 0..<\(slotCount)")
    }
    var exports: [(export: KVExport, slot: SlotState)] = []
    for export in order.exports {
      guard running?.cacheIndex(ofLayer: export.layer) != nil else {
        throw WorkerError(.prepare, "layer \(export.layer) has no keys and values here")
      }
      exports += live.map { (export, $0) }
    }
    // Taken from the end.
    move = MoveProgress(order: order, exports: exports.reversed())
  }

  /// Returns the next keys and values to send; nil when none are left.
  ///
  /// - Throws: `WorkerError` if they are not there.
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

  /// Takes keys and values for the stage that is prepared.
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
      throw WorkerError(.prepare, "keys and values in \(payloads.count) frames, 2 expected")
    }
    // Nobody sends what is here: the cache may be one that the running stage reads.
    guard running?.cacheIndex(ofLayer: header.layer) == nil else {
      throw WorkerError(.prepare, "keys and values of layer \(header.layer), which is here already")
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

  /// Returns what to report when all is sent and received, once; nil before and after.
  ///
  /// - Throws: `WorkerError` if the sessions cannot go on from what has come.
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

  /// Puts the prepared stage in place; without one, the worker holds no layers any more.
  ///
  /// - Returns: False if nothing changes: the first step of the epoch has done it already.
  package mutating func commit(_ epoch: UInt32) -> Bool {
    guard epoch > running?.epoch ?? 0, prepared.map({ $0.epoch == epoch }) ?? true else {
      return false
    }
    if let prepared {
      // What the slots hold that nobody has moved is of sessions that are over.
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

  /// Lets go of a prepared stage that will not be.
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
