// Tokens equal those of the reference implementations, for strings that are hard on tokenizers.

import Foundation
import Gemma
import TestSupport
import Testing

/// The path of Gemma 3 270M with its 262,144 tokens, if this run has it.
private let gemma3Path: String? = {
  let path = ProcessInfo.processInfo.environment["TRESTLE_GEMMA3_270M"] ?? ""
  if path.isEmpty {
    print("skipped: tokens of Gemma 3 270M; set TRESTLE_GEMMA3_270M to the path of its GGUF file")
  }
  return path.isEmpty ? nil : path
}()

@Suite struct `Tokens as the reference makes them` {
  @Test func `tokenizer json: the demo model, as Hugging Face's tokenizers`() throws {
    try expectGolden("demo-model", try demoTokenizer())
  }

  @Test(arguments: ["small", "small-prefixed"])
  func `GGUF: a small SentencePiece vocabulary, as llama.cpp`(name: String) throws {
    let path = TokenizerGolden.directory.appending(path: "\(name).gguf").path
    try expectGolden(name, try Tokenizer.load(for: path))
  }

  @Test(.enabled(if: gemma3Path != nil, "TRESTLE_GEMMA3_270M names no GGUF file"))
  func `GGUF: the 262,144 tokens of Gemma 3, as llama.cpp`() throws {
    let tokenizer = try Tokenizer.load(for: try #require(gemma3Path))
    #expect(tokenizer.vocabularySize == 262_144)
    #expect(tokenizer.bosToken == 2)
    #expect(tokenizer.eosTokens == [1, 106])
    try expectGolden("gemma3-270m", tokenizer)
  }

  @Test func `the demo model's prompts, with the begin token and chat turns`() throws {
    let tokenizer = try demoTokenizer()
    let cases = try Goldens.load("demo-model").cases
    #expect(cases.count == 8)
    for golden in cases {
      let rendered = try #require(golden.rendered)
      // A chat's rendering begins with <bos> in writing.
      let isChat = golden.kind == "chat"
      let tokens = tokenizer.encode(rendered, addBOS: !isChat, parseSpecial: isChat)
      #expect(tokens.map(Int.init) == golden.ids, "\(rendered.debugDescription)")
      let answer = try tokenizer.decode(golden.greedy.map { Int32($0) }, skipSpecial: false)
      if let text = golden.greedyText { #expect(answer == text) }
    }
  }

  private func expectGolden(_ name: String, _ tokenizer: Tokenizer) throws {
    let golden = try TokenizerGolden.load(name)
    #expect(golden.cases.count >= 220, "\(name).json has lost cases")
    for item in golden.cases {
      let text = item.text.debugDescription
      let plain = tokenizer.encode(item.text, addBOS: false, parseSpecial: false)
      #expect(plain == item.ids, "\(text), as \(golden.reference) has it")
      let special = tokenizer.encode(item.text, addBOS: false, parseSpecial: true)
      #expect(special == item.special ?? item.ids, "\(text) with special tokens")
      if let decoded = item.decoded {
        let ours = try tokenizer.decode(item.ids, skipSpecial: false)
        #expect(ours.utf8.elementsEqual(decoded.utf8), "\(text) decoded")
      }
    }
  }
}
