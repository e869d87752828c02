// Layers that move by themselves, in a pipeline of fake workers whose speeds drift.

import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `Automatic rebalance` {
  /// Six layers on three workers, two each, the head with the last.
  private func serving(_ advice: RebalanceAdvisor.Limits? = RebalanceAdvisor.Limits()) -> Harness {
    let harness = Harness(plan: Harness.plan(3), advice: advice)
    harness.serve()
    return harness
  }

  /// Serves a request each second, whose steps take so many milliseconds in a stage of each worker.
  private func run(
    _ harness: Harness,
    seconds: Int,
    _ milliseconds: @escaping (_ worker: String, _ layers: Int, _ hasHead: Bool) -> Double
  ) {
    for second in 0..<seconds {
      for worker in harness.workers {
        let name = worker.place ?? ""
        worker.stepMicroseconds = { assign in
          let layers = assign.endLayer - assign.firstLayer
          return UInt64(1000 * milliseconds(name, layers, assign.endLayer == 6))
        }
      }
      let request = UInt64(1000 + second)
      harness.ask(Harness.generate(.tokens([5, 6]), request: request, ignoresEnd: true))
      harness.settle()
      let want = harness.model.continuation(of: [5, 6], Harness.sampling(), count: 8)
      #expect(harness.outcome(request).tokens == want)
      harness.pass(.seconds(1), times: 4)
    }
    harness.settle()
  }

  private func decisions(_ harness: Harness) -> [String] {
    harness.notes.filter { $0.message == "rebalance considered" }
      .compactMap { $0.metadata["decision"] }
  }

  private func layers(_ harness: Harness) -> [Range<Int>] { harness.machine.plan.map(\.layers) }

  private func even(_ layers: Int, _ hasHead: Bool) -> Double {
    10 * Double(layers + (hasHead ? 1 : 0))
  }

  @Test func `layers move away from a worker that becomes slower, and it is told why`() throws {
    let harness = serving()
    run(harness, seconds: 60) { _, layers, hasHead in self.even(layers, hasHead) }
    #expect(layers(harness) == [0..<2, 2..<4, 4..<6])
    #expect(decisions(harness) == ["balanced"])
    run(harness, seconds: 60) { name, layers, hasHead in
      self.even(layers, hasHead) * (name == "cpu-0" ? 2 : 1)
    }
    #expect(harness.machine.plan.first?.name == "cpu-0")
    #expect(layers(harness).first == 0..<1)
    #expect(decisions(harness) == ["balanced", "passing", "move", "balanced", "kept"])
    let reason = harness.notes.last { $0.metadata["decision"] == "move" }?.metadata["reason"]
    #expect(reason?.contains("cpu-0") == true && reason?.contains("% faster") == true)
    #expect(harness.machine.epoch.number == 2)
    harness.ask(.statusRequest(StatusRequest(request: 77)), client: 9)
    guard case .statusReply(let status) = harness.replies.last else { return }
    let told = try #require(status.autoRebalance)
    #expect(told.decision.hasPrefix("kept: a step takes cpu-0"))
    #expect(told.ageMilliseconds > 0)
  }

  @Test(.seeded(default: 5)) func `noise of a fifth moves nothing`() {
    var random = SeededRandom(testSeed(default: 5))
    let harness = serving()
    run(harness, seconds: 300) { _, layers, hasHead in
      self.even(layers, hasHead) * Double.random(in: 0.8...1.2, using: &random)
    }
    #expect(harness.machine.epoch.number == 1)
    #expect(decisions(harness).count < 10)
  }

  @Test func `a move that brought nothing is not repeated at once`() {
    let harness = serving()
    // Whatever it holds, it takes as long.
    run(harness, seconds: 120) { name, layers, hasHead in
      name == "cpu-0" ? 60 : self.even(layers, hasHead)
    }
    #expect(decisions(harness).filter { $0 == "move" }.count == 1)
    #expect(decisions(harness).contains("fell short"))
    // Now others are slow, and it would have room again.
    run(harness, seconds: 60) { name, layers, hasHead in
      name == "cpu-0" ? 5 : 3 * self.even(layers, hasHead)
    }
    #expect(decisions(harness).filter { $0 == "move" }.count == 1)
    #expect(decisions(harness).last == "resting")
    run(harness, seconds: 120) { name, layers, hasHead in
      name == "cpu-0" ? 5 : 3 * self.even(layers, hasHead)
    }
    #expect(decisions(harness).filter { $0 == "move" }.count == 2)
  }

  @Test func `a move that a worker cannot prepare is given up, and the next one waits`() {
    let harness = serving()
    harness.refusesMoves = true
    run(harness, seconds: 100) { name, layers, hasHead in
      self.even(layers, hasHead) * (name == "cpu-0" ? 2 : 1)
    }
    #expect(layers(harness) == [0..<2, 2..<4, 4..<6])
    // Once; two minutes must pass now.
    #expect(harness.notes.filter { $0.message.hasPrefix("placement given up") }.count == 1)
    let status = harness.machine.status(1).autoRebalance
    #expect(status?.decision.hasPrefix("resting: ") == true)
    harness.refusesMoves = false
    run(harness, seconds: 60) { name, layers, hasHead in
      self.even(layers, hasHead) * (name == "cpu-0" ? 2 : 1)
    }
    #expect(layers(harness).first == 0..<1)
  }

  @Test func `nothing moves unasked if the user has not said so`() {
    let harness = serving(nil)
    run(harness, seconds: 60) { name, layers, hasHead in
      self.even(layers, hasHead) * (name == "cpu-0" ? 2 : 1)
    }
    #expect(harness.machine.epoch.number == 1)
    #expect(harness.machine.status(1).autoRebalance == nil)
    // But the same split is chosen when somebody asks.
    harness.ask(.rebalance(Rebalance(request: 9, split: [])), client: 2)
    harness.settle()
    #expect(layers(harness).first == 0..<1)
  }
}
