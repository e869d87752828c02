// Clients that do not read, are greedy, are gone, send megabytes, or ask for what cannot be.

import Foundation
import Gemma
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `Slow clients` {
  @Test func `a client that does not read pauses, and gets its whole answer later`() {
    let harness = Harness(limits: Harness.limits(context: 2000, slots: 2))
    harness.serve()
    harness.pause(client: 1)
    harness.ask(Harness.generate(.tokens([5, 6]), count: 1500, ignoresEnd: true))
    harness.ask(Harness.generate(.tokens([7]), count: 700, ignoresEnd: true), client: 2)
    harness.settle()
    let unread = harness.outcome().tokens.count
    let most = Outflow.Limits().messages
    #expect((most - 2...most + 2).contains(unread))
    #expect(harness.outcome(client: 2).tokens.count == 700)
    while harness.outcome().finished == nil, harness.outcome().tokens.count < 1500 {
      harness.resume(client: 1)
      harness.settle()
    }
    let want = harness.model.continuation(of: [5, 6], Harness.sampling(), count: 1500)
    #expect(harness.outcome().tokens == want)
    #expect(harness.machine.outflow.bytes == 0)
  }

  @Test func `logits wait by their bytes, those of steps under way included`() {
    let vocabulary = 1 << 18
    let model = TokenModel(vocabularySize: vocabulary)
    var limits = Harness.limits(context: 256, slots: 1, maxRows: 16)
    limits.maxLogits = 4 << 20
    let served = Harness.served(vocabularySize: vocabulary)
    let harness = Harness(limits: limits, model: model, served: served)
    harness.serve()
    harness.pause(client: 1)
    harness.ask(Harness.evaluate((0..<100).map { Int32(5 + $0) }, .logits))
    harness.settle()
    let bytes = harness.outcome().logits.reduce(0) { $0 + 4 * $1.count }
    #expect(bytes > 0)
    // One step's 16 rows may be beyond what was free when it was sent.
    #expect(bytes <= Outflow.Limits().bytes + 16 * 4 * vocabulary)
    #expect(harness.machine.outflow.bytes >= bytes)
    for _ in 0..<20 {
      harness.resume(client: 1)
      harness.settle()
    }
    #expect(harness.outcome().evaluated.reduce(0) { $0 + $1.rowCount } == 100)
    #expect(harness.machine.outflow.bytes == 0)
  }

  @Test func `one that never reads is ended in words when others wait for its slot`() {
    let harness = Harness(limits: Harness.limits(context: 2000, slots: 1))
    harness.serve()
    harness.pause(client: 1)
    harness.ask(Harness.generate(.tokens([5, 6]), count: 1500, ignoresEnd: true))
    harness.settle()
    harness.pass(.seconds(60), times: 240)
    #expect(harness.outcome().failed == nil)
    harness.ask(Harness.generate(.tokens([7]), count: 3), client: 2)
    harness.pass(.seconds(40), times: 160)
    harness.settle()
    #expect(harness.outcome().failed?.code == .cancelled)
    #expect(harness.outcome().failed?.message.contains("were not read") == true)
    #expect(harness.outcome(client: 2).finished != nil)
  }

  @Test func `a message that cannot be sent ends the session, and asking brings the reason`() {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6]), count: 20, ignoresEnd: true))
    harness.settle(computing: false)
    harness.unsentReason = "its queue is full"
    harness.settle()
    harness.unsentReason = nil
    #expect(harness.machine.sessions.isEmpty)
    #expect(harness.notes.contains { $0.message == "message not sent" })
    #expect(harness.machine.outflow.bytes == 0)
    harness.ask(.receipt(Receipt(messages: 0, awaited: [1])))
    #expect(harness.outcome().failed?.code == .lost)
    #expect(harness.outcome().failed?.message.contains("is not being served") == true)
  }

  @Test func `what a client that has gone did not read is forgotten`() {
    let harness = Harness()
    harness.serve()
    harness.pause(client: 1)
    harness.ask(Harness.generate(.tokens([5, 6]), count: 5, ignoresEnd: true))
    harness.settle()
    #expect(harness.machine.outflow.unreadCount(Harness.peer(1)) > 0)
    harness.disconnect(client: 1)
    harness.pass(.seconds(3), times: 12)
    #expect(harness.machine.outflow.unreadCount(Harness.peer(1)) == 0)
    #expect(harness.machine.outflow.bytes == 0)
  }

  @Test func `who says it has read logits that it has not gets no more of them`() {
    let model = TokenModel(vocabularySize: 1 << 18)
    let harness = Harness(
      limits: Harness.limits(context: 256, slots: 1, maxRows: 16),
      model: model,
      served: Harness.served(vocabularySize: model.vocabularySize)
    )
    harness.serve()
    harness.pause(client: 1)
    harness.ask(Harness.evaluate((0..<100).map { Int32(5 + $0) }, .logits))
    for _ in 0..<20 {
      harness.settle()
      harness.ask(.receipt(Receipt(messages: 1 << 20, awaited: [], proof: 5)))
    }
    let bytes = harness.outcome().logits.reduce(0) { $0 + 4 * $1.count }
    #expect(bytes <= Outflow.Limits().bytes + 16 * 4 * model.vocabularySize)
  }

  @Test func `receipts for more than was sent are harmless`() {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6]), count: 3))
    harness.ask(.receipt(Receipt(messages: 1 << 24, awaited: [1, 2, 3])))
    harness.settle()
    #expect(harness.outcome().finished != nil)
    #expect(harness.outcome(2).failed?.code == .lost)
    #expect(harness.machine.outflow.bytes == 0)
  }
}

