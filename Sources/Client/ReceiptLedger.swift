// Which messages a client has read but not acknowledged, and when to send a receipt (flow control).
//
//   acknowledged │ read             │ not read │ read
//                │ ◄ next receipt ► │          │ waits for the one before it
//                └ oldest message that has not been acknowledged
//
// The coordinator counts the unacknowledged messages of a connection and a receipt removes the
// oldest of them (decision 23). So a message can be acknowledged only when all before it have been
// read.

internal import Wire

/// The messages of sessions that have come and have not been acknowledged.
struct ReceiptLedger: Sendable {
  private struct Entry: Sendable {
    var request: UInt64
    var bytes: Int
    /// The proof of an `Evaluated`, which the receipt must return.
    var proof: UInt64?
    /// Whether it ends its request.
    var isLast: Bool
    var isRead = false
  }

  /// A receipt is due after this many messages or bytes: a quarter of what the coordinator sends
  /// before it waits.
  static let receiptMessages = 64
  static let receiptBytes = 1 << 20

  private var entries: [Entry] = []
  /// The serial of the first entry.
  private var first: UInt64 = 0
  /// How many entries at the front have been read.
  private var readCount = 0
  private var readBytes = 0
  private var proof: UInt64 = 0
  /// Whether the next receipt is sent however few messages it acknowledges.
  private var isUrgent = false

  /// Notes that a message has come.
  ///
  /// - Returns: Its serial, to report later that it has been read.
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

  /// Notes that a message has been read.
  ///
  /// - Parameters:
  ///   - serial: The serial that `note` returned.
  ///   - isLate: Whether its reader has kept it waiting; then the coordinator may be waiting, too.
  mutating func read(_ serial: UInt64, isLate: Bool) {
    guard serial >= first, case let index = Int(serial - first), index < entries.count else {
      return
    }
    entries[index].isRead = true
    advance(isLate: isLate)
  }

  /// Notes that nobody will read the messages that came for a request.
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

  /// Whether to send a receipt now.
  var isDue: Bool {
    readCount > 0
      && (isUrgent || readCount >= Self.receiptMessages || readBytes >= Self.receiptBytes)
  }

  /// Returns the next receipt, and forgets the messages that it acknowledges.
  ///
  /// - Parameter awaited: Requests to ask about in the same message.
  /// - Returns: The receipt.
  mutating func takeReceipt(awaited: [UInt64] = []) -> Receipt {
    defer {
      entries.removeFirst(readCount)
      first += UInt64(readCount)
      (readCount, readBytes, proof, isUrgent) = (0, 0, 0, false)
    }
    return Receipt(messages: readCount, awaited: awaited, proof: proof)
  }
}
