// Gives workers that have no model file the pieces they ask for. Files are read and digests computed on
// a thread of its own; the coordinator's loop takes what is ready and sends it between two events.

package import Content
package import Gemma
internal import Platform
internal import Wire

/// What has become of a request.
enum WeightsAnswer: Sendable {
  case send(Message, to: PeerID)
  /// No honest worker asks for this.
  case refuse(WireError, from: PeerID)
}

/// Serves the files of a model.
///
/// But for its thread, for the coordinator's loop alone.
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

  /// How often the files are looked at: a handful of system calls, which may wait for a network.
  private static let watchInterval = Duration.milliseconds(250)

  private let files: ServedFiles
  private let requests: Mailbox<Request>
  private let results: Mailbox<Result>
  private var queue = PullQueue()
  private var thread: Thread?
  /// Descriptions asked for and not yet given: one is as good as many.
  private var describing: Set<PeerID> = []
  /// What is known without the thread.
  private var ready: [WeightsAnswer] = []
  private var changes: [String] = []

  /// - Parameters:
  ///   - checkpoint: The model.
  ///   - fingerprint: Of config and weights.
  ///   - store: Where digests of its files are kept; nil to compute them each time.
  /// - Throws: `PlatformError` if the process has no thread or descriptor left.
  package init(_ checkpoint: Checkpoint, fingerprint: Digest, store: DigestStore? = nil) throws {
    files = ServedFiles(checkpoint, fingerprint: fingerprint, store: store)
    requests = try Mailbox()
    results = try Mailbox()
    let (files, requests, results) = (files, requests, results)
    thread = try Thread { Self.serve(files, requests, results) }
  }

  deinit { close() }

  /// Readable when there are answers.
  var descriptor: CInt { results.descriptor }

  /// Takes a request.
  ///
  /// - Parameters:
  ///   - message: Of whatever kind.
  ///   - peer: Who sent it.
  /// - Returns: False if it is none for this desk.
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
          "more than \(Limits.pulls) pieces at once, or of \(PullQueue.peerLimit) peers",
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

  /// Ends the pull of a peer that takes nothing; shows whether it is there at all.
  private static func probe(_ peer: PeerID) -> WeightsAnswer {
    let message = "no word of what was sent for \(PullQueue.silence)"
    return .send(.pullFailed(PullFailed(code: .internal, message: message)), to: peer)
  }

  /// Returns what is ready, and has the next pieces read.
  ///
  /// What became of each is told by `note`, or no more comes.
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

  /// Returns what has happened to the model's files since this was last asked.
  func takeChanges() -> [String] {
    defer { changes = [] }
    return changes
  }

  /// Notes what has become of an answer.
  ///
  /// - Parameters:
  ///   - answer: One of `takeAnswers`.
  ///   - outcome: Of sending it; nil if it was not sent.
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
