// What a model thinks is told from what it says, token by token.

import Gemma
import TestSupport
import Testing

@Suite struct `An answer's thoughts` {
  private let tokenizer: Tokenizer

  init() throws { tokenizer = try Gemma4Vocabulary.part().tokenizer }

  private func tokens(_ text: String) -> [Int32] {
    tokenizer.encode(text, addBOS: false, parseSpecial: true)
  }

  /// Reads a text token by token; checks that no piece is of the wrong kind on the way.
  private func read(
    _ tokens: [Int32],
    after prompt: [Int32] = []
  ) -> (thought: String, text: String, count: Int) {
    var reader = AnswerReader(tokenizer, after: prompt)
    var (thought, text) = ("", "")
    for piece in tokens.map({ reader.append($0) }) + [reader.flush()] {
      switch piece.channel {
      case .thought: thought += piece.text
      case .text: text += piece.text
      }
    }
    return (thought, text, reader.thoughtTokenCount)
  }

  @Test func `a thought stands apart from the answer, without its marks and its name`() {
    let answer = tokens("<|channel>thought\nHello world\n<channel|>Hello World!")
    let (thought, text, count) = read(answer)
    #expect(thought == "Hello world")
    #expect(text == "Hello World!")
    #expect(count == tokens("<|channel>thought\nHello world\n<channel|>").count)
  }

  @Test(arguments: [
    ("Hello", "", "Hello"), ("<|channel>thought\n<channel|>Hello", "", "Hello"),
    ("<|channel><channel|>Hello", "", "Hello"), ("<|channel>thought<channel|>Hello", "", "Hello"),
    ("<|channel>thought\n\n\nHello\n\n<channel|>Hello", "\n\nHello\n", "Hello"),
    // Another name is no name.
    ("<|channel>Hello\n<channel|>Hello", "Hello", "Hello"),
    // The answer ends inside of it.
    ("<|channel>thought\nHello", "Hello", ""), ("<|channel>thought\nHello\n", "Hello\n", ""),
    ("<|channel>thought", "", ""), ("<|channel>", "", ""),
    // Marks that stand alone or twice.
    ("<channel|>Hello", "", "Hello"),
    (
      "a<|channel>thought\nb<|channel>thought\nb\n<channel|>a<|channel>thought\nHello\n<channel|>a",
      "bbHello", "aaa"
    ),
  ])
  func `thoughts of any form`(answer: String, thought: String, text: String) {
    let found = read(tokens(answer))
    #expect(found.thought == thought && found.text == text, "\(found)")
  }

  @Test func `a prompt may end inside a thought`() {
    for (prompt, isThought) in [
      ("<|turn>model\n<|channel>thought\n", true), ("<|channel>", true),
      ("<|turn>model\n<|channel>thought\nHello", true),
      ("<|turn>model\n<|channel>thought\n<channel|>", false),
      ("<|channel>thought\nHello<|turn>model\n", false), ("", false),
    ] {
      let rest = prompt.hasSuffix("l>") ? "thought\nHello\n<channel|>a" : "Hello\n<channel|>a"
      let found = read(tokens(rest), after: tokens(prompt))
      #expect(found.thought == (isThought ? "Hello" : ""), "\(prompt.debugDescription)")
      #expect(found.text.hasSuffix("a"))
      #expect(found.count == (isThought ? tokens(rest).count - 1 : 0))
    }
  }

  @Test func `marks that the model spells out are text`() {
    let spelled = tokenizer.encode(
      "<|channel>thought\nHello\n<channel|>",
      addBOS: false,
      parseSpecial: false
    )
    let found = read(spelled)
    #expect(found.text == "<|channel>thought\nHello\n<channel|>" && found.thought.isEmpty)
  }

  @Test(.seeded(default: 43))
  func `nothing is lost or told early, whatever comes`() throws {
    var random = SeededRandom(testSeed(default: 43))
    let marks = tokens("<|channel><channel|>\n")
    for _ in 0..<fuzzIterations(default: 300) {
      let answer = (0..<30).map { _ -> Int32 in
        Bool.random(using: &random)
          ? marks.randomElement(using: &random) ?? 0
          : Int32.random(in: 0..<Int32(tokenizer.vocabularySize), using: &random)
      }
      // Without names and with other line ends, the parts are those between the marks.
      let found = read(answer)
      var (thought, text) = ("", "")
      var run: [Int32] = []
      var isThought = false
      for token in answer + [marks[1]] {
        guard token == marks[0] || token == marks[1] else {
          run.append(token)
          continue
        }
        var part = try tokenizer.decode(run, skipSpecial: true)
        if isThought, part == "thought" || part.hasPrefix("thought\n") { part.removeFirst(7) }
        if isThought { thought += part } else { text += part }
        run = []
        isThought = token == marks[0]
      }
      #expect(found.text.utf8.elementsEqual(text.utf8), "\(answer)")
      func solid(_ text: String) -> String { text.replacing("\n", with: "") }
      #expect(solid(found.thought).utf8.elementsEqual(solid(thought).utf8), "\(answer)")
      #expect(found.thought.utf8.count <= thought.utf8.count)
    }
  }

  @Test func `a model without these tokens only says things`() throws {
    let demo = try demoTokenizer()
    #expect(!demo.canThink)
    let tokens = demo.encode("<|channel>thought\nx", addBOS: true, parseSpecial: true)
    var reader = AnswerReader(demo, after: tokens)
    let text = tokens.map { reader.append($0).text }.joined() + reader.flush().text
    #expect(text == "<|channel>thought\nx" && reader.channel == .text)
  }
}
