// Gives workers that have no model file the pieces they ask for. Files are read and digests computed on
// a thread of its own; the coordinator's loop takes what is ready and sends it between two events.

package import Gemma
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
  }

  private let files: ServedFiles
  private let requests: Mailbox<Request>
  private let results: Mailbox<Result>
  private var queue = PullQueue()
  private var thread: Thread?
  /// Descriptions asked for and not yet given: one is as good as many.
  private var describing: Set<PeerID> = []

  /// - Throws: `WireError` if the process has no descriptor left.
  package init(_ checkpoint: Checkpoint) throws {
    files = ServedFiles(checkpoint)
    requests = try Mailbox()
    results = try Mailbox()
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
  /// - Throws: `WireError` if the peer asks for too much at once, or there is no thread for it.
  func take(_ message: Message, from peer: PeerID) throws(WireError) -> Bool {
    switch message {
    case .describeModel:
      try start()
      guard describing.count < PullQueue.peerLimit, describing.insert(peer).inserted else { break }
      requests.post(.describe(peer))
    case .pull(let pull):
      try start()
      guard queue.add(pull, from: peer) else {
        throw WireError(
          .oversized,
          "more than \(Limits.pulls) pieces at once, or of \(PullQueue.peerLimit) peers",
          context: message.name
        )
      }
      feed()
    default: return false
    }
    return true
  }

  /// Returns what is ready, and has the next pieces read.
  func takeAnswers() -> [WeightsAnswer] {
    let answers = results.takeAll().map { result in
      switch result {
      case .description(let message, let peer):
        describing.remove(peer)
        return WeightsAnswer.send(message, to: peer)
      case .piece(let answer):
        queue.finished()
        return answer
      }
    }
    feed()
    return answers
  }

  private func feed() {
    while let (pull, peer) = queue.next() { requests.post(.pull(pull, peer)) }
  }

  private func start() throws(WireError) {
    guard thread == nil else { return }
    let (files, requests, results) = (files, requests, results)
    thread = try Thread { Self.serve(files, requests, results) }
  }

  private static func serve(
    _ files: ServedFiles,
    _ requests: Mailbox<Request>,
    _ results: Mailbox<Result>
  ) {
    while true {
      _ = try? poll(sockets: [], descriptors: [requests.descriptor], timeout: nil)
      for request in requests.takeAll() {
        switch request {
        case .describe(let peer): results.post(.description(files.describe(), peer))
        case .pull(let pull, let peer): results.post(.piece(files.answer(pull, peer)))
        case .stop: return
        }
      }
    }
  }

  /// Ends the thread.
  func close() {
    requests.post(.stop)
    thread?.join()
    thread = nil
  }
}
