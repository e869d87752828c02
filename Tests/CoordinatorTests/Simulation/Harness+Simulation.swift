// What a simulation asks of its harness: time that passes for everybody, and what is on its way.

import Wire
import Worker

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
    let waiting = { (count: Int, due: ContinuousClock.Instant) in
      due <= self.now ? count + 1 : count
    }
    return toCoordinator.values.joined().map(\.due).reduce(0, waiting)
      + awake.reduce(0) { (toWorker[$1] ?? []).map(\.due).reduce($0, waiting) }
  }

  /// Whether results of steps have not come in yet.
  var hasResultsUnderWay: Bool { toCoordinator.keys.contains { $0.bytes[0] == 0xD0 } }

  /// The name of the next message of a connection, for a trace.
  func nextMessage(from peer: PeerID) -> String {
    "\(toCoordinator[peer]?.first?.content.message.name ?? "nothing") from \(peer)"
  }

  func nextMessage(toClient peer: PeerID) -> String {
    toClient[peer]?.first.map { "\($0.content.message) by \(peer)" } ?? "nothing"
  }

  func nextMessage(toWorker peer: PeerID) -> String {
    "\(toWorker[peer]?.first?.content.name ?? "nothing") by \(peer)"
  }
}

// MARK: - Links

extension Harness {
  /// The connections whose next message has arrived, in an order for draws that replay.
  func arrived<Content>(_ queues: [PeerID: [InTransit<Content>]]) -> [PeerID] {
    queues.filter { $0.value.first.map { $0.due <= now } ?? false }.keys
      .sorted(by: PeerID.isBefore)
  }

  /// The same of data sockets, to which several connections lead.
  func arrived<Content>(
    _ queues: [String: [InTransit<Content>]]
  ) -> [(endpoint: String, link: Link)] {
    queues.sorted { $0.key < $1.key }.flatMap { endpoint, queue in
      var seen: Set<Link> = []
      return queue.filter { seen.insert($0.link).inserted && $0.due <= now }
        .map { (endpoint, $0.link) }
    }
  }

  /// Has a client send a message, over its link.
  func send(_ message: Message, client: Int = 1) { post(message, from: Harness.peer(client)) }

  /// The links of a worker that are in use: to and from its sockets.
  func links(of worker: SimulatedWorker) -> Set<Link> {
    let endpoint = worker.hello.dataEndpoint
    return (network?.links ?? []).filter { link in
      switch link {
      case .toCoordinator(let peer): peer == worker.control || peer == worker.results
      case .fromCoordinator(let peer): peer == worker.control
      case .steps(let sender, let target): sender == worker.results || target == endpoint
      case .keys(let sender, let target): sender == worker.results || target == endpoint
      }
    }
  }

  /// Lets nothing through some links for a time; what is on its way waits.
  func cut(_ links: Set<Link>, for time: Duration) {
    let end = now + time
    for link in links { network?.cut(link, until: end) }
    func hold<Key, Content>(_ queues: inout [Key: [InTransit<Content>]]) {
      for key in queues.keys {
        queues[key] = queues[key]?.map { item in
          var item = item
          if links.contains(item.link) { item.due = max(item.due, end) }
          return item
        }
      }
    }
    hold(&toCoordinator)
    hold(&toWorker)
    hold(&steps)
    hold(&rows)
  }

  /// Drops what is on its way over some links, as when their connections are reset.
  func reset(_ links: Set<Link>) {
    func drop<Key, Content>(_ queues: inout [Key: [InTransit<Content>]]) {
      for key in queues.keys {
        queues[key]?.removeAll { links.contains($0.link) }
        if queues[key]?.isEmpty ?? false { queues[key] = nil }
      }
    }
    let losesEarlyRows = rows.values.joined()
      .contains { links.contains($0.link) && $0.content.header.isEarly }
    if losesEarlyRows { hasLostEarlyRows = true }
    drop(&toCoordinator)
    drop(&toWorker)
    drop(&steps)
    drop(&rows)
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
