// The planner against every placement there is, and what it says about them.

import Coordinator
import Gemma
import TestSupport
import Testing

@Suite struct `Planning` {
  @Test func `a curve is straight between what was measured, and goes on beyond`() {
    let curve = CostCurve(rows: [1, 4, 8], microseconds: [10, 40, 60])
    #expect(curve.time(rows: 0) == 0)
    #expect(curve.time(rows: 1) == 10)
    #expect(curve.time(rows: 3) == 30)
    #expect(curve.time(rows: 6) == 50)
    #expect(curve.time(rows: 16) == 100)
    #expect(CostCurve(rows: [2], microseconds: [10]).time(rows: 1) == 10)
    #expect(CostCurve(rows: [2], microseconds: [10]).time(rows: 6) == 30)
    // Noise must not lead below zero.
    #expect(CostCurve(rows: [1, 2], microseconds: [10, 4]).time(rows: 100) == 4)
    #expect(
      CostCurve(rows: [1, 2, 4], microseconds: [9, 4, 6]).rising().microseconds == [4, 4, 6]
    )
    let rest = curve.subtracting(CostCurve(rows: [1, 8], microseconds: [20, 20]))
    #expect(rest.microseconds == [0, 20, 40])
  }

  @Test func `even devices share even layers, and one stage is taken where links eat the gain`()
    throws
  {
    let perRow = CostCurve(rows: [1], microseconds: [100])
    let near = try evenCosts(latency: 10, cost: perRow)
    let plan = try Planner(costs: near, limits: noRoom).plan(.throughput(streams: 4))
    #expect(plan.chosen.stages.map(\.layers) == [0..<6, 6..<12])
    // Micro-batches of two rows would wait for messages; of four with one row each stage has always one.
    #expect(plan.chosen.rows == 1 && plan.chosen.microBatches == 4)
    #expect(abs(plan.chosen.cycleMicroseconds - 2400) < 1e-6)
    #expect(plan.chosen.limit == .stage(0))

    let far = try evenCosts(latency: 5000, cost: perRow)
    let whole = try Planner(costs: far, limits: noRoom).plan(.throughput(streams: 4))
    #expect(whole.chosen.stages.map(\.layers) == [0..<12])
    let text = whole.summary(far)
    #expect(text.contains("Fewer stages than devices: with all 2"), "\(text)")
    #expect(text.contains("slower; the way through all stages"), "\(text)")
    // Where 4 rows cost what 1 costs, a second stage only divides what is shared anyway.
    let flat = try Planner(costs: evenCosts(latency: 10), limits: noRoom)
      .plan(.throughput(streams: 4))
    #expect(flat.chosen.stages.count == 1)
  }

  @Test func `one stream alone is given to the faster device`() throws {
    let kind = layerClass(1)
    let costs = try PipelineCosts(
      shape: modelShape(Array(repeating: kind, count: 6)),
      documents: [
        ProfileDocument(
          model: "two",
          machines: [machineProfile()],
          devices: [
            deviceProfile("slow", layers: [kind: constant(200)]),
            deviceProfile("fast", layers: [kind: constant(100)]),
          ],
          links: [linkProfile(latency: 1)]
        )
      ]
    )
    let plan = try Planner(costs: costs, limits: noRoom).plan(.latency)
    #expect(plan.chosen.stages == [span(1, 0..<6, of: 6)])
    #expect(plan.chosen.tokensPerSecond == 1e6 / 602)
  }

  @Test func `devices that share memory cannot read faster than it`() throws {
    // 12 layers of 500 kB: 6 MB at 1 GB/s for each micro-batch, so one is better than two.
    let costs = try evenCosts(
      latency: 10,
      cost: CostCurve(rows: [1], microseconds: [100]),
      readBytes: 500_000,
      bandwidth: 1e9
    )
    let option = try #require(
      Planner(costs: costs, limits: noRoom).evaluate(
        [span(0, 0..<6, of: 12), span(1, 6..<12, of: 12)],
        for: .throughput(streams: 4)
      )
    )
    #expect(option.microBatches == 1)
    #expect(abs(option.cycleMicroseconds - 6000) < 1e-6)
    #expect(option.limit == .sharedMemory(machine: 0))
  }

  @Test func `a model that fits nowhere is refused with its size`() throws {
    let kind = layerClass(1, weightBytes: 2_000_000_000)
    let costs = try PipelineCosts(
      shape: modelShape([kind, kind]),
      documents: [
        ProfileDocument(
          model: "large",
          machines: [machineProfile()],
          devices: [deviceProfile("small", layers: [kind: constant(1)])],
          links: [linkProfile(latency: 1)]
        )
      ]
    )
    let planner = Planner(costs: costs, limits: noRoom)
    let error = #expect(throws: CoordinatorError.self) { try planner.plan(.latency) }
    #expect(error?.code == .placement)
    #expect(error?.message.contains("4.00 GB") == true, "\(String(describing: error))")
    #expect(error?.message.contains("small has 1.00 GB") == true)
    #expect(error?.message.contains("--slots") == true)
    #expect(error?.message.contains("share") == false)
  }

  @Test func `devices that share too little memory are told so`() throws {
    let kind = layerClass(1, weightBytes: 800_000_000)
    var machine = machineProfile()
    machine.memoryBytes = 1e9
    // One layer fits each device, and not both of them fit the machine.
    let costs = try PipelineCosts(
      shape: modelShape([kind, kind]),
      documents: [
        ProfileDocument(
          model: "shared",
          machines: [machine],
          devices: ["one", "two"].map { deviceProfile($0, layers: [kind: constant(1)]) },
          links: [linkProfile(latency: 1)]
        )
      ]
    )
    let planner = Planner(costs: costs, limits: noRoom)
    let error = #expect(throws: CoordinatorError.self) { try planner.plan(.latency) }
    #expect(
      error?.message.contains("one, two share 1.00 GB") == true,
      "\(String(describing: error))"
    )
  }

  @Test(.seeded(default: 71)) func `no placement is faster, of all there are`() throws {
    var random = SeededRandom(testSeed(default: 71))
    for _ in 0..<fuzzIterations(default: 60) {
      let costs = try randomCosts(&random)
      let streams = Int.random(in: 1...5, using: &random)
      let planner = Planner(costs: costs, limits: noRoom)
      let every = everyPlacement(costs)
      guard let plan = try? planner.plan(.throughput(streams: streams)) else {
        #expect(
          every.allSatisfy { planner.evaluate($0, for: .throughput(streams: streams)) == nil }
        )
        continue
      }
      for alternative in plan.alternatives {
        guard case .best(let count) = alternative.kind else { continue }
        let rates = every.filter { $0.count == count }
          .compactMap { planner.evaluate($0, for: .throughput(streams: streams))?.tokensPerSecond }
        let found = alternative.option?.tokensPerSecond
        #expect((found == nil) == rates.isEmpty)
        guard let found, let best = rates.max() else { continue }
        // Sums in another order differ in their last bits.
        #expect(abs(found / best - 1) < 1e-9, "\(count) stages: \(found), there is \(best)")
      }
      let best = plan.alternatives.compactMap(\.option?.tokensPerSecond).max() ?? 0
      let slack = 1 + Planner.worthwhileGain
      #expect(plan.chosen.tokensPerSecond * slack * slack >= best)
    }
  }

  @Test func `logits that take most of the time are cut, and a stage may hold nothing else`() throws
  {
    let kind = layerClass(1)
    let perRow = { (microseconds: Double) in CostCurve(rows: [1], microseconds: [microseconds]) }
    // Two layers of 100 µs and 800 µs of logits in eight pieces: 500 µs each is what two devices can do.
    let shape = modelShape([kind, kind], headBytes: 1000, vocabularySize: 8)
    let costs = try PipelineCosts(
      shape: shape,
      documents: [
        ProfileDocument(
          model: "wide",
          machines: [machineProfile()],
          devices: (0..<2).map {
            deviceProfile("d\($0)", head: perRow(800), layers: [kind: perRow(100)])
          },
          links: [linkProfile(latency: 1)]
        )
      ]
    )
    let planner = Planner(costs: costs, limits: noRoom)
    let plan = try planner.plan(.throughput(streams: 4))
    #expect(
      plan.alternatives[1].option?.stages.map(\.slice) == [
        ModelSlice(layers: 0..<2, vocabulary: 0..<3), ModelSlice(layers: 2..<2, vocabulary: 3..<8),
      ]
    )
    let option = try #require(plan.alternatives[1].option)
    #expect(option.stageMicroseconds.map { $0.rounded() } == [500, 500])
    // A row takes its normed hidden state and the logits so far over the cut.
    #expect(shape.handOffBytes(before: option.stages[1].slice, .decoding(2)) == 2 * 4 * (1 + 3))
  }

  @Test func `the end of the last layer stays with it, and what it reads counts there`() throws {
    let kind = layerClass(1)
    let shape = modelShape([kind], exitBytes: 250, headBytes: 750, vocabularySize: 4)
    let costs = try PipelineCosts(
      shape: shape,
      documents: [
        ProfileDocument(
          model: "exit",
          machines: [machineProfile()],
          devices: [deviceProfile("d", head: constant(400), layers: [kind: constant(100)])],
          links: [linkProfile(latency: 1)]
        )
      ]
    )
    let step = StepSize.decoding(1)
    let times = [
      ModelSlice(layers: 0..<1), ModelSlice(layers: 0..<1, vocabulary: 0..<1),
      ModelSlice(layers: 1..<1, vocabulary: 1..<4),
    ].map { costs.time(of: StageSpan(device: 0, slice: $0), step) }
    #expect(times == [200, 275, 225])
    let bytes = [ModelSlice(layers: 0..<1), ModelSlice(layers: 1..<1, vocabulary: 1..<4)]
      .map { costs.readBytes(of: StageSpan(device: 0, slice: $0), step) }
    #expect(bytes == [250, 562.5])
    #expect(costs.readBytes(of: span(0, 0..<1, of: 1), StepSize(rows: 1, wanted: 0)) == 0)
  }
}
