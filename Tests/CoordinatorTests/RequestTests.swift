// Which requests are taken, which wait, and how the others are refused.

import Foundation
import Gemma
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `Requests` {
  private func serving(
    _ limits: CoordinatorLimits = Harness.limits(),
    served: ServedModel? = nil
  ) -> Harness {
    let harness = Harness(limits: limits, served: served)
    harness.serve()
    return harness
  }

  // MARK: Refusals

  @Test func `a prompt that leaves no room for an answer is refused with the numbers`() {
    let harness = serving(Harness.limits(context: 10))
    harness.ask(Harness.generate(.tokens(Array(repeating: 5, count: 10))))
    let failed = harness.outcome().failed
    #expect(failed?.code == .tooLong)
    #expect(failed?.message.contains("10 tokens, the context holds 10") == true)
    harness.ask(Harness.generate(.tokens(Array(repeating: 5, count: 9)), request: 2))
    #expect(harness.outcome(2).accepted?.promptTokens == 9)
  }

  @Test func `an evaluation may fill the context but not more`() {
    let harness = serving(Harness.limits(context: 10))
    harness.ask(Harness.evaluate(Array(repeating: 5, count: 10), .scores))
    #expect(harness.outcome().failed == nil)
    harness.ask(Harness.evaluate(Array(repeating: 5, count: 11), .scores, request: 2))
    #expect(harness.outcome(2).failed?.code == .tooLong)
    #expect(harness.outcome(2).failed?.message.contains("11 tokens") == true)
  }

  @Test func `an empty prompt and a token outside the vocabulary are refused by name`() {
    let harness = serving()
    harness.ask(Harness.generate(.tokens([]), request: 1))
    harness.ask(Harness.evaluate([], .logits, request: 2))
    harness.ask(Harness.generate(.tokens([5, 64, 6]), request: 3))
    harness.ask(Harness.evaluate([5, -1], .scores, request: 4))
    #expect(
      (1...4).map { harness.outcome($0).failed?.code } == Array(repeating: .invalid, count: 4)
    )
    #expect(harness.outcome(1).failed?.message == "the prompt is empty")
    #expect(harness.outcome(3).failed?.message == "token 64 is outside the vocabulary of 64")
    #expect(harness.outcome(4).failed?.message == "token -1 is outside the vocabulary of 64")
  }

  @Test func `no token asked for is refused`() {
    let harness = serving()
    harness.ask(Harness.generate(.tokens([5]), count: 0))
    #expect(harness.outcome().failed?.code == .invalid)
    #expect(harness.outcome().failed?.message.contains("max tokens is 0") == true)
  }

  @Test func `text without a tokenizer or a template is refused with what is missing`() throws {
    let bare = serving()
    bare.ask(Harness.generate(.text("hello")))
    #expect(bare.outcome().failed?.message.contains("tiny has no tokenizer") == true)
    let tokenizer = try Tokenizer.load(for: Goldens.demoModel.path)
    let served = Harness.served(vocabularySize: 1024, tokenizer: tokenizer)
    let harness = Harness(model: TokenModel(vocabularySize: 1024), served: served)
    harness.serve()
    harness.ask(Harness.generate(.text("hello"), template: true))
    #expect(harness.outcome().failed?.code == .template)
    let message = "the model has no chat template; use --raw to send the prompt without one"
    #expect(harness.outcome().failed?.message == message)
    harness.ask(Harness.generate(.text("hello"), request: 2))
    #expect(harness.outcome(2).accepted != nil)
  }

  @Test func `text becomes tokens with the template's turns around it`() throws {
    let tokenizer = try Tokenizer.load(for: Goldens.demoModel.path)
    let served = Harness.served(
      vocabularySize: 1024,
      tokenizer: tokenizer,
      template: .success(.gemmaTurns)
    )
    let harness = Harness(model: TokenModel(vocabularySize: 1024), served: served)
    harness.serve()
    harness.ask(Harness.generate(.text("hello"), count: 1, template: true))
    let message = ChatMessage(role: .user, content: "hello")
    let want = try tokenizer.encode(ChatTemplate.gemmaTurns.pieces([message]))
    #expect(harness.sentSteps.first?.rows.map(\.token) == Array(want.prefix(16)))
    harness.ask(Harness.generate(.text("hello"), request: 2, count: 1))
    let raw = tokenizer.encode("hello", addBOS: true, parseSpecial: false)
    #expect(harness.outcome(2).accepted?.promptTokens == raw.count)
  }

  @Test func `a conversation becomes the prompt that the template makes of it`() throws {
    let tokenizer = try Tokenizer.load(for: Goldens.demoModel.path)
    let served = Harness.served(
      vocabularySize: 1024,
      tokenizer: tokenizer,
      template: .success(.gemmaTurns)
    )
    let harness = Harness(
      limits: Harness.limits(maxRows: 64),
      model: TokenModel(vocabularySize: 1024),
      served: served
    )
    harness.serve()
    let roles: [(MessageRole, ChatMessage.Role)] = [
      (.system, .system), (.user, .user), (.assistant, .assistant), (.user, .user),
    ]
    let messages = roles.map { PromptMessage(role: $0.0, text: "say \($0.0)") }
    harness.ask(Harness.generate(.messages(messages), count: 1))
    let chat = roles.map { ChatMessage(role: $0.1, content: "say \($0.0)") }
    let want = try tokenizer.encode(ChatTemplate.gemmaTurns.pieces(chat))
    #expect(harness.sentSteps.first?.rows.map(\.token) == want)
    #expect(harness.outcome().accepted?.promptTokens == want.count)
    // One of a single user is the text of a turn.
    harness.ask(Harness.generate(.messages([messages[1]]), request: 2, count: 1))
    harness.ask(Harness.generate(.text("say user"), request: 3, count: 1, template: true))
    let counts = [2, 3].map { harness.outcome($0).accepted?.promptTokens }
    #expect(counts[0] == counts[1] && counts[0] ?? 0 > 0)
  }

  @Test func `a conversation that the template refuses fails in its words`() throws {
    let tokenizer = try Tokenizer.load(for: Goldens.demoModel.path)
    let served = Harness.served(
      vocabularySize: 1024,
      tokenizer: tokenizer,
      template: .success(.gemmaTurns)
    )
    let harness = Harness(model: TokenModel(vocabularySize: 1024), served: served)
    harness.serve()
    let cases: [([MessageRole], String)] = [
      ([], "no message of a user"), ([.system], "no message of a user"),
      ([.user, .user], "Conversation roles must alternate"), ([.tool], "roles must alternate"),
    ]
    for (request, (roles, words)) in cases.enumerated() {
      let messages = roles.map { PromptMessage(role: $0, text: "x") }
      harness.ask(Harness.generate(.messages(messages), request: UInt64(request)))
      let failed = harness.outcome(UInt64(request)).failed
      #expect(failed?.code == .template)
      #expect(failed?.message.contains(words) == true, "\(String(describing: failed))")
    }
    #expect(harness.machine.sessions.isEmpty)
  }

  @Test func `a request number in use is refused, and free again at its end`() {
    let harness = serving()
    harness.ask(Harness.generate(.tokens([5, 6])))
    harness.ask(Harness.generate(.tokens([7])))
    #expect(harness.outcome().failed?.code == .invalid)
    #expect(harness.machine.sessions.count == 1)
    // Another client's numbers are its own.
    harness.ask(Harness.generate(.tokens([7])), client: 2)
    #expect(harness.outcome(client: 2).accepted != nil)
    harness.settle()
    harness.ask(Harness.generate(.tokens([7])))
    #expect(harness.outcome().accepted?.promptTokens == 1)
  }

  // MARK: Waiting

  @Test func `requests beyond the slots wait their turn, and beyond the queue are refused`() {
    let harness = serving(Harness.limits(slots: 2, queued: 3))
    for request in UInt64(1)...6 {
      harness.ask(Harness.generate(.tokens([5, Int32(request)]), request: request))
    }
    let positions = (1...5).map { harness.outcome($0).accepted?.queuePosition }
    #expect(positions == [0, 0, 1, 2, 3])
    #expect(harness.outcome(6).failed?.code == .busy)
    #expect(harness.outcome(6).failed?.message.contains("3 requests wait already") == true)
    #expect(harness.machine.status(0).sessions == 2)
    #expect(harness.machine.status(0).queued == 3)
    harness.settle()
    for request in UInt64(1)...5 {
      let want = harness.model.continuation(
        of: [5, Int32(request)],
        Harness.sampling(),
        count: 8
      )
      #expect(harness.outcome(request).tokens == want)
    }
  }

  @Test func `the oldest request gets the slot that falls free`() {
    let harness = serving(Harness.limits(slots: 1))
    for request in UInt64(1)...4 {
      harness.ask(Harness.generate(.tokens([5]), request: request, count: 2))
    }
    harness.settle()
    let ends = harness.replies.compactMap {
      if case .finished(let finished) = $0 { finished.request } else { nil }
    }
    #expect(ends == [1, 2, 3, 4])
  }

  @Test func `requests that come before the workers wait for them`() {
    let harness = Harness()
    harness.ask(Harness.generate(.tokens([5, 6])))
    #expect(harness.outcome().accepted != nil)
    harness.serve()
    let want = harness.model.continuation(of: [5, 6], Harness.sampling(), count: 8)
    #expect(harness.outcome().tokens == want)
  }

  @Test func `a slot is used again only behind the step that clears it`() {
    let harness = serving(Harness.limits(slots: 1))
    harness.ask(Harness.generate(.tokens([5, 6]), request: 1, count: 3))
    harness.ask(Harness.generate(.tokens([7, 8, 9]), request: 2, count: 3))
    harness.settle()
    let first = harness.sentSteps.first { $0.rows.contains { $0.token == 7 } }
    #expect(first?.cleared == [0])
    #expect(first?.rows.first?.position == 0)
    // When nobody has come for long, the memory is given back all the same.
    let count = harness.sentSteps.count
    harness.pass(.seconds(601), times: 1202)
    #expect(harness.sentSteps.count == count + 1)
    #expect(harness.sentSteps.last?.rows.isEmpty == true)
    #expect(harness.sentSteps.last?.cleared == [0])
    harness.settle()
    #expect(harness.machine.flight.isEmpty)
  }

  // MARK: Cancelling

  @Test func `a cancelled request ends at once, and its slot serves another`() {
    let harness = serving(Harness.limits(slots: 1))
    harness.ask(Harness.generate(.tokens([5, 6]), request: 1, count: 30))
    harness.ask(Harness.generate(.tokens([7]), request: 2, count: 4))
    harness.ask(.cancel(Cancel(request: 1)))
    #expect(harness.outcome(1).finished?.reason == .cancelled)
    #expect(harness.outcome(2).finished == nil)
    // The step under way comes back to nobody.
    harness.settle()
    #expect(harness.outcome(1).tokens.isEmpty)
    let want = harness.model.continuation(of: [7], Harness.sampling(), count: 4)
    #expect(harness.outcome(2).tokens == want)
  }

  @Test func `a waiting request can be cancelled; an unknown one is nothing`() {
    let harness = serving(Harness.limits(slots: 1))
    harness.ask(Harness.generate(.tokens([5]), request: 1))
    harness.ask(Harness.generate(.tokens([6]), request: 2))
    harness.ask(.cancel(Cancel(request: 2)))
    #expect(harness.outcome(2).finished?.reason == .cancelled)
    let count = harness.replies.count
    harness.ask(.cancel(Cancel(request: 2)))
    harness.ask(.cancel(Cancel(request: 1)), client: 2)
    #expect(harness.replies.count == count)
    harness.settle()
    #expect(harness.outcome(1).finished?.reason == .length)
  }

  @Test func `a client that is gone leaves no session behind`() {
    let harness = serving(Harness.limits(slots: 2))
    harness.ask(Harness.generate(.tokens([5]), request: 1, count: 30))
    harness.ask(Harness.generate(.tokens([6]), request: 2, count: 30))
    harness.ask(Harness.generate(.tokens([7]), request: 1, count: 5), client: 2)
    harness.disconnect(client: 1)
    harness.settle()
    #expect(harness.machine.sessions.isEmpty)
    #expect(harness.machine.sessions.queue.isEmpty && harness.machine.sessions.turns.isEmpty)
    #expect(harness.machine.sessions.freeSlots.sorted() == [0, 1])
    let want = harness.model.continuation(of: [7], Harness.sampling(), count: 5)
    #expect(harness.outcome(client: 2).tokens == want)
  }
}
