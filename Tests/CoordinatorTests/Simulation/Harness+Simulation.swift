// What a simulation asks of its harness: time that passes for everybody, and what is on its way.

import Wire

@testable import Coordinator

extension Harness {
  /// Lets time pass for the coordinator and all workers that are awake; each looks at its own clock.
  func elapse(_ time: Duration) {
    now += time
    // What is sent to a process that has ended is nobody's.
    let living = Set(workers.map(\.control))
    toWorker = toWorker.filter { living.contains($0.key) }
    for worker in workers where !worker.isAsleep { carry(worker.tick(), from: worker) }
    handle(.tick)
  }

  /// How many messages wait for a coordinator or worker that could take them.
  var backlog: Int {
    let awake = workers.filter { !$0.isAsleep }.map(\.control)
    return toCoordinator.values.reduce(0) { $0 + $1.count }
      + awake.reduce(0) { $0 + (toWorker[$1]?.count ?? 0) }
  }

  /// Whether results of steps have not come in yet.
  var hasResultsUnderWay: Bool { toCoordinator.keys.contains { $0.bytes[0] == 0xD0 } }

  /// The name of the next message of a connection, for a trace.
  func nextMessage(from peer: PeerID) -> String {
    "\(toCoordinator[peer]?.first?.message.name ?? "nothing") from \(peer)"
  }

  func nextMessage(toWorker peer: PeerID) -> String {
    "\(toWorker[peer]?.first?.name ?? "nothing") by \(peer)"
  }
}

extension PeerID {
  /// An order for draws that replay.
  static func isBefore(_ left: PeerID, _ right: PeerID) -> Bool {
    left.bytes.lexicographicallyPrecedes(right.bytes)
  }
}

extension SimulatedWorker: CustomStringConvertible {
  /// Its place and the connection that names its life.
  var description: String { "\(place ?? "a newcomer") \(control)" }
}