@Suite struct `Fair shares` {
  @Test func `the next slot is for the client that holds fewest`() {
    let harness = Harness(limits: Harness.limits(context: 64, slots: 2))
    harness.serve()
    for request in UInt64(1)...6 {
      harness.ask(Harness.generate(.tokens([5, Int32(request)]), request: request, count: 4))
    }
    harness.ask(Harness.generate(.tokens([9]), count: 4), client: 2)
    // Two of the first client's run; when one of them ends it is the other client's turn.
    var order: [Int] = []
    for _ in 0..<10_000 where order.last != 2 {
      guard let endpoint = harness.steps.keys.min() else {
        harness.settle(computing: false)
        continue
      }
      harness.compute(endpoint)
      harness.settle(computing: false)
      let clients = harness.machine.sessions.turns.map(harness.machine.requests.peer)
      if clients.contains(Harness.peer(2)) { order.append(2) }
      if harness.outcome(4).tokens.count > 0 { order.append(1) }
    }
    #expect(order == [2])
    harness.settle()
    for request in UInt64(1)...6 { #expect(harness.outcome(request).finished != nil) }
  }

  @Test func `a full queue makes room for another client in the place of the greediest one's last`()
  {
    let harness = Harness(limits: Harness.limits(slots: 1, queued: 4))
    harness.serve()
    for request in UInt64(1)...5 {
      harness.ask(Harness.generate(.tokens([5, Int32(request)]), request: request))
    }
    harness.ask(Harness.generate(.tokens([9])), client: 2)
    #expect(harness.outcome(client: 2).accepted != nil)
    #expect(harness.outcome(5).failed?.code == .busy)
    #expect(harness.outcome(5).failed?.message.contains("gave way") == true)
    harness.ask(Harness.generate(.tokens([9]), request: 2), client: 2)
    #expect(harness.outcome(4).failed?.code == .busy)
    // Now both have two: nobody gives way.
    harness.ask(Harness.generate(.tokens([9]), request: 3), client: 2)
    #expect(harness.outcome(3, client: 2).failed?.code == .busy)
    harness.settle()
    #expect(harness.outcome(3).finished != nil)
    #expect(harness.outcome(2, client: 2).finished != nil)
  }

  @Test func `requests of clients that left leave the queue`() {
    let harness = Harness(limits: Harness.limits(context: 2000, slots: 1))
    harness.serve()
    harness.ask(Harness.generate(.tokens([5]), count: 1000, ignoresEnd: true))
    for request in UInt64(1)...20 {
      harness.ask(Harness.generate(.tokens([6]), request: request), client: 2)
    }
    #expect(harness.machine.sessions.queue.count == 20)
    harness.disconnect(client: 2)
    harness.pass(.seconds(2), times: 8)
    #expect(harness.machine.sessions.queue.isEmpty)
    #expect(harness.machine.sessions.count == 1)
  }
}

@Suite struct `Long prompts` {
  private func serving(_ context: Int) throws -> Harness {
    let tokenizer = try Tokenizer.load(for: Goldens.demoModel.path)
    let served = Harness.served(
      vocabularySize: 1024,
      tokenizer: tokenizer,
      template: .success(.gemmaTurns)
    )
    let harness = Harness(
      limits: Harness.limits(context: context, slots: 2, maxRows: 64),
      model: TokenModel(vocabularySize: 1024),
      served: served
    )
    harness.serve()
    return harness
  }

  @Test func `megabytes are refused by their bytes, without being tokenized`() throws {
    let harness = try serving(64)
    harness.ask(Harness.generate(.text(String(repeating: "word ", count: 1_600_000))))
    #expect(harness.encoding.isEmpty)
    #expect(harness.outcome().failed?.code == .tooLong)
    #expect(harness.outcome().failed?.message.contains("8000000 bytes") == true)
  }

  @Test func `a long text is tokenized elsewhere, while others are served`() throws {
    let harness = try serving(4096)
    let text = String(repeating: "now is the winter ", count: 300)
    harness.ask(Harness.generate(.text(text), count: 2))
    #expect(harness.encoding.count == 1)
    #expect(harness.outcome().accepted == nil)
    harness.ask(Harness.generate(.text("short"), count: 2), client: 2)
    harness.settle()
    #expect(harness.outcome(client: 2).finished != nil)
    harness.encodeNext()
    harness.settle()
    let tokenizer = try Tokenizer.load(for: Goldens.demoModel.path)
    let want = tokenizer.encode(text, addBOS: true, parseSpecial: false).count
    #expect(harness.outcome().finished?.promptTokens == want)
  }

