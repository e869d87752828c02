// What commands say beside an answer: that it ended in a thought, that nothing was measured, which models can
// be read.

import Client
import Testing

@testable import trestle

@Suite struct `Words beside an answer` {
  private func document(
    _ reason: String,
    thought: String? = "well",
    text: String = "",
    stop: String? = nil
  ) -> GenerationDocument {
    var document = GenerationDocument()
    document.thought = thought
    document.text = text
    document.tokens = [7, 8, 9]
    document.finishReason = reason
    document.stop = stop
    return document
  }

  @Test func `an answer that ends in the thought says why`() {
    #expect(
      document("length").endedThinking?.contains("after 3 tokens; raise --max-tokens") == true
    )
    #expect(document("stop", stop: "we").endedThinking?.contains("--stop") == true)
    // The model has ended its turn by itself, has answered, or has not thought.
    #expect(document("stop").endedThinking == nil)
    #expect(document("length", text: "So").endedThinking == nil)
    #expect(document("length", thought: nil).endedThinking == nil)
  }

  @Test func `no gaps between tokens have no percentiles`() {
    #expect(TokenGaps([]).map(\.p50Ms) == nil)
    let gaps = TokenGaps([.milliseconds(3), .milliseconds(1), .milliseconds(2)])
    #expect(gaps?.p50Ms == 2 && gaps?.p99Ms == 3)
  }

  @Test func `doctor names the families`() {
    #expect(Diagnosis().models == ["gemma3", "gemma3n", "gemma4"])
  }
}
