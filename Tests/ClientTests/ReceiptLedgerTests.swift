// When receipts are sent and what they tell.

import Testing
import Wire

@testable import Client

extension ReceiptLedger {
  /// Takes note of a part of logits.
  fileprivate mutating func note(of request: UInt64, bytes: Int, proof: UInt64 = 1) -> UInt64 {
    guard let answer = Answer(evaluated(request, proof: proof)) else {
      preconditionFailure("a part of an evaluation is an answer")
    }
    return note(answer, bytes: bytes)
  }

  /// Takes note of a message that is read at once.
  fileprivate mutating func take(_ message: Message = delta(1, "x"), bytes: Int = 0) {
    guard let answer = Answer(message) else { preconditionFailure("\(message.name) is no answer") }
    read(note(answer, bytes: bytes), isLate: false)
  }

  /// What a receipt would tell; nil if none is due.
  fileprivate mutating func takeIfDue() -> Receipt? { isDue ? takeReceipt() : nil }
}

@Suite struct `Receipt ledger` {
  @Test func `after 64 messages a receipt is due`() {
    var ledger = ReceiptLedger()
    for _ in 0..<63 { ledger.take() }
    #expect(!ledger.isDue)
    ledger.take()
    let receipts = [ledger.takeIfDue(), ledger.takeIfDue()]
    #expect(receipts == [Receipt(messages: 64, awaited: []), nil])
  }

  @Test func `a mebibyte or the end of a request make one due at once`() {
    var ledger = ReceiptLedger()
    ledger.take(evaluated(1, proof: 5), bytes: (1 << 20) - 1)
    #expect(!ledger.isDue)
    ledger.take(evaluated(1, proof: 6), bytes: 1)
    let large = ledger.takeIfDue()
    #expect(large == Receipt(messages: 2, awaited: [], proof: 6))
    ledger.take(finished(1))
    #expect(ledger.isDue)
    let end = ledger.takeReceipt(awaited: [9])
    #expect(end == Receipt(messages: 1, awaited: [9]))
  }

  @Test func `what was read behind something unread waits for it`() {
    var ledger = ReceiptLedger()
    let logits = ledger.note(of: 2, bytes: 2 << 20, proof: 3)
    for _ in 0..<100 { ledger.take() }
    #expect(!ledger.isDue)
    let early = ledger.takeReceipt()
    #expect(early.messages == 0)
    ledger.read(logits, isLate: true)
    let receipt = ledger.takeIfDue()
    #expect(receipt == Receipt(messages: 101, awaited: [], proof: 3))
  }

  @Test func `a reader that kept the coordinator waiting lets it go on at once`() {
    var ledger = ReceiptLedger()
    let serials = (0..<3).map { _ in ledger.note(of: 2, bytes: 1) }
    ledger.read(serials[0], isLate: true)
    ledger.read(serials[1], isLate: true)
    #expect(!ledger.isDue)
    ledger.read(serials[2], isLate: true)
    let receipt = ledger.takeIfDue()
    #expect(receipt?.messages == 3)
  }

  @Test func `what nobody reads any more holds nobody back`() {
    var ledger = ReceiptLedger()
    for proof in 1...2 { _ = ledger.note(of: 2, bytes: 2 << 20, proof: UInt64(proof)) }
    ledger.take()
    ledger.readAll(of: 1)
    #expect(!ledger.isDue)
    ledger.readAll(of: 2)
    let receipt = ledger.takeIfDue()
    #expect(receipt == Receipt(messages: 3, awaited: [], proof: 2))
  }

  @Test func `a number from before the last receipt is passed over`() {
    var ledger = ReceiptLedger()
    ledger.take(finished(1))
    _ = ledger.takeReceipt()
    ledger.read(0, isLate: true)
    ledger.read(1, isLate: true)
    let receipt = ledger.takeReceipt()
    #expect(!ledger.isDue && receipt.messages == 0)
  }
}