  @Test func `a conversation of many small messages is made a prompt elsewhere, too`() throws {
    let harness = try serving(4096)
    let messages = (0..<33).map {
      PromptMessage(role: $0 % 2 == 0 ? .user : .assistant, text: "Hm")
    }
    harness.ask(Harness.generate(.messages(messages), count: 2))
    #expect(harness.encoding.count == 1)
    harness.encodeNext()
    harness.settle()
    let tokenizer = try Tokenizer.load(for: Goldens.demoModel.path)
    let chat = messages.enumerated().map { index, message in
      ChatMessage(role: index % 2 == 0 ? .user : .assistant, content: message.text)
    }
    let want = try tokenizer.encode(ChatTemplate.gemmaTurns.pieces(chat)).count
    #expect(harness.outcome().finished?.promptTokens == want)
    // What the users say alone is more than the context holds.
    let long = PromptMessage(role: .user, text: String(repeating: "word ", count: 400_000))
    harness.ask(Harness.generate(.messages(messages.dropLast() + [long]), request: 2))
    #expect(harness.encoding.isEmpty)
    #expect(harness.outcome(2).failed?.code == .tooLong)
  }

  @Test func `a bound by bytes never refuses what fits`() throws {
    let tokenizer = try Tokenizer.load(for: Goldens.demoModel.path)
    let encoder = PromptEncoder(Harness.served(vocabularySize: 1024, tokenizer: tokenizer))
    var random = SeededRandom(testSeed(default: 5))
    for _ in 0..<200 {
      let words = [" ", "\n", "the", "lord", "ing", "▁", "é", "\u{1F600}", "  ", "x"]
      let text = (0..<Int.random(in: 0...300, using: &random))
        .map { _ in words[Int.random(in: words.indices, using: &random)] }.joined()
      let count = tokenizer.encode(text, addBOS: false, parseSpecial: false).count
      let turns = [ChatMessage.Role.system, .user, .assistant].map {
        ChatMessage(role: $0, content: text)
      }
      for source in [PromptSource.text(text, parsesSpecial: false), .conversation(turns)] {
        #expect(encoder.leastTokens(of: source) <= count, "\(text.debugDescription)")
      }
    }
  }

  @Test func `a request is cancelled while its text is tokenized`() throws {
    let harness = try serving(4096)
    harness.ask(Harness.generate(.text(String(repeating: "a b ", count: 2000))))
    harness.ask(.cancel(Cancel(request: 1)))
    #expect(harness.outcome().failed?.code == .cancelled)
    #expect(harness.encoding.isEmpty)
    #expect(harness.machine.requests.encodingCount == 0)
  }

  @Test func `the prompts of a client that has gone are dropped`() throws {
    let harness = try serving(4096)
    harness.ask(Harness.generate(.text(String(repeating: "a b ", count: 2000))))
    harness.disconnect(client: 1)
    harness.pass(.seconds(2), times: 8)
    #expect(harness.encoding.isEmpty)
  }
}

@Suite struct `Requests that make no sense` {
  @Test func `a setting outside its range is refused by name`() {
    let harness = Harness()
    harness.serve()
    let cases: [(String, (inout Sampling) -> Void)] = [
      ("temperature -1.0", { $0.temperature = -1 }), ("temperature nan", { $0.temperature = .nan }),
      ("top p 0.0", { $0.topP = 0 }), ("top p -1.0", { $0.topP = -1 }),
      ("min p 2.0", { $0.minP = 2 }), ("repeat penalty 0.0", { $0.repeatPenalty = 0 }),
      ("repeat penalty -3.0", { $0.repeatPenalty = -3 }), ("likeliest 2", { $0.likeliest = 2 }),
    ]
    for (index, (name, change)) in cases.enumerated() {
      let request = UInt64(index)
      guard case .generate(var generate) = Harness.generate(.tokens([5]), request: request) else {
        return
      }
      change(&generate.sampling)
      harness.ask(.generate(generate))
      #expect(harness.outcome(request).failed?.code == .invalid)
      #expect(harness.outcome(request).failed?.message.hasPrefix(name) == true)
    }
  }

  @Test func `one that cannot be read is refused with the field at fault`() {
    let harness = Harness()
    harness.serve()
    var error = WireError(.oversized, "65 elements, at most 64 are read", context: "Generate.stops")
    error.request = 7
    harness.handle(.malformed(from: Harness.peer(1), error))
    #expect(harness.outcome(7).failed?.code == .invalid)
    #expect(harness.outcome(7).failed?.message.contains("Generate.stops") == true)
  }
}
