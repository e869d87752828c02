// What waits for a client that reads slowly.

import Platform
import Testing
import Wire

@testable import Server

@Suite(.timeLimit(.minutes(1))) struct `What an answer's reader has not read` {
  private func queue() -> (queue: AnswerQueue, overflows: Lock<Int>) {
    let overflows = Lock(0)
    return (AnswerQueue(onOverflow: { overflows.withLock { $0 += 1 } }), overflows)
  }

  private func text(_ event: AnswerEvent?) -> String? {
    guard case .piece(_, let piece)? = event else { return nil }
    return piece.text
  }

  @Test func `pieces of one choice become one, and nothing is lost`() async {
    let (queue, overflows) = queue()
    queue.post(.quiet)
    for word in ["To", " be", ","] {
      queue.post(.piece(choice: 0, AnswerPiece(text: word, tokenCount: 1)))
    }
    queue.post(.quiet)
    queue.post(.piece(choice: 1, AnswerPiece(text: "or")))
    queue.post(.piece(choice: 0, AnswerPiece(text: " not")))
    guard case .quiet? = await queue.next(), case .piece(0, let first)? = await queue.next() else {
      Issue.record("other events")
      return
    }
    #expect(first.text == "To be," && first.tokenCount == 3)
    #expect(text(await queue.next()) == "or")
    #expect(text(await queue.next()) == " not")
    #expect(overflows.withLock { $0 } == 0)
  }

  @Test func `who waits gets the next event, and nothing when it is cancelled`() async {
    let (queue, _) = queue()
    let reader = Task { await queue.next() }
    await Task.yield()
    queue.post(.piece(choice: 0, AnswerPiece(text: "a")))
    #expect(text(await reader.value) == "a")
    let waiting = Task { await queue.next() }
    await Task.yield()
    waiting.cancel()
    #expect(await waiting.value == nil)
  }

  @Test func `more than a mebibyte is cut off, once, and what was there is let go`() async {
    let (queue, overflows) = queue()
    let word = String(repeating: "x", count: 1000)
    for _ in 0..<1000 { queue.post(.piece(choice: 0, AnswerPiece(text: word))) }
    #expect(overflows.withLock { $0 } == 0)
    for _ in 0..<100 { queue.post(.piece(choice: 0, AnswerPiece(text: word))) }
    #expect(overflows.withLock { $0 } == 1)
    #expect(await queue.next() == nil)
  }

  @Test func `log probabilities count as what they take`() async {
    let (queue, overflows) = queue()
    let token = ScoredToken(token: 1, logProbability: 0, piece: [65], isSpecial: false)
    let drawn = DrawnToken(drawn: token, likeliest: Array(repeating: token, count: 20))
    for _ in 0..<900 { queue.post(.piece(choice: 0, AnswerPiece(scored: [drawn]))) }
    #expect(overflows.withLock { $0 } == 1)
  }
}
