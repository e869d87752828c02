// Answers that follow a grammar, from the request to the client.

import Foundation
import Gemma
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `Answers that follow a grammar` {
  /// A coordinator whose model would say a text, if it may.
  private func answering(
    _ text: String,
    _ tokenizer: Tokenizer,
    to prompt: [Int32] = [2, 5]
  ) -> Harness {
    Harness.answering(text, tokenizer, promptCount: prompt.count)
  }

  private func demo() throws -> Tokenizer { try Tokenizer.load(for: Goldens.demoModel.path) }

  private func gemma4() throws -> Tokenizer {
    try Tokenizer.load(for: Goldens.directory.appending(path: "gemma4-chat/vocabulary.gguf").path)
  }

  private func ask(_ harness: Harness, _ grammar: AnswerGrammar, to prompt: [Int32] = [2, 5]) {
    harness.ask(
      Harness.generate(.tokens(prompt), count: 60) { $0.rule = AnswerRule(grammar: grammar) }
    )
    harness.encodeNext()
    harness.settle()
  }

  private let choices = AnswerGrammar.schema(#"{"enum": ["To be", "or not", 7]}"#)

  @Test func `what the model would rather say is not said`() throws {
    let harness = answering("What news, my lord?", try demo())
    ask(harness, choices)
    let outcome = harness.outcome()
    #expect([#""To be""#, #""or not""#, "7"].contains(outcome.text), "\(outcome.text)")
    #expect(outcome.finished?.reason == .stop)
  }

  @Test func `what follows the grammar is said as it is`() throws {
    let harness = answering("7", try demo())
    ask(harness, choices)
    #expect(harness.outcome().text == "7" && harness.outcome().finished?.reason == .stop)
  }

  @Test(arguments: [
    (AnswerGrammar.schema(#"{"properties": {"a": {"not": {}}}}"#), "#/properties/a"),
    (.schema(#"{"type": "#), "byte 9"), (.gbnf("root ::= root \"a\""), "nothing satisfies it"),
    (
      .calls(ToolCalls(tools: [], isRequired: true, only: "f", isParallel: false, notation: .json)),
      "tool"
    ),
  ])
  func `a grammar that cannot be followed is refused by its place`(
    _ grammar: AnswerGrammar,
    _ place: String
  ) throws {
    let harness = answering("7", try demo())
    ask(harness, grammar)
    let failed = harness.outcome().failed
    #expect(failed?.code == .constraint)
    #expect(failed?.message.contains(place) == true, "\(failed?.message ?? "")")
  }

  @Test func `the grammar begins behind a thought that was asked for`() throws {
    let tokenizer = try gemma4()
    let template = ChatTemplate.gemma4Turns(closesThought: false)
    let message = ChatMessage(role: .user, content: "Hi")
    let asking = try tokenizer.encode(template.pieces([message], thinks: true))
    let answer = "<|channel>thought\nHello world\n<channel|>7<turn|>"
    let harness = answering(answer, tokenizer, to: asking)
    ask(harness, choices, to: asking)
    #expect(harness.outcome().thought == "Hello world")
    #expect(harness.outcome().text == "7")

    // Nobody asked: the thought may not begin, and the answer is what the grammar allows.
    let plain = try tokenizer.encode(template.pieces([message]))
    let other = answering(answer, tokenizer, to: plain)
    ask(other, .schema(#"{"enum": [7]}"#), to: plain)
    #expect(other.outcome().thought.isEmpty && other.outcome().text == "7")

    // The prompt has begun it.
    let begun = plain + tokenizer.encode("<|channel>thought\n", addBOS: false, parseSpecial: true)
    let inside = answering("Hello\n<channel|>7<turn|>", tokenizer, to: begun)
    ask(inside, choices, to: begun)
    #expect(inside.outcome().thought == "Hello" && inside.outcome().text == "7")
  }

  @Test func `a turn does not end inside of a thought`() throws {
    let tokenizer = try gemma4()
    let begun = tokenizer.encode("<|channel>thought\n", addBOS: true, parseSpecial: true)
    let harness = answering("Hello<turn|>", tokenizer, to: begun)
    ask(harness, .schema(#"{"enum": [7]}"#), to: begun)
    let outcome = harness.outcome()
    #expect(outcome.finished?.reason == .length || outcome.text == "7")
    #expect(outcome.thought.hasPrefix("Hello"))
  }
}
