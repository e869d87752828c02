// The connected workers, by name, and their connections: each has one for control and one for its
// results. What a worker has reported about itself is in its record.

internal import Compute
internal import Wire

/// How a worker was lost that held layers.
struct WorkerLoss: Sendable {
  var name: String
  var device: String
  var reason: String
  var time: ContinuousClock.Instant
}

/// The workers that have been welcomed.
///
/// Invariants:
/// * A worker has a connection for control of its own. The one that its results come from is its word: of
///   two workers that tell the same one, which no honest ones do, the later gets it.
/// * A worker in the roster has not been given up, and its losses are forgotten.
/// * There are at most `Limits.workers` of them, and as many former connections and losses are remembered.
struct Roster: Sendable {
  private var records: [String: WorkerRecord] = [:]
  /// Names by the connection for control.
  private var controllers: [PeerID: String] = [:]
  /// Names by the connection that results come from.
  private var sources: [PeerID: String] = [:]
  /// The results' connections of workers that are gone, the latest last: some may still be on the way.
  private(set) var formerSources: [PeerID] = []
  /// Supervised workers that are not started again.
  private var givenUp: Set<String> = []
  /// Workers that were lost while they held layers and have not come back, the latest last.
  private(set) var losses: [WorkerLoss] = []
  /// Workers whose device was an emulation when they were here last.
  private var emulated: Set<String> = []

  // MARK: Who is here

  var count: Int { records.count }
  var isEmpty: Bool { records.isEmpty }

  /// The names of all workers, in alphabetical order: what is done for each is done in this order.
  var names: [String] { records.keys.sorted() }

  /// What is known of all workers, in the order of their names.
  var all: [WorkerRecord] { names.compactMap { records[$0] } }

  /// The worker of this name; nil if it is not here.
  subscript(name: String) -> WorkerRecord? { records[name] }

  func contains(_ name: String) -> Bool { records[name] != nil }

  /// Returns the name of the worker that speaks through a connection for control.
  func name(ofControl peer: PeerID) -> String? { controllers[peer] }

  /// Returns the name of the worker whose results come through a connection.
  func name(ofResults peer: PeerID) -> String? { sources[peer] }

  /// Whether results that come through a connection are those of a worker that is gone.
  func wasSource(_ peer: PeerID) -> Bool { formerSources.contains(peer) }

  /// Whether none of these workers will be started again.
  func haveBeenGivenUp(_ names: [String]) -> Bool { givenUp.isSuperset(of: names) }

  /// How a worker was lost that has not come back; nil if it held no layers, or is here.
  func loss(of name: String) -> WorkerLoss? { losses.first { $0.name == name } }

  /// The keys of the workers' data sockets, each once.
  var dataKeys: [PublicKey] {
    Set(records.values.compactMap(\.hello.dataKey)).sorted { $0.description < $1.description }
  }

  /// Whether a worker's device is an emulation, or was when the worker was here last.
  func isEmulated(_ name: String) -> Bool { emulated.contains(name) }

  // MARK: What changes

  /// Adds a worker under a name that nobody has.
  ///
  /// Its results come on a connection of its own, which proves the same key as that for control.
  mutating func add(
    _ name: String,
    _ hello: Hello,
    on device: DeviceDescription,
    peer: PeerID,
    at now: ContinuousClock.Instant
  ) {
    var hello = hello
    hello.resultsIdentity = PeerID(hello.resultsIdentity.bytes, key: peer.key)
    records[name] = WorkerRecord(hello, on: device, peer: peer, at: now)
    controllers[peer] = name
    sources[hello.resultsIdentity] = name
    givenUp.remove(name)
    forgetLoss(of: name)
    emulated.remove(name)
    // Those of long ago are forgotten, so that names that come and go are not kept for ever.
    if emulated.count >= Limits.workers { emulated.formIntersection(records.keys) }
    if device.isEmulated { emulated.insert(name) }
  }

  /// Forgets a worker and returns what was known of it.
  mutating func remove(_ name: String) -> WorkerRecord? {
    guard let worker = records.removeValue(forKey: name) else { return nil }
    let source = worker.hello.resultsIdentity
    controllers[worker.peer] = nil
    sources[source] = nil
    formerSources.append(source)
    // Late results come within seconds or not at all, so it is enough to remember as many
    // connections as there can be workers.
    if formerSources.count > Limits.workers { formerSources.removeFirst() }
    return worker
  }

  /// Changes what is known of a worker.
  @discardableResult
  mutating func update<Answer>(
    _ name: String,
    _ change: (inout WorkerRecord) -> Answer
  ) -> Answer? {
    guard let index = records.index(forKey: name) else { return nil }
    return change(&records.values[index])
  }

  /// Changes what is known of all workers, in the order of their names.
  mutating func updateAll(_ change: (inout WorkerRecord) -> Void) {
    for name in names { update(name, change) }
  }

  /// Notes that a worker will not be started again.
  mutating func giveUp(_ name: String) { givenUp.insert(name) }

  /// Notes how a worker was lost, instead of how it was lost before.
  mutating func noteLoss(_ loss: WorkerLoss) {
    forgetLoss(of: loss.name)
    losses.append(loss)
    if losses.count > Limits.workers { losses.removeFirst() }
  }

  /// Forgets that a worker was lost; returns whether it was.
  @discardableResult
  mutating func forgetLoss(of name: String) -> Bool {
    let count = losses.count
    losses.removeAll { $0.name == name }
    return losses.count < count
  }
}

extension Roster {
  /// - Throws: `BrokenInvariant` with the first promise of the type that does not hold.
  func checkInvariants() throws(BrokenInvariant) {
    for (name, worker) in records {
      try require(
        controllers[worker.peer] == name,
        "\(name)'s connection for control is that of \(controllers[worker.peer] ?? "nobody")"
      )
    }
    try require(
      controllers.count == records.count
        && sources.values.allSatisfy { records.keys.contains($0) },
      "\(records.count) workers have \(controllers.count) connections for control, "
        + "results come from those of \(sources.values.sorted())"
    )
    try require(
      givenUp.isDisjoint(with: records.keys),
      "\(givenUp.intersection(records.keys).sorted()) are here and given up"
    )
    let lost = losses.map(\.name)
    try require(
      Set(lost).count == lost.count && records.keys.allSatisfy { !lost.contains($0) },
      "\(lost) are noted as lost, and \(names) are here"
    )
    try require(
      max(records.count, formerSources.count, losses.count) <= Limits.workers,
      "\(records.count) workers are here, and \(formerSources.count) connections and "
        + "\(losses.count) losses remembered"
    )
  }
}
