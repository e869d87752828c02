// Layers that a device cannot run: they are never placed there, whoever asks.

import Compute
import Gemma
import Testing
import Wire
import Worker

@testable import Coordinator

@Suite struct `Layers that a device does not support` {
  /// A model of which these layers have an op that not every device has.
  private func model(layers: [Int] = [4], logits: Bool = false) -> ServedModel {
    var served = Harness.served()
    let rare = Op.keepWanted(
      KeepWanted(input: BufferID(index: 0), output: BufferID(index: 1))
    )
    for layer in layers { served.ops.layers[layer] = [rare] }
    if logits { served.ops.logits = [rare] }
    return served
  }

  /// Introduces a worker whose device lacks that op.
  private func gpu(_ name: String = "gpu") -> Hello {
    var device = Harness.device("gpu")
    device.ops = OpKind.allCases.map { op in
      op == .keepWanted
        ? OpSupport(op: op, support: .unsupported(reason: "no kernel keeps rows"))
        : OpSupport(op: op)
    }
    var hello = Harness.hello(name)
    hello.device = Device(device)
    return hello
  }

  /// The first two layers on a CPU, the others and the logits on the GPU.
  private var plan: [PlannedWorker] {
    let line = ModelLine(layerCount: Harness.layerCount, vocabularySize: 64)
    return [
      PlannedWorker(name: "cpu-0", device: "cpu", slice: line.slice(layers: 0..<2)),
      PlannedWorker(name: "gpu", device: "gpu", slice: line.slice(layers: 2..<6)),
    ]
  }

  private func harness(_ served: ServedModel, isPlanBinding: Bool) -> Harness {
    let harness = Harness(plan: plan, served: served, isPlanBinding: isPlanBinding)
    harness.start(Harness.hello("cpu-0"))
    harness.start(gpu())
    harness.settle()
    return harness
  }

  private func expectAnswer(_ harness: Harness, request: UInt64 = 1) {
    harness.ask(Harness.generate(.tokens([5, 6]), request: request))
    harness.settle()
    let want = harness.model.continuation(of: [5, 6], Harness.sampling(), count: 8)
    #expect(harness.outcome(request).tokens == want && harness.failures.isEmpty)
  }

  @Test func `a split that the user asks for is refused with worker, layer, op and reason`() {
    let harness = harness(model(), isPlanBinding: true)
    #expect(harness.readyCount == 0 && harness.failures.map(\.code) == [.placement])
    #expect(
      harness.failures.first?.message.contains(
        "worker gpu cannot run layer 4: op keepWanted: no kernel keeps rows"
      ) == true,
      "\(harness.failures)"
    )
  }

  @Test func `any other split is made anew, of what the devices can run`() {
    let harness = harness(model(), isPlanBinding: false)
    #expect(harness.readyCount == 1)
    #expect(harness.machine.plan.map(\.name) == ["cpu-0", "gpu"])
    #expect(harness.machine.plan.map(\.layers) == [0..<5, 5..<6])
    expectAnswer(harness)
  }

  @Test func `a device that can run nothing of the model stands by`() {
    let served = model(layers: Array(0..<Harness.layerCount), logits: true)
    let harness = harness(served, isPlanBinding: false)
    #expect(harness.machine.plan.map(\.name) == ["cpu-0"] && harness.readyCount == 1)
    expectAnswer(harness)
  }

  @Test func `where no worker can run a layer, the error names it`() throws {
    let harness = Harness(plan: plan, served: model(), isPlanBinding: false)
    var other = gpu("cpu-0")
    other.device.name = "cpu"
    harness.start(other)
    harness.start(gpu())
    harness.settle()
    let failure = try #require(harness.failures.first)
    #expect(
      failure.code == .placement && failure.message.contains("cannot run layer 4: op keepWanted")
    )
  }

  @Test func `a move to it is refused, and one of the coordinator's choice avoids it`() {
    let harness = Harness(plan: Harness.plan(2), served: model())
    harness.serve()
    harness.start(gpu())
    harness.settle()
    harness.ask(.rebalance(Rebalance(request: 8, split: [2, 1, 3])))
    harness.settle()
    #expect(harness.outcome(8).failed?.code == .invalid)
    #expect(
      harness.outcome(8).failed?.message
        == "worker gpu cannot run layer 4: op keepWanted: no kernel keeps rows"
    )
    harness.ask(.rebalance(Rebalance(request: 9, split: [])))
    harness.settle()
    #expect(harness.machine.plan.first { $0.name == "gpu" }?.layers == 5..<6)
    expectAnswer(harness)
  }

  @Test func `a spare worker takes no place that its device cannot run`() throws {
    let harness = Harness(plan: Harness.plan(2), served: model())
    harness.serve()
    var spare = gpu("spare")
    spare.device.name = "cpu"
    harness.start(spare)
    harness.settle()
    harness.crash(try #require(harness.worker("cpu-1")))
    harness.handle(.workerExited(name: "cpu-1", how: "was ended by signal 9", willRestart: true))
    harness.pass(.seconds(4), times: 16)
    #expect(harness.machine.epoch.isGathering && harness.machine.missingWorkers == ["cpu-1"])
    // Its layers go to the others as a whole, and layer 4 not to the spare one.
    harness.pass(.seconds(30), times: 120)
    harness.settle()
    #expect(harness.machine.plan.map(\.name) == ["cpu-0", "spare"])
    #expect(harness.machine.plan.map(\.layers) == [0..<5, 5..<6])
  }

  @Test func `what a worker could not prepare for want of a kernel is never offered to it again`()
    throws
  {
    let harness = Harness()
    harness.serve()
    harness.ask(.rebalance(Rebalance(request: 8, split: [1, 5])))
    while let peer = harness.toWorker.keys.first { harness.deliver(toWorker: peer) }
    let worker = try #require(harness.worker("cpu-1"))
    var failure = StageFailure(.unsupported, "no kernel for such a window")
    failure.unsupportedLayers = [1]
    harness.carry(worker.failPreparing(failure), from: worker)
    harness.settle()
    #expect(harness.outcome(8).failed?.message.contains("no kernel for such a window") == true)
    #expect(harness.machine.epoch.isServing && harness.killed.isEmpty)
    harness.ask(.rebalance(Rebalance(request: 9, split: [1, 5])))
    #expect(
      harness.outcome(9).failed?.message
        == "worker cpu-1 cannot run layer 1: no kernel for such a window"
    )
    harness.ask(.rebalance(Rebalance(request: 10, split: [3, 3])))
    harness.settle()
    #expect(harness.machine.plan.map(\.layers) == [0..<3, 3..<6])
    expectAnswer(harness)
  }

  @Test func `layers that are not supported after all go to the others`() throws {
    let harness = Harness()
    harness.serve()
    harness.crash(try #require(harness.worker("cpu-1")))
    harness.handle(.workerExited(name: "cpu-1", how: "was ended by signal 9", willRestart: true))
    harness.start(Harness.hello("cpu-1"))
    while let peer = harness.toCoordinator.keys.first { harness.deliver(from: peer) }
    while let peer = harness.toWorker.keys.first { harness.deliver(toWorker: peer) }
    let worker = try #require(harness.worker("cpu-1"))
    // One that does not say which layers means all that it was given.
    harness.carry(worker.failPreparing(StageFailure(.unsupported, "no such op")), from: worker)
    harness.settle()
    #expect(harness.machine.plan.map(\.name) == ["cpu-0"] && harness.readyCount == 2)
    expectAnswer(harness)
  }
}
