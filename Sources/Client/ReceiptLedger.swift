// What the coordinator is to be told of messages that have come, and when.
//
//   told already │ read        │ not read │ read    │
//                │ ◄─ the next receipt    │ waits for the one before
//                └ oldest message that no receipt has told of
//
// The coordinator keeps one account a connection and strikes out its oldest entries (decision 23): so a
// receipt can tell of a message only when all before it have been read.

internal import Wire

/// The messages of sessions that have come and that no receipt has told of.
struct ReceiptLedger: Sendable {
  private struct Entry: Sendable {
    var request: UInt64
    var bytes: Int
    /// Of an `Evaluated`, for the receipt.
    var proof: UInt64?
    /// Whether it ends its request.
    var isLast: Bool
    var isRead = false
  }

  /// After so many messages or bytes the coordinator is told: a quarter of what it sends before it
  /// waits.
  static let receiptMessages = 64
  static let receiptBytes = 1 << 20

  private var entries: [Entry] = []
  /// The number of the first entry.
  private var first: UInt64 = 0
  /// Entries at the front that have been read.
  private var readCount = 0
  private var readBytes = 0
  private var proof: UInt64 = 0
  /// Whether the next receipt is sent however little it tells.
  private var isUrgent = false

  /// Takes note of a message that has come.
  ///
  /// - Returns: Its number, to say later that it has been read.
  mutating func note(_ answer: Answer, bytes: Int) -> UInt64 {
    entries.append(
      Entry(
        request: answer.request,
        bytes: bytes,
        proof: answer.proof,
        isLast: answer.isLast
      )
    )
    return first + UInt64(entries.count - 1)
  }

  /// Takes note that a message has been read.
  ///
  /// - Parameters:
  ///   - serial: Its number.
  ///   - isLate: Whether its reader has kept it waiting: the coordinator may be waiting, too.
  mutating func read(_ serial: UInt64, isLate: Bool) {
    guard serial >= first, case let index = Int(serial - first), index < entries.count else {
      return
    }
    entries[index].isRead = true
    advance(isLate: isLate)
  }

  /// Takes note that nobody reads what came for a request any more.
  mutating func readAll(of request: UInt64) {
    let unread = entries.indices.filter { entries[$0].request == request && !entries[$0].isRead }
    guard !unread.isEmpty else { return }
    for index in unread { entries[index].isRead = true }
    advance(isLate: true)
  }

  private mutating func advance(isLate: Bool) {
    while readCount < entries.count, entries[readCount].isRead {
      let entry = entries[readCount]
      readBytes += entry.bytes
      proof = entry.proof ?? proof
      isUrgent = isUrgent || entry.isLast
      readCount += 1
    }
    if isLate, readCount == entries.count { isUrgent = true }
  }

  /// Whether a receipt is to be sent.
  var isDue: Bool {
    readCount > 0
      && (isUrgent || readCount >= Self.receiptMessages || readBytes >= Self.receiptBytes)
  }

  /// Forgets what has been read, once it is told.
  ///
  /// - Parameter awaited: Requests to ask about.
  /// - Returns: The receipt that tells of it.
  mutating func takeReceipt(awaited: [UInt64] = []) -> Receipt {
    defer {
      entries.removeFirst(readCount)
      first += UInt64(readCount)
      (readCount, readBytes, proof, isUrgent) = (0, 0, 0, false)
    }
    return Receipt(messages: readCount, awaited: awaited, proof: proof)
  }
}
