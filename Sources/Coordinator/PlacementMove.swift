// A placement that is being prepared beside the one that runs, and how far it has come. What is done in
// each of its stages is in CoordinatorMachine+Move.swift.
//
//   preparing ──all prepared──► copying ──all sent──► draining
//   draining ──no step under way──► moving ──all moved──► committed

internal import Wire

/// Who asked for a move.
struct MoveRequest: Sendable, Hashable {
  var peer: PeerID
  var request: UInt64
}

/// A placement that is being prepared beside the one that runs.
struct PlacementMove: Sendable {
  enum Stage: Sendable { case preparing, copying, draining, moving }

  let epoch: UInt32
  let plan: [PlannedWorker]
  /// Nil where the coordinator itself decided.
  let request: MoveRequest?
  /// A worker to be let go afterwards.
  let drained: String?
  let layersMoved: Int
  private(set) var stage = Stage.preparing
  /// When this stage of it began.
  private(set) var since: ContinuousClock.Instant
  /// Workers that have not answered yet.
  private(set) var awaited: Set<String>
  /// What has been sent of keys and values, as the workers say.
  private(set) var kvBytes: UInt64 = 0

  init(
    epoch: UInt32,
    plan: [PlannedWorker],
    request: MoveRequest?,
    drained: String?,
    layersMoved: Int,
    since: ContinuousClock.Instant,
    awaited: Set<String>
  ) {
    self.epoch = epoch
    self.plan = plan
    self.request = request
    self.drained = drained
    self.layersMoved = layersMoved
    self.since = since
    self.awaited = awaited
  }

  /// Whether steps of the old epoch begin.
  var letsStepsStart: Bool { stage == .preparing || stage == .copying }

  /// Goes on to a stage in which these workers are awaited.
  mutating func enter(
    _ next: Stage,
    awaiting workers: Set<String> = [],
    at now: ContinuousClock.Instant
  ) {
    (stage, since, awaited) = (next, now, workers)
  }

  /// Notes that a worker has prepared its layers; returns whether it was the last.
  mutating func prepared(_ worker: String) -> Bool {
    awaited.remove(worker)
    return awaited.isEmpty && stage == .preparing
  }

  /// Notes that a worker has sent its keys and values, so many bytes as it says.
  ///
  /// - Returns: Whether it was the last of its stage; nil if it is not awaited for that.
  mutating func sent(_ worker: String, bytes: UInt64) -> Bool? {
    guard stage == .copying || stage == .moving, awaited.remove(worker) != nil else { return nil }
    // A worker's word: it may be anything.
    kvBytes &+= bytes
    return awaited.isEmpty
  }
}
