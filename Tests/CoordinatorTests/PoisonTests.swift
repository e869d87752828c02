// Requests that no worker survives: they end in words, and the others are served.

import Testing
import Wire

@testable import Coordinator

@Suite struct `Poisonous requests` {
  /// One that no answer has in it: those beside it would be as deadly.
  private static let deadly: Int32 = 0

  @Test(arguments: [1, 3]) func `one alone is refused after three deaths`(stages: Int) {
    let harness = Harness(plan: Harness.plan(stages))
    harness.serve()
    harness.deadlyToken = Self.deadly
    harness.ask(Harness.generate(.tokens([5, Self.deadly, 6])))
    harness.settle()
    #expect(harness.outcome().failed?.code == .internal)
    #expect(harness.outcome().failed?.message.contains("3 workers in a row were lost") == true)
    #expect(harness.outcome().failed?.message.contains("signal 9") == true)
    #expect(harness.deaths == 3)
    harness.ask(Harness.generate(.tokens([5, 6]), request: 2))
    harness.settle()
    #expect(harness.outcome(2).finished != nil)
  }

  @Test func `those beside it get their answers, and no worker dies a fifth time`() {
    let harness = Harness(plan: Harness.plan(2), limits: Harness.limits(slots: 8))
    harness.serve()
    harness.deadlyToken = Self.deadly
    for request in UInt64(1)...6 {
      let second: Int32 = request == 3 ? Self.deadly : 20
      harness.ask(Harness.generate(.tokens([5, second, Int32(request)]), request: request))
    }
    harness.settle()
    for request in UInt64(1)...6 where request != 3 {
      let want = harness.model.continuation(
        of: [5, 20, Int32(request)],
        Harness.sampling(),
        count: 8
      )
      #expect(harness.outcome(request).tokens == want)
      #expect(harness.outcome(request).finished != nil)
    }
    #expect(harness.outcome(3).failed?.code == .internal)
    #expect(harness.deaths <= 4)
    #expect(harness.failures.isEmpty)
  }

  @Test func `workers lost at random while a request runs are not its fault`() {
    var record = LossRecord()
    for position in 0..<6 {
      record.add(at: LossRecord.Place(worker: "cpu-0", position: position))
      #expect(!record.isCause)
    }
    record.add(at: nil)
    record.add(at: LossRecord.Place(worker: "cpu-0", position: 5))
    #expect(!record.isCause)
    record.add(at: LossRecord.Place(worker: "cpu-0", position: 5))
    #expect(record.isCause)
  }
}
