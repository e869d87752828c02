// What workers say that no honest one would: nobody sees it, and whoever cannot be relied on is ended.

import Testing
import Wire

@testable import Coordinator

@Suite struct `Lying workers` {
  @Test func `results of a worker that is not the last stage end it, however likely they are`() {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    let result = RowResult(slot: 0, position: 1, token: 9, logProbability: 0)
    let done = StepDone(epoch: 1, sequence: 1, results: [result], stageMicroseconds: [1, 1])
    harness.post(.stepDone(done), from: harness.workers[0].results)
    harness.deliver(from: harness.workers[0].results)
    #expect(harness.killed == ["cpu-0"])
    #expect(harness.outcome().tokens.isEmpty)
  }

  @Test func `logits that nobody wants, or too few of them, end the last stage`() {
    for (payloads, isEvaluation) in [([[Float](repeating: 0, count: 64)], false), ([], true)] {
      let harness = Harness()
      harness.serve()
      harness.ask(
        isEvaluation
          ? Harness.evaluate([5, 6], .logits) : Harness.generate(.tokens([5, 6]), count: 1)
      )
      let results = ((isEvaluation ? 0 : 1)..<2).map {
        RowResult(slot: 0, position: $0, token: 0, logProbability: 0)
      }
      let done = StepDone(epoch: 1, sequence: 1, results: results, stageMicroseconds: [1, 1])
      harness.post(.stepDone(done), from: harness.workers[1].results, payloads: payloads)
      harness.deliver(from: harness.workers[1].results)
      #expect(harness.killed == ["cpu-1"])
      #expect(harness.outcome().evaluated.isEmpty && harness.outcome().tokens.isEmpty)
    }
  }

  @Test func `likelihoods that cannot be, or of other tokens, end the last stage`() {
    let half = TokenScore(token: 4, logProbability: -0.7)
    let lies: [(Double, [TokenScore])] = [
      (.nan, [half]), (0.1, [half]), (-.infinity, [half]), (-1, []), (-1, [half, half]),
      (-1, [TokenScore(token: 64, logProbability: -0.7)]),
      (-1, [TokenScore(token: 4, logProbability: .nan)]),
    ]
    for (logProbability, likeliest) in lies + [(-1, [half])] {
      let harness = Harness()
      harness.serve()
      harness.ask(
        Harness.generate(.tokens([5, 6]), count: 1) {
          $0.sampling.returnsLogProbabilities = true
          $0.sampling.likeliest = 1
        }
      )
      let result = RowResult(
        slot: 0,
        position: 1,
        token: 9,
        logProbability: logProbability,
        likeliest: likeliest
      )
      let done = StepDone(epoch: 1, sequence: 1, results: [result], stageMicroseconds: [1, 1])
      harness.post(.stepDone(done), from: harness.workers[1].results)
      harness.deliver(from: harness.workers[1].results)
      // The last one is what an honest stage might have said.
      let isHonest = logProbability == -1 && likeliest == [half]
      #expect(harness.killed == (isHonest ? [] : ["cpu-1"]), "\(logProbability), \(likeliest)")
      #expect(harness.outcome().tokens == (isHonest ? [9] : []))
    }
  }

  @Test func `a word about steps that nobody has sent is counted, and ends the worker`() {
    let harness = Harness()
    harness.serve()
    let ahead: [(epoch: UInt32, sequence: UInt64)] = [(2, 1), (1, 99), (.max, .max)]
    for (epoch, sequence) in ahead {
      #expect(harness.killed.isEmpty)
      let done = StepDone(epoch: epoch, sequence: sequence, results: [], stageMicroseconds: [])
      harness.post(.stepDone(done), from: harness.workers[1].results)
      harness.deliver(from: harness.workers[1].results)
    }
    #expect(harness.machine.protocolErrors == 3)
    #expect(harness.killed == ["cpu-1"])
  }

  @Test func `a failure that a worker without layers tells of ends it alone`() {
    let harness = Harness()
    harness.serve()
    let guest = harness.start(Harness.hello("guest"))
    harness.settle()
    harness.ask(Harness.generate(.tokens([5, 6])))
    let failure = StepFailed(epoch: 1, sequence: 1, worker: "cpu-0", code: .step, message: "a lie")
    harness.post(.stepFailed(failure), from: guest.results)
    harness.settle()
    #expect(harness.killed == ["guest"])
    let want = harness.model.continuation(of: [5, 6], Harness.sampling(), count: 8)
    #expect(harness.outcome().tokens == want)
    #expect(harness.machine.epoch.number == 1)
  }

