// What a session asks of the pipeline, position by position.

import Coordinator
import Testing
import Wire

@Suite struct `A session` {
  private func session(_ goal: SessionGoal) -> Session {
    Session(
      id: 1,
      goal: goal,
      tokens: [10, 11, 12, 13]
    )
  }

  private func outputs(_ session: Session) -> [RowOutput] {
    session.tokens.indices.map { session.output(at: $0) }
  }

  @Test func `a generation asks for a token behind its last one alone`() {
    let sampling = Harness.sampling()
    var session = session(
      .generate(sampling: sampling, maxTokens: 9, ignoresEndOfTurn: false)
    )
    #expect(outputs(session) == [.none, .none, .none, .sample(sampling)])
    session.append(14)
    #expect(outputs(session) == [.none, .none, .none, .none, .sample(sampling)])
    #expect(session.generatedCount == 1)
  }

  @Test func `an evaluation asks for logits everywhere, or for the next token's score`() {
    #expect(outputs(session(.logits)) == Array(repeating: .logits, count: 4))
    #expect(
      outputs(session(.scores(first: 0)))
        == [.score(target: 11), .score(target: 12), .score(target: 13), .none]
    )
    #expect(outputs(session(.scores(first: 3))) == [.none, .none, .score(target: 13), .none])
    #expect(outputs(session(.scores(first: 4))) == Array(repeating: .none, count: 4))
  }

  @Test func `a constraint hears of each token, and masks the next draw alone`() {
    struct Next: TokenConstraint {
      var last: Int32 = 0
      var allowed: TokenMask? { last == 99 ? nil : TokenMask(allowing: [last + 1]) }
      mutating func accept(_ token: Int32) { last = token }
    }
    var session = Session(
      id: 1,
      goal: .generate(sampling: Harness.sampling(), maxTokens: 9, ignoresEndOfTurn: false),
      tokens: [10, 11],
      constraint: Next()
    )
    #expect(session.mask(at: 0) == nil && session.mask(at: 1) == TokenMask(allowing: [1]))
    #expect(session.drawBytes == 1)
    session.complete(upTo: 2)
    session.append(20)
    #expect(session.mask(at: 1) == nil && session.mask(at: 2) == TokenMask(allowing: [21]))
    // Replayed, it is masked as before.
    session.rewind()
    #expect(session.mask(at: 2) == TokenMask(allowing: [21]) && session.mask(at: 0) == nil)
    session.append(99)
    #expect(session.mask == nil && session.drawBytes == 0)
  }

  @Test func `an answer that must be long has no end before, also when replayed`() throws {
    var session = Session(
      id: 1,
      goal: .generate(sampling: Harness.sampling(), maxTokens: 9, ignoresEndOfTurn: false),
      tokens: [10],
      earlyEnd: EarlyEnd(minTokens: 1, endTokens: [2, 3])
    )
    func biases(at position: Int) throws -> [TokenBias] {
      guard case .sample(let sampling) = session.output(at: position) else {
        throw Absent()
      }
      return sampling.biases
    }
    #expect(try biases(at: 0).map(\.token) == [2, 3])
    #expect(try biases(at: 0).allSatisfy { $0.value < -1e20 })
    session.append(11)
    #expect(try biases(at: 1).isEmpty)
  }

  private struct Absent: Error {}

  @Test func `what it took over counts as cached, unless it is computed after all`() {
    var session = session(
      .generate(sampling: Harness.sampling(), maxTokens: 9, ignoresEndOfTurn: false)
    )
    session.begin(in: 0, prefix: 3, reached: 5)
    #expect(session.cachedCount == 3 && session.submitted == 3)
    var lost = session
    lost.rewind()
    #expect(lost.cachedCount == 0)
    // The prompt is behind it: what is computed again later was no part of the wait for it.
    session.submit(upTo: 4)
    session.complete(upTo: 4)
    session.rewind()
    #expect(session.cachedCount == 3)
  }

  @Test func `replayed, it asks for nothing that has been delivered`() {
    for goal in [SessionGoal.logits, .scores(first: 0)] {
      var session = session(goal)
      session.submit(upTo: 3)
      session.complete(upTo: 2)
      let before = outputs(session)
      session.rewind()
      #expect(session.pendingCount == 4)
      #expect(before[..<2].allSatisfy { $0 == .none })
      #expect(outputs(session) == before)
      #expect(before[2] != .none)
    }
  }
}
