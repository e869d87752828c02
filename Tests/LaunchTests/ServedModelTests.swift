// What the coordinator is told of a model: where its answers end, whichever file says so.

import Content
import Coordinator
import Foundation
import Gemma
import TestSupport
import Testing

@testable import Launch

@Suite struct `Served model` {
  /// Calls the body with the demo model, whose generation config is this text; nil for none.
  private func withDemo(_ generation: String?, _ body: (ServedModel) throws -> Void) throws {
    try withTemporaryDirectory { directory in
      for name in ["tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
        try FileManager.default.createSymbolicLink(
          atPath: "\(directory)/\(name)",
          withDestinationPath: Goldens.demoModel.appending(path: name).path
        )
      }
      // Without the config's own word on it.
      let config = try Data(contentsOf: Goldens.demoModel.appending(path: "config.json"))
      var fields = try #require(
        JSONSerialization.jsonObject(with: config) as? [String: Any]
      )
      fields["eos_token_id"] = nil
      try JSONSerialization.data(withJSONObject: fields)
        .write(to: URL(filePath: "\(directory)/config.json"))
      if let generation {
        try Data(generation.utf8)
          .write(to: URL(filePath: "\(directory)/generation_config.json"))
      }
      try body(ServedModel(Checkpoint.open(directory), fingerprint: Digest(of: [])))
    }
  }

  // <eos> is 1, <end_of_turn> 6.
  @Test(arguments: [nil, "{}", #"{"eos_token_id": 1}"#, #"{"eos_token_id": [1, 6]}"#])
  func `an answer ends at the end of the turn, whatever the generation config names`(
    generation: String?
  ) throws {
    try withDemo(generation) { #expect($0.config.eosTokens == [1, 6]) }
  }

  @Test func `an end that only the generation config names counts, too`() throws {
    try withDemo(#"{"eos_token_id": [9]}"#) { #expect($0.config.eosTokens == [9, 1, 6]) }
  }

  @Test func `a model without a tokenizer ends where its config says`() throws {
    let served = try ServedModel(
      Checkpoint.open(Goldens.checkpoint("gemma3-random-a").path),
      fingerprint: Digest(of: [])
    )
    #expect(served.tokenizer == nil && !served.config.eosTokens.isEmpty)
  }
}
