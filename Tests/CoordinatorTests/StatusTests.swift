// What status and health say in each phase.

import Testing
import Wire

@testable import Coordinator

@Suite struct `Status and health` {
  private func status(_ harness: Harness) -> StatusReply? {
    harness.ask(.statusRequest(StatusRequest(request: 77)), client: 9)
    guard case .statusReply(let reply) = harness.replies.last else { return nil }
    #expect(reply.request == 77)
    return reply
  }

  private func health(_ harness: Harness) -> HealthReply? {
    harness.ask(.healthRequest(HealthRequest(request: 78)), client: 9)
    guard case .healthReply(let reply) = harness.replies.last else { return nil }
    #expect(reply.request == 78)
    return reply
  }

  @Test func `before all workers have joined it waits, and those missing are lost`() {
    let harness = Harness()
    harness.start(Harness.hello("cpu-0"))
    harness.settle()
    let reply = status(harness)
    #expect(reply?.state == .waiting)
    #expect(reply?.epoch == 0)
    #expect(reply?.workers.map(\.state) == [.loading, .lost])
    #expect(reply?.workers.map(\.pid) == [100, 0])
    #expect(health(harness)?.isHealthy == false)
    #expect(health(harness)?.workers.last?.detail.contains("has not joined") == true)
  }

  @Test func `while layers are prepared it loads, and tells how far`() {
    let harness = Harness()
    harness.startAll()
    for worker in harness.workers { harness.deliver(from: worker.control) }
    let worker = harness.workers[0]
    let heartbeat = Harness.heartbeat(loadFraction: 0.25)
    harness.handle(.message(.heartbeat(heartbeat), from: worker.control, payloads: []))
    #expect(status(harness)?.state == .loading)
    #expect(status(harness)?.workers.map(\.loadFraction) == [0.25, 0])
    #expect(health(harness)?.workers.map(\.detail) == ["25 %", "0 %"])
    #expect(health(harness)?.isHealthy == false)
  }

  @Test func `serving, it tells what each worker holds and does`() {
    let harness = Harness()
    harness.serve()
    harness.pass(.milliseconds(250))
    harness.now += .milliseconds(250)
    for worker in harness.workers {
      let heartbeat = Harness.heartbeat()
      harness.handle(.message(.heartbeat(heartbeat), from: worker.control, payloads: []))
    }
    harness.ask(Harness.generate(.tokens([5, 6]), count: 3))
    harness.settle()
    harness.now += .milliseconds(120)
    let reply = status(harness)
    #expect(reply?.state == .ready)
    #expect(reply?.model == "tiny")
    #expect(reply?.fingerprint == Harness.fingerprint)
    #expect(reply?.epoch == 1)
    #expect(reply?.uptimeMilliseconds == 620)
    #expect(reply?.sessions == 0 && reply?.queued == 0)
    // Three tokens in the window of five seconds.
    #expect(reply?.tokensPerSecond == 0.6)
    let first = reply?.workers.first
    #expect(first?.name == "cpu-0")
    #expect(first?.device == "cpu")
    #expect(first?.firstLayer == 0 && first?.endLayer == 2)
    #expect(first?.state == .ready)
    #expect(first?.residentBytes == 4096 && first?.kvBytes == 512)
    // 30 µs of the last five seconds; 10 µs in the last step.
    #expect(first.map { abs($0.busy - 6e-6) < 1e-12 } == true)
    #expect(first?.stepMilliseconds == 0.01)
    #expect(first?.heartbeatAgeMilliseconds == 120)
    #expect(first?.threads == 2)
    // Three steps; 10 µs each on stage 0, 11 on stage 1.
    #expect(reply?.workers.map(\.busyMicroseconds) == [30, 33])
    #expect(health(harness)?.isHealthy == true)
  }