  @Test(arguments: [0, 1, 2])
  func `a stage that keeps steps to itself is found and ended`(_ silent: Int) throws {
    let harness = Harness(plan: Harness.plan(3))
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    /// Lets time pass with heartbeats that tell how many steps each has run.
    func pass(_ run: (Int) -> UInt64) {
      for _ in 0..<24 {
        harness.now += .milliseconds(250)
        for (stage, worker) in harness.workers.enumerated() {
          var heartbeat = Harness.heartbeat()
          heartbeat.steps = run(stage)
          harness.handle(.message(.heartbeat(heartbeat), from: worker.control, payloads: []))
        }
        harness.handle(.tick)
      }
    }
    pass { $0 < silent ? 1 : 0 }
    // Once may be a message that was lost.
    #expect(harness.killed.isEmpty && harness.machine.epoch.number == 2)
    harness.settle(computing: false)
    pass { $0 < silent ? 2 : 0 }
    #expect(harness.killed == ["cpu-\(silent)"])
  }

  @Test func `a stage that says it has run what it keeps is ended with the next`() {
    let harness = Harness(plan: Harness.plan(3))
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    for _ in 0..<2 { _ = harness.machine.epoch.countFruitless() }
    // The first two have run a step of this epoch, the last has not.
    harness.machine.workers.update("cpu-2") { worker in
      worker.hear(Harness.heartbeat(), at: harness.now, systemNow: harness.now)
      worker.beginEpoch()
    }
    harness.pass(.seconds(6), times: 24)
    #expect(harness.killed == ["cpu-1", "cpu-2"])
  }

  @Test func `who stands by does not make lost steps look well`() {
    let harness = Harness()
    harness.serve()
    let guest = harness.start(Harness.hello("guest"))
    harness.settle()
    harness.ask(Harness.generate(.tokens([5, 6])))
    harness.loseSteps()
    for _ in 0..<24 {
      harness.pass(.milliseconds(250))
      var heartbeat = Harness.heartbeat()
      heartbeat.stepInProgressMicroseconds = 1
      harness.handle(.message(.heartbeat(heartbeat), from: guest.control, payloads: []))
    }
    harness.settle()
    #expect(harness.machine.epoch.number == 2)
    #expect(harness.outcome().finished != nil)
  }

  @Test func `a worker that always says it computes is not believed for ever`() {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    harness.loseSteps()
    for _ in 0..<243 {
      harness.now += .seconds(1)
      for worker in harness.workers {
        var heartbeat = Harness.heartbeat()
        heartbeat.stepInProgressMicroseconds = 1
        harness.handle(.message(.heartbeat(heartbeat), from: worker.control, payloads: []))
      }
      harness.handle(.tick)
    }
    #expect(harness.machine.epoch.number == 2)
  }

  @Test func `numbers that no worker has are told to nobody`() {
    let harness = Harness()
    harness.startAll()
    harness.settle(computing: false)
    for worker in harness.workers {
      let heartbeat = Harness.heartbeat(loadFraction: 1e300)
      harness.handle(.message(.heartbeat(heartbeat), from: worker.control, payloads: []))
    }
    harness.crash(harness.workers[0])
    harness.handle(.workerExited(name: "cpu-0", how: "died", willRestart: true))
    let status = harness.machine.status(1)
    #expect(status.workers.map(\.loadFraction) == [0, 1])
  }

  @Test func `sizes that no move has do not overflow`() {
    let harness = Harness()
    harness.serve()
    harness.ask(.rebalance(Rebalance(request: 9, split: [4, 2])), client: 2)
    for worker in harness.workers {
      harness.deliver(toWorker: worker.control)
      harness.finishPreparing(worker)
      harness.deliver(from: worker.control)
    }
    for worker in harness.workers {
      let moved = Moved(epoch: 2, sentBytes: .max)
      harness.handle(.message(.moved(moved), from: worker.control, payloads: []))
    }
    #expect(harness.machine.epoch.number == 2)
  }
}
