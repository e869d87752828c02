// The control plane of a change of epoch: what moves from the workers of one placement to those of the
// next. proto/trestle.proto says what answers what.

/// What a slot holds at the boundary between two epochs.
package struct SlotState: Sendable, Hashable {
  package var slot: Int
  /// Its next row has this position.
  package var positionCount: Int
  /// Of these positions; for the last stage only.
  package var tokens: [Int32]

  package init(slot: Int, positionCount: Int, tokens: [Int32]) {
    self.slot = slot
    self.positionCount = positionCount
    self.tokens = tokens
  }
}

/// The keys and values of one layer that a worker sends to another.
package struct KVExport: Sendable, Hashable {
  package var layer: Int
  /// The data endpoint of the worker that takes them.
  package var endpoint: String
  /// What it answers to; nil for ipc.
  package var key: PublicKey?

  package init(layer: Int, endpoint: String, key: PublicKey? = nil) {
    self.layer = layer
    self.endpoint = endpoint
    self.key = key
  }

  /// Where to send them.
  ///
  /// - Throws: `WireError` if the endpoint is none.
  package func address() throws(WireError) -> PeerAddress {
    PeerAddress(try Endpoint(endpoint), key: key)
  }
}

/// Coordinator → worker: no step is under way; the epoch that is prepared takes over the sessions.
///
/// The worker sends the keys and values of these layers, and expects those of others. An early one
/// comes before, while steps go on: what there is is sent, so that little is left.
/// Answered by Moved when all of them are sent and received, or by PrepareFailed.
package struct Move: Sendable, Hashable {
  /// The one that is prepared.
  package var epoch: UInt32
  /// The live ones; all others are empty.
  package var slots: [SlotState]
  package var exports: [KVExport]
  /// How many KVRows will come that are not early.
  package var imports: Int
  /// Steps go on; position counts and tokens of the slots say nothing.
  package var isEarly: Bool

  package init(
    epoch: UInt32,
    slots: [SlotState],
    exports: [KVExport],
    imports: Int,
    isEarly: Bool = false
  ) {
    self.epoch = epoch
    self.slots = slots
    self.exports = exports
    self.imports = imports
    self.isEarly = isEarly
  }
}

/// Worker → coordinator: all that Move named is sent and received.
///
/// Not answered.
package struct Moved: Sendable, Hashable {
  package var epoch: UInt32
  package var sentBytes: UInt64

  package init(epoch: UInt32, sentBytes: UInt64) {
    self.epoch = epoch
    self.sentBytes = sentBytes
  }
}

/// Coordinator → worker: this epoch runs from now on; the layers of the one before are let go.
///
/// Not answered.
package struct Commit: Sendable, Hashable {
  package var epoch: UInt32

  package init(epoch: UInt32) {
    self.epoch = epoch
  }
}

/// Coordinator → worker: this epoch will not be; the one that runs goes on.
///
/// Not answered.
package struct Abandon: Sendable, Hashable {
  package var epoch: UInt32

  package init(epoch: UInt32) {
    self.epoch = epoch
  }
}