  @Test func `tokens a second are forgotten after some seconds`() {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6]), count: 10))
    harness.settle()
    #expect(status(harness)?.tokensPerSecond == 2)
    harness.pass(.seconds(6), times: 12)
    #expect(status(harness)?.tokensPerSecond == 0)
  }

  @Test func `a late heartbeat makes a worker degraded, its loss the service`() {
    let harness = Harness()
    harness.serve()
    harness.pass(.milliseconds(1500), times: 6, silent: ["cpu-1"])
    #expect(health(harness)?.workers.map(\.state) == [.ready, .degraded])
    #expect(health(harness)?.workers.last?.detail.contains("no heartbeat for 1500") == true)
    #expect(health(harness)?.workers.last?.heartbeatAgeMilliseconds == 1500)
    #expect(health(harness)?.isHealthy == false)
    #expect(status(harness)?.state == .ready)
    harness.pass(.seconds(8), times: 16, silent: ["cpu-1"])
    #expect(status(harness)?.state == .degraded)
    #expect(health(harness)?.workers.map(\.state) == [.loading, .lost])
  }

  /// A pipeline whose second worker is given up, so that the first has all layers.
  private func bereft() throws -> Harness {
    let harness = Harness()
    harness.serve()
    let worker = try #require(harness.worker("cpu-1"))
    harness.crash(worker)
    harness.handle(.workerExited(name: "cpu-1", how: "ended with status 70", willRestart: true))
    #expect(health(harness)?.workers.map(\.state) == [.loading, .lost])
    #expect(health(harness)?.workers.last?.detail == "awaited: ended with status 70")
    #expect(status(harness)?.replacedWorkers.isEmpty == true)
    harness.handle(.workerExited(name: "cpu-1", how: "ended with status 71", willRestart: false))
    harness.settle()
    #expect(harness.machine.plan.map(\.name) == ["cpu-0"])
    return harness
  }

  @Test func `a worker that others have replaced is told of until it is back`() throws {
    let harness = try bereft()
    harness.pass(.seconds(3), times: 6)
    let reply = status(harness)
    #expect(reply?.state == .ready)
    #expect(reply?.workers.map(\.name) == ["cpu-0"])
    let reason = "ended with status 70; then it ended with status 71; it is not started again"
    #expect(
      reply?.replacedWorkers == [
        ReplacedWorker(
          name: "cpu-1",
          device: "cpu",
          reason: reason,
          ageMilliseconds: 3000,
          isEmulated: false
        )
      ]
    )
    #expect(health(harness)?.isHealthy == false)
    #expect(health(harness)?.workers.map(\.state) == [.ready, .replaced])
    #expect(health(harness)?.workers.last?.detail == "its layers were given to others: \(reason)")
    harness.start(Harness.hello("cpu-1"))
    harness.settle()
    #expect(status(harness)?.replacedWorkers.isEmpty == true)
    #expect(status(harness)?.workers.map(\.name) == ["cpu-0", "cpu-1"])
    #expect(health(harness)?.isHealthy == true)
  }

  @Test func `a worker that others have replaced is forgotten when it is drained`() throws {
    let harness = try bereft()
    harness.ask(.drain(Drain(request: 79, worker: "cpu-1")), client: 9)
    guard case .rebalanced(let moved) = harness.replies.last else {
      Issue.record("\(harness.replies)")
      return
    }
    #expect(moved.layersMoved == 0)
    #expect(status(harness)?.replacedWorkers.isEmpty == true)
    #expect(health(harness)?.isHealthy == true)
    harness.ask(.drain(Drain(request: 80, worker: "cpu-1")), client: 9)
    guard case .requestFailed(let failed) = harness.replies.last else {
      Issue.record("\(harness.replies)")
      return
    }
    #expect(failed.message.contains("no worker is called \"cpu-1\""))
  }

  @Test func `malformed messages a worker has refused are shown`() {
    let harness = Harness()
    harness.serve()
    let heartbeat = Harness.heartbeat(rejected: 4)
    let worker = harness.workers[1]
    harness.handle(.message(.heartbeat(heartbeat), from: worker.control, payloads: []))
    #expect(health(harness)?.workers.last?.detail == "4 malformed messages refused")
    #expect(health(harness)?.isHealthy == true)
  }

  // MARK: Counters

  /// How often requests ended in each way.
  private func ends(_ counters: ServiceCounters?) -> [String: UInt64] {
    guard let counters else { return [:] }
    var ends = [
      "stop": counters.stoppedRequests, "length": counters.lengthRequests,
      "cancelled": counters.cancelledRequests, "evaluated": counters.evaluatedRequests,
      "abandoned": counters.abandonedRequests,
    ]
    for failure in counters.failedRequests { ends["\(failure.code)!"] = failure.count }
    return ends.filter { $0.value > 0 }
  }

  @Test func `every request is counted once, by how it ended`() throws {
    let harness = Harness(limits: Harness.limits(context: 20, slots: 1, queued: 1))
    harness.serve()
    let counters = { status(harness)?.counters }
    #expect(ends(counters()).isEmpty)
    #expect(counters()?.failedRequests.map(\.code) == RequestFailureCode.allCases)
    harness.ask(Harness.generate(.tokens([5, 6]), count: 4))
    harness.settle()
    harness.ask(Harness.evaluate([5, 6, 7], .scores, request: 2))
    harness.settle()
    harness.ask(Harness.generate(.tokens(Array(repeating: 5, count: 30)), request: 3))
    harness.ask(Harness.evaluate([], .logits, request: 4))
    harness.ask(Harness.generate(.text("no tokenizer"), request: 5))
    #expect(ends(counters()) == ["length": 1, "evaluated": 1, "tooLong!": 1, "invalid!": 2])
    // One runs, one waits, one is too many; then they end in other ways.
    for request in UInt64(6)...8 {
      harness.ask(Harness.generate(.tokens([5, 6, 7]), request: request))
    }
    harness.ask(.cancel(Cancel(request: 6)))
    harness.ask(.cancel(Cancel(request: 6)))
    harness.handle(.unreachable(Harness.peer(1)))
    harness.ask(Harness.generate(.tokens([5, 6]), request: 10), client: 2)
    harness.handle(.stop)
    harness.ask(Harness.generate(.tokens([5, 6]), request: 11), client: 2)
    #expect(
      ends(counters()) == [
        "length": 1, "evaluated": 1, "tooLong!": 1, "invalid!": 2, "busy!": 1, "cancelled": 1,
        "abandoned": 1, "shuttingDown!": 2,
      ]
    )
    // What else is refused is no request of this kind.
    harness.ask(.rebalance(Rebalance(request: 12, split: [1])), client: 2)
    let receipt = Receipt(messages: 0, awaited: [99])
    harness.ask(.receipt(receipt), client: 2)
    #expect(ends(counters()).values.reduce(0, +) == 10)
  }

  @Test func `tokens are counted where they came from, and prompts once they are read`() {
    let harness = Harness()
    harness.serve()
    let counters = { status(harness)?.counters }
    let prompt = (0..<10).map { Int32(20 + $0) }
    harness.ask(Harness.generate(.tokens(prompt), count: 3))
    #expect(counters()?.promptTokens == 0)
    harness.settle()
    #expect(counters()?.promptTokens == 10 && counters()?.cachedTokens == 0)
    #expect(counters()?.generatedTokens == 3 && counters()?.steps == 3)
    harness.ask(Harness.generate(.tokens(prompt + [7]), request: 2, count: 2))
    harness.settle()
    let cached = harness.outcome(2).finished?.cachedTokens ?? 0
    #expect(cached > 0 && counters()?.cachedTokens == UInt64(cached))
    #expect(counters()?.promptTokens == 21 && counters()?.generatedTokens == 5)
    harness.ask(Harness.evaluate(prompt, .scores, request: 3))
    harness.settle()
    #expect(counters()?.evaluatedTokens == 10 && counters()?.promptTokens == 21)
  }

  @Test func `epochs, lost workers and moves are counted`() throws {
    let harness = Harness()
    harness.serve()
    let counters = { status(harness)?.counters }
    #expect(counters()?.epochs == 1 && counters()?.lostWorkers == 0)
    harness.ask(Harness.generate(.tokens([5, 6, 7]), count: 20))
    harness.settle()
    harness.ask(.rebalance(Rebalance(request: 20, split: [4, 2])))
    harness.settle()
    guard case .rebalanced(let moved)? = harness.replies.last(where: { $0.name == "Rebalanced" })
    else {
      Issue.record("nothing has moved")
      return
    }
    #expect(counters()?.epochs == 2 && counters()?.rebalances == 1)
    #expect(counters()?.movedBytes == moved.kvBytesMoved)
    harness.crash(try #require(harness.worker("cpu-1")))
    harness.handle(.workerExited(name: "cpu-1", how: "died", willRestart: true))
    #expect(counters()?.lostWorkers == 1)
    harness.start(Harness.hello("cpu-1"))
    harness.settle()
    #expect(counters()?.epochs == 3 && counters()?.rebalances == 1)
  }

  @Test func `stopping is said too`() {
    let harness = Harness()
    harness.serve()
    harness.handle(.stop)
    #expect(status(harness)?.state == .stopping)
  }
}
