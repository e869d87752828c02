// What the coordinator makes of what workers tell of their devices.

import Compute
import FakeGPUBackend
import Testing
import Wire
import Worker

@testable import Coordinator

@Suite struct `Devices of workers` {
  /// Returns why a worker whose device is changed so is refused; nil if it is welcomed.
  private func refusal(_ change: (inout Device) -> Void) -> Refused? {
    let harness = Harness()
    var hello = Harness.hello("cpu-0")
    change(&hello.device)
    let peer = PeerID([0xC0, 1, 1])
    harness.handle(.message(.hello(hello), from: peer, payloads: []))
    guard case .refused(let refused) = harness.sentToPeers[peer]?.last else { return nil }
    #expect(harness.machine.workers.isEmpty)
    return refused
  }

  @Test func `a description arrives as the backend gave it, but for its sensors`() throws {
    for backend in [FakeGPU(), ReferenceBackend(threads: 3)] as [any Backend] {
      var expected = backend.device
      expected.sensors = DeviceSensors()
      #expect(try DeviceDescription(Device(backend.device)) == expected)
    }
  }

  @Test func `what a newer worker tells of is refused by name`() throws {
    let future = Capability(name: "convolve", obstacle: "")
    let refusals = [
      (refusal { $0.kind = "qpu" }, "tells of the kind \"qpu\""),
      (refusal { $0.ops.append(future) }, "tells of the op \"convolve\""),
      (refusal { $0.weightTypes.append(future) }, "tells of weights of type \"convolve\""),
      (refusal { $0.cacheTypes = ["f8"] }, "tells of caches of type \"f8\""),
    ]
    for (refused, words) in refusals {
      let refused = try #require(refused)
      #expect(refused.code == .invalid && refused.message.contains(words), "\(refused)")
      #expect(refused.message.contains("run the same version of the program on both sides"))
    }
    #expect(refusal { _ in } == nil)
  }

  @Test func `a device without any rows, rate or cache is refused`() throws {
    let refusals = [
      refusal { $0.preferredRows = 0 }, refusal { $0.rateHint = 0 }, refusal { $0.cacheTypes = [] },
    ]
    for refused in refusals {
      #expect(try #require(refused).message.contains("none of these may be 0"))
    }
  }

  @Test func `a step has no more rows than all devices of the pipeline prefer`() {
    let harness = Harness()
    harness.startAll([0])
    var hello = Harness.hello("cpu-1")
    hello.device.preferredRows = 3
    harness.start(hello)
    harness.settle()
    let prompt = (0..<14).map { Int32($0 + 5) }
    harness.ask(Harness.generate(.tokens(prompt)))
    harness.settle()
    #expect(harness.sentSteps.map(\.rows.count).max() == 3)
    let want = harness.model.continuation(of: prompt, Harness.sampling(), count: 8)
    #expect(harness.outcome().tokens == want)
    // Without that device the limit is the coordinator's own again.
    harness.ask(.drain(Drain(request: 9, worker: "cpu-1")))
    harness.settle()
    harness.ask(Harness.generate(.tokens(prompt.reversed()), request: 2))
    harness.settle()
    #expect(harness.sentSteps.map(\.rows.count).max() == 14)
  }

  @Test func `a worker that nobody has measured gets layers by its device's rate`() {
    let harness = Harness(plan: Harness.plan(1))
    harness.serve()
    var hello = Harness.hello("gpu")
    hello.device.rateHint = 8
    harness.start(hello)
    harness.settle()
    harness.ask(.rebalance(Rebalance(request: 9, split: [])))
    harness.settle()
    // Six layers and the logits at 2 to 8: the logits and all but one layer are the faster one's.
    #expect(harness.machine.plan.map(\.layers.count) == [1, 5])
  }

  @Test func `status and health name the device, and say that it is emulated`() throws {
    let plan = Harness.plan(2).map { place in
      place.name == "cpu-1"
        ? PlannedWorker(name: "gpu", device: "fake-gpu", slice: place.slice) : place
    }
    let harness = Harness(plan: plan)
    harness.startAll([0])
    var hello = Harness.hello("gpu")
    hello.device = Device(FakeGPU().device)
    harness.start(hello)
    harness.settle()
    #expect(harness.readyCount == 1)
    let status = harness.machine.status(1).workers
    #expect(status.map(\.device) == ["cpu", "fake-gpu"])
    #expect(status.map(\.isEmulated) == [false, true] && status.map(\.threads) == [2, 1])
    let health = harness.machine.health(1).workers
    #expect(health.map(\.device) == ["cpu", "fake-gpu"])
    #expect(health.map(\.isEmulated) == [false, true])
    harness.ask(Harness.generate(.tokens([5, 6])))
    harness.settle()
    #expect(harness.outcome().finished?.placement.map(\.isEmulated) == [false, true])
    let joined = harness.notes.filter { $0.message == "worker joined" }.map {
      $0.metadata["device"]
    }
    #expect(joined == ["cpu", "fake-gpu (emulated)"])
  }
}
