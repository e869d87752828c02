// The machine is a value: what it says follows from what it is told, and from nothing else. So a seed
// replays a failure exactly.

import Foundation
import Gemma
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `The same events` {
  @Test(.seeded(default: 1)) func `bring the same actions in the same order`() throws {
    let tokenizer = try Tokenizer.load(for: Goldens.demoModel.path)
    let first = testSeed(default: 1)
    for seed in first..<(first + UInt64(fuzzIterations(default: 20))) {
      let said = (0..<2).map { _ in
        var simulation = Simulation(seed: seed, tokenizer: tokenizer)
        var texts: [String] = []
        simulation.harness.observer = { _, actions in texts += actions.map(\.text) }
        _ = simulation.run()
        return texts
      }
      let difference = zip(said[0], said[1]).first { $0 != $1 }
      #expect(difference == nil, "seed \(seed)")
      #expect(said[0].count == said[1].count && !said[0].isEmpty, "seed \(seed)")
    }
  }
}

extension CoordinatorAction {
  /// Everything in it but the random proofs of what is evaluated.
  var text: String {
    switch self {
    case .note(let note):
      let facts = note.metadata.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
      return "note \(note.isWarning) \(note.message) \(facts)"
    case .send(.evaluated(var part), let peer, let payloads):
      part.proof = 0
      return "send \(part) to \(peer) \(payloads)"
    case .send(let message, let peer, let payloads):
      return "send \(message) to \(peer) \(payloads)"
    default: return "\(self)"
    }
  }
}
