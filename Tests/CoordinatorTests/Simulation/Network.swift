// The network between simulated processes: how long each connection takes, which are cut, and what is
// on its way. Within a connection messages keep their order, as ZeroMQ has it; between two of them
// anything may overtake anything.

import TestSupport
import Wire

/// One direction of one connection.
enum Link: Hashable {
  /// From a worker's socket for control or results, or from a client.
  case toCoordinator(PeerID)
  case fromCoordinator(PeerID)
  /// To the data socket of a worker, from the coordinator (nil) or the results' owner of a stage.
  case steps(from: PeerID?, to: String)
  case keys(from: PeerID, to: String)
}

/// A message on its way.
struct InTransit<Content> {
  var content: Content
  let link: Link
  /// When it arrives, at the soonest.
  var due: ContinuousClock.Instant
}

/// How long messages take.
struct Network {
  private var random: SeededRandom
  /// By link: what a message takes on average, in seconds; drawn when the link is first used.
  private var latencies: [Link: Double] = [:]
  /// By link that is or was cut: when it is whole again.
  private var healed: [Link: ContinuousClock.Instant] = [:]

  /// By link: when the message arrives that was sent last.
  private var latest: [Link: ContinuousClock.Instant] = [:]

  init(seed: UInt64) { random = SeededRandom(seed) }

  /// The links in use so far.
  var links: Set<Link> { Set(latencies.keys) }

  /// Returns when a message arrives that is sent now.
  mutating func due(
    on link: Link,
    at now: ContinuousClock.Instant
  ) -> ContinuousClock.Instant {
    let mean: Double
    if let known = latencies[link] {
      mean = known
    } else {
      // Every other link is one within a machine; the slowest goes round the world.
      mean = Bool.random(using: &random) ? 0 : Double.random(in: 0...0.3, using: &random)
      latencies[link] = mean
    }
    let microseconds = Int64(mean * Double.random(in: 0.5...1.5, using: &random) * 1e6)
    // Nothing overtakes what was sent before it.
    let due = max(max(now, healed[link] ?? now) + .microseconds(microseconds), latest[link] ?? now)
    latest[link] = due
    return due
  }

  /// Lets nothing through a link before an instant.
  mutating func cut(_ link: Link, until instant: ContinuousClock.Instant) {
    healed[link] = max(instant, healed[link] ?? instant)
    latest[link] = max(instant, latest[link] ?? instant)
  }
}
