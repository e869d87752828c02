// Coordinator and workers on a network that a seed drives: workers are lost at any point and join in
// any order, layers are moved while they compute, results come twice, too late or as nonsense, steps
// are not taken, vanish or fail. What every client gets is what it would have got had nothing happened.

import Foundation
import Gemma
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `Simulated faults` {
  /// What the runs of all seeds have seen together.
  private struct Effects {
    var epochs = 0
    var automaticMoves = 0
    var cutEpochs = 0

    mutating func count(_ harness: Harness) {
      epochs += Int(harness.machine.epoch.number)
      automaticMoves += harness.notes.filter { $0.metadata["decision"] == "move" }.count
      cutEpochs += harness.workers.count { worker in
        worker.lastPrepared.map { $0.firstLayer == $0.endLayer } ?? false
      }
    }
  }

  @Test func `whatever happens, every stream is what it would have been undisturbed`() throws {
    let tokenizer = try Tokenizer.load(for: Goldens.demoModel.path)
    // TRESTLE_SEED runs that one alone, TRESTLE_FUZZ_ITERATIONS as many as it says.
    let first = testSeed(default: 1)
    let isReplay = first != 1
    let count = isReplay ? 1 : fuzzIterations(default: 250)
    var effects = Effects()
    for seed in first..<(first + UInt64(count)) {
      var simulation = Simulation(seed: seed, tokenizer: tokenizer)
      let ends = simulation.run()
      effects.count(simulation.harness)
      let complaints = (ends ? [] : [simulation.standing]) + simulation.complaints
      guard !complaints.isEmpty else { continue }
      let story = Simulation.story(of: seed, tokenizer: tokenizer)
      Issue.record("\(complaints.joined(separator: "\n"))\n\(story)")
    }
    guard !isReplay else { return }
    // The faults have had effect: the mean run saw more than one epoch.
    #expect(effects.automaticMoves > count / 50, "\(effects) in \(count) runs")
    #expect(effects.epochs > count * 3 / 2, "\(effects) in \(count) runs")
    // And workers without layers were there.
    #expect(effects.cutEpochs > count / 20, "\(effects) in \(count) runs")
  }
}
