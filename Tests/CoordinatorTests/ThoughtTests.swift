// What a model thinks before it answers, on its way to the client, and tokens that are never drawn.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `Thoughts` {
  private let tokenizer: Tokenizer

  init() throws {
    let path = Goldens.directory.appending(path: "gemma4-chat/vocabulary.gguf").path
    tokenizer = try Tokenizer.load(for: path)
  }

  private let prompt = Prompt.tokens([2, 5])

  private func token(_ name: String) throws -> Int32 { try #require(tokenizer.token(named: name)) }

  private func answering(_ text: String, template: ChatTemplate? = nil) -> Harness {
    Harness.answering(text, tokenizer, template: template)
  }

  @Test func `a thought comes apart from the text, and counts as generated`() throws {
    let thought = "<|channel>thought\nHello world\n<channel|>"
    let harness = answering(thought + "Hello World!<turn|>")
    harness.ask(Harness.generate(prompt, count: 60))
    harness.settle()
    let outcome = harness.outcome()
    #expect(outcome.thought == "Hello world")
    #expect(outcome.text == "Hello World!")
    #expect(outcome.finished?.reason == .stop)
    #expect(outcome.finished?.generatedTokens == outcome.tokens.count)
    let count = tokenizer.encode(thought, addBOS: false, parseSpecial: true).count
    #expect(outcome.finished?.thoughtTokens == count)
    for case .delta(let delta) in harness.replies {
      #expect(delta.thought.isEmpty || delta.text.isEmpty)
    }
  }

  @Test func `the most tokens may end it inside of a thought`() throws {
    let harness = answering("<|channel>thought\nHello world Hello world")
    harness.ask(Harness.generate(prompt, count: 4))
    harness.settle()
    #expect(harness.outcome().thought == "Hello")
    #expect(harness.outcome().text.isEmpty)
    #expect(harness.outcome().finished?.reason == .length)
    #expect(harness.outcome().finished?.thoughtTokens == 4)
  }

  @Test func `a stop string ends it in a thought or behind it, never across`() throws {
    let answer = "<|channel>thought\nHello world\n<channel|>Hello World!<turn|>"
    func stopped(_ stop: String) throws -> Outcome {
      let harness = answering(answer)
      harness.ask(Harness.generate(prompt, count: 60, stops: [stop]))
      harness.settle()
      return harness.outcome()
    }
    let inside = try stopped("lo w")
    #expect(inside.thought == "Hel" && inside.text.isEmpty && inside.finished?.stop == "lo w")
    let behind = try stopped("lo W")
    #expect(behind.thought == "Hello world" && behind.text == "Hel")
    #expect(behind.finished?.stop == "lo W")
    let across = try stopped("worldHello")
    #expect(across.thought == "Hello world" && across.text == "Hello World!")
    #expect(across.finished?.stop == "" && across.finished?.reason == .stop)
    // What may begin a stop string at the end of the thought is shown there.
    let held = try stopped("world or not")
    #expect(held.thought == "Hello world" && held.text == "Hello World!")
  }

  @Test func `a conversation asks for thoughts`() throws {
    let template = ChatTemplate.gemma4Turns(closesThought: false)
    let message = ChatMessage(role: .user, content: "Hi")
    let want = try tokenizer.encode(template.pieces([message], thinks: true))
    let harness = answering("Hello", template: template)
    let messages = Prompt.messages([PromptMessage(role: .user, text: "Hi")])
    harness.ask(Harness.generate(messages, count: 1) { $0.thinks = true })
    #expect(harness.sentSteps.first?.rows.map(\.token) == want)
    harness.settle()
    harness.ask(
      Harness.generate(.text("Hi"), request: 2, count: 1) {
        $0.thinks = true
        $0.appliesChatTemplate = true
      }
    )
    #expect(harness.outcome(2).accepted?.promptTokens == want.count)
  }

  @Test func `thoughts are refused in words where there can be none`() throws {
    let message = Prompt.messages([PromptMessage(role: .user, text: "Hi")])
    func refusal(_ harness: Harness, _ prompt: Prompt) -> RequestFailed? {
      harness.ask(Harness.generate(prompt, request: 9) { $0.thinks = true })
      return harness.outcome(9).failed
    }
    // The template has no way to ask.
    let mute = try answering("Hello", template: ChatTemplate("{{ messages[0].content }}"))
    #expect(refusal(mute, message)?.code == .template)
    #expect(refusal(mute, message)?.message.contains("--think") == true)
    // The vocabulary has no tokens.
    let demo = try Tokenizer.load(for: Goldens.demoModel.path)
    let old = Harness(
      model: TokenModel(vocabularySize: 1024),
      served: Harness.served(
        vocabularySize: 1024,
        tokenizer: demo,
        template: .success(.gemma4Turns(closesThought: false))
      )
    )
    old.serve()
    #expect(refusal(old, message)?.message.contains("no tokens for thoughts") == true)
    // The prompt is none of a chat.
    for prompt in [Prompt.text("Hi"), .tokens([5])] {
      let failed = refusal(answering("Hello"), prompt)
      #expect(failed?.code == .invalid && failed?.message.contains("thinks") == true)
    }
  }
}

@Suite struct `Suppressed tokens` {
  private func serving() -> Harness {
    let harness = Harness(served: Harness.served(suppressed: [9, 11]))
    harness.serve()
    return harness
  }

  @Test func `each assignment names them`() {
    let harness = serving()
    var count = 0
    for worker in harness.workers {
      for case .assign(let assign) in harness.sentToPeers[worker.control] ?? [] {
        #expect(assign.suppressedTokens == [9, 11])
        count += 1
      }
    }
    #expect(count == 2)
  }

  @Test func `a last stage that draws one is ended`() {
    for (token, isEnded) in [(Int32(9), true), (8, false)] {
      let harness = serving()
      harness.ask(Harness.generate(.tokens([5, 6]), count: 1))
      let result = RowResult(slot: 0, position: 1, token: token, logProbability: 0)
      let done = StepDone(epoch: 1, sequence: 1, results: [result], stageMicroseconds: [1, 1])
      harness.post(.stepDone(done), from: harness.workers[1].results)
      harness.deliver(from: harness.workers[1].results)
      #expect(harness.killed == (isEnded ? ["cpu-1"] : []))
      #expect(harness.outcome().tokens == (isEnded ? [] : [token]))
    }
  }

  @Test func `their likelihood may be asked for`() {
    let harness = serving()
    harness.ask(Harness.evaluate([5, 9, 11], .scores, firstScored: 1))
    harness.settle()
    #expect(harness.outcome().evaluated.flatMap(\.scores).count == 2)
    #expect(harness.killed.isEmpty)
  }
}
