// Serves model files to workers that have none. A thread of its own reads files and computes
// digests; the coordinator's loop takes finished pieces and sends them between two events.

package import Content
package import Gemma
package import ModelFiles
internal import Platform
internal import Wire

/// The outcome of a request.
enum WeightsAnswer: Sendable {
  case send(Message, to: PeerID)
  /// The peer has asked for something that no honest worker asks for.
  case refuse(WireError, from: PeerID)
}

/// Serves the files of a model.
///
/// Only the coordinator's loop may use it, apart from its own thread.
package final class WeightsDesk {
  private enum Request: Sendable {
    case describe(PeerID)
    case pull(Pull, PeerID)
    case stop
  }

  private enum Result: Sendable {
    case description(Message, PeerID)
    case piece(WeightsAnswer)
    case changed(String)
  }

  /// How often the files are checked: a handful of system calls, which may wait for a network.
  private static let watchInterval = Duration.milliseconds(250)

  private let files: ServedFiles
  private let requests: Mailbox<Request>
  private let results: Mailbox<Result>
  private var queue = PullQueue()
  private var thread: Thread?
  /// Peers that have requested a description and not received it; a repeated request counts once.
  private var describing: Set<PeerID> = []
  /// Answers that were made without the thread.
  private var ready: [WeightsAnswer] = []
  private var changes: [String] = []

  /// - Parameters:
  ///   - checkpoint: The model.
  ///   - fingerprint: The fingerprint of config and weights.
  ///   - store: A store of the files' digests; if nil, they are computed each time.
  /// - Throws: `PlatformError` if the process has no thread or descriptor left.
  package init(_ checkpoint: Checkpoint, fingerprint: Digest, store: DigestStore? = nil) throws {
    files = ServedFiles(checkpoint, fingerprint: fingerprint, store: store)
    requests = try Mailbox()
    results = try Mailbox()
    let (files, requests, results) = (files, requests, results)
    thread = try Thread { Self.serve(files, requests, results) }
  }

  deinit { close() }

  /// A descriptor that is readable when there are answers.
  var descriptor: CInt { results.descriptor }

  /// Accepts a request.
  ///
  /// - Parameters:
  ///   - message: A message of any kind.
  ///   - peer: Its sender.
  /// - Returns: False if the message is not a request for weights.
  /// - Throws: `WireError` if the peer asks for too much at once.
  func take(_ message: Message, from peer: PeerID) throws(WireError) -> Bool {
    switch message {
    case .describeModel:
      guard describing.count < PullQueue.peerLimit else { break }
      if describing.insert(peer).inserted {
        requests.post(.describe(peer))
      } else {
        let pending = ModelPending(fraction: files.describedFraction)
        ready.append(.send(.modelPending(pending), to: peer))
      }
    case .pull(let pull):
      let now = ContinuousClock.now
      if let silent = queue.silentPeer(at: now) { ready.append(Self.probe(silent)) }
      guard queue.add(pull, from: peer, at: now) else {
        throw WireError(
          .oversized,
          "more than \(Limits.pulls) requests for pieces at once, or more than \(PullQueue.peerLimit) peers",
          context: message.name
        )
      }
      feed()
    case .pullReceipt(let receipt):
      queue.acknowledge(receipt.receipts, from: peer, at: .now)
      feed()
    default: return false
    }
    return true
  }

  /// Returns a message that ends the pull of a silent peer; sending it shows whether the peer is
  /// connected.
  private static func probe(_ peer: PeerID) -> WeightsAnswer {
    let message = "the pieces that were sent have not been acknowledged for \(PullQueue.silence)"
    return .send(.pullFailed(PullFailed(code: .internal, message: message)), to: peer)
  }

  /// Returns the answers that are ready, and has the next pieces read.
  ///
  /// The caller must report the outcome of each answer to `note`; otherwise no more pieces are
  /// read.
  func takeAnswers() -> [WeightsAnswer] {
    var answers = ready
    ready = []
    for result in results.takeAll() {
      switch result {
      case .description(let message, let peer):
        describing.remove(peer)
        answers.append(.send(message, to: peer))
      case .piece(let answer):
        switch answer {
        case .send(.chunk, _): break
        case .send(_, let peer), .refuse(_, let peer): queue.finished(peer, receipt: nil)
        }
        answers.append(answer)
      case .changed(let change): changes.append(change)
      }
    }
    return answers
  }

  /// Returns what has happened to the model's files since the last call.
  func takeChanges() -> [String] {
    defer { changes = [] }
    return changes
  }

  /// Notes the outcome of an answer.
  ///
  /// - Parameters:
  ///   - answer: An answer that `takeAnswers` returned.
  ///   - outcome: The outcome of sending it; nil if it was not sent.
  func note(_ answer: WeightsAnswer, _ outcome: SendOutcome?) {
    switch answer {
    case .send(.chunk(let chunk), let peer):
      queue.finished(peer, receipt: outcome == .sent ? chunk.receipt : nil)
      if outcome == .unreachable { queue.forget(peer) }
    case .send(.pullFailed, let peer) where outcome == .unreachable: queue.forget(peer)
    case .send, .refuse: break
    }
    feed()
  }

  private func feed() {
    while let (pull, peer) = queue.next() { requests.post(.pull(pull, peer)) }
  }

  private static func serve(
    _ files: ServedFiles,
    _ requests: Mailbox<Request>,
    _ results: Mailbox<Result>
  ) {
    var told: Set<FileChange> = []
    var looked = ContinuousClock.now
    while true {
      _ = try? poll(
        sockets: [],
        descriptors: [requests.descriptor],
        timeout: watchInterval
      )
      for request in requests.takeAll() {
        switch request {
        case .describe(let peer): results.post(.description(files.describe(), peer))
        case .pull(let pull, let peer): results.post(.piece(files.answer(pull, peer)))
        case .stop: return
        }
      }
      guard ContinuousClock.now - looked >= watchInterval else { continue }
      looked = .now
      for change in files.changes() where told.insert(change).inserted {
        results.post(.changed(change.message))
      }
    }
  }

  /// Ends the thread.
  func close() {
    files.stop()
    requests.post(.stop)
    thread?.join()
    thread = nil
  }
}
