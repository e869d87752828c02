// Planning and simulating a rack: many devices that are alike, and more streams than a few steps hold.

import Coordinator
import Gemma
import TestSupport
import Testing

@Suite struct `Racks` {
  private let kind = layerClass(1, readBytes: 1000)

  /// Machines with one device each, all alike, joined by one link.
  private func rack(
    _ count: Int,
    layers: Int,
    slow: Set<Int> = [],
    bandwidth: Double? = 1e9,
    memoryBytes: Double = 1e9
  ) throws -> PipelineCosts {
    let names = (0..<count).map { "m\($0)" }
    return try PipelineCosts(
      shape: modelShape(Array(repeating: kind, count: layers)),
      documents: [
        ProfileDocument(
          model: "rack",
          machines: names.map { machineProfile($0, bandwidth: bandwidth) },
          devices: names.enumerated().map { index, machine in
            deviceProfile(
              "d\(index)",
              machine: machine,
              memoryBytes: memoryBytes,
              overhead: constant(5),
              layers: [
                kind: CostCurve(rows: [1], microseconds: [slow.contains(index) ? 200 : 100])
              ]
            )
          },
          links: names.map { linkProfile($0, $0, latency: 3) }
        )
      ],
      fallback: linkProfile("rack", "rack", latency: 20)
    )
  }

  @Test func `thirty-two machines and 256 streams are planned and simulated`() throws {
    let costs = try rack(32, layers: 32, bandwidth: nil)
    let plan = try Planner(costs: costs, limits: noRoom).plan(.throughput(streams: 256))
    let option = plan.chosen
    #expect(option.stages.count == 32)
    #expect(option.stages.allSatisfy { $0.layers.count == 1 })
    #expect(Set(option.stages.map(\.device)).count == 32)
    let result = PipelineSimulation(
      costs: costs,
      stages: option.stages,
      scheduler: Scheduler(maxRows: 128, maxLogitsRows: 128, stageCount: 32),
      pace: Pace(decodeDepth: option.microBatches, promptRows: 128)
    )
    .run(streams: 256, promptTokens: 16, decodeTokens: 32)
    #expect(
      (0.9...1.1).contains(result.decodeTokensPerSecond / option.tokensPerSecond),
      "\(result.decodeTokensPerSecond) simulated, \(option.tokensPerSecond) predicted"
    )
  }

  @Test func `eight machines each of two kinds are planned, and the fast ones hold more`() throws {
    let costs = try rack(16, layers: 24, slow: Set(8..<16), bandwidth: nil)
    let plan = try Planner(costs: costs, limits: noRoom).plan(.throughput(streams: 32))
    let layers = { (slow: Bool) in
      plan.chosen.stages.filter { ($0.device >= 8) == slow }.map(\.layers.count).reduce(0, +)
    }
    // Fast machines with two layers and slow ones with one are all as busy.
    #expect(layers(false) == 16 && layers(true) == 8, "\(plan.chosen.stages)")
  }

  @Test func `nine devices that all differ are refused, and told what can be planned`() throws {
    let costs = try PipelineCosts(
      shape: modelShape([kind]),
      documents: [
        ProfileDocument(
          model: "motley",
          machines: [machineProfile()],
          devices: (0..<9).map {
            deviceProfile("d\($0)", layers: [kind: constant(Double($0))])
          },
          links: [linkProfile(latency: 1)]
        )
      ]
    )
    let error = #expect(throws: CoordinatorError.self) {
      try Planner(costs: costs, limits: noRoom).plan(.latency)
    }
    #expect(error?.message.contains("9 devices of 9 kinds") == true, "\(String(describing: error))")
  }

  @Test(.seeded(default: 83)) func `of machines that are alike, no placement is faster`() throws {
    var random = SeededRandom(testSeed(default: 83))
    for _ in 0..<fuzzIterations(default: 30) {
      let costs = try rack(
        Int.random(in: 1...4, using: &random),
        layers: Int.random(in: 1...5, using: &random),
        slow: Bool.random(using: &random) ? [] : [Int.random(in: 0...3, using: &random)],
        bandwidth: Bool.random(using: &random) ? nil : Double.random(in: 5e6...5e7, using: &random)
      )
      let streams = Int.random(in: 1...6, using: &random)
      for objective in [
        PlanObjective.throughput(streams: streams),
        .throughput(streams: streams, request: RequestSize(promptTokens: 9, answerTokens: 4)),
        .throughput(streams: streams, request: RequestSize(promptTokens: 9, answerTokens: 1)),
      ] {
        let planner = Planner(costs: costs, limits: noRoom)
        let plan = try planner.plan(objective)
        for case .best(let count) in plan.alternatives.map(\.kind) {
          let times = everyPlacement(costs).filter { $0.count == count }
            .compactMap { planner.evaluate($0, for: objective)?.microseconds }
          let found = plan.alternatives.first { $0.kind == .best(stageCount: count) }?.option
          let least = try #require(times.min())
          // Sums in another order differ in their last bits.
          #expect(
            abs((found?.microseconds ?? .infinity) / least - 1) < 1e-9,
            "\(count) stages: \(String(describing: found)), there is \(least)"
          )
        }
      }
    }
  }

  @Test func `a machine with too little memory for its only device is left out`() throws {
    let heavy = layerClass(1, weightBytes: 400_000_000)
    let names = ["m0", "m1"]
    let costs = try PipelineCosts(
      shape: modelShape([heavy, heavy]),
      documents: [
        ProfileDocument(
          model: "tight",
          machines: names.map { name in
            var machine = machineProfile(name)
            machine.memoryBytes = name == "m1" ? 100_000_000 : 900_000_000
            return machine
          },
          devices: names.map {
            deviceProfile("of \($0)", machine: $0, layers: [heavy: constant(10)])
          },
          links: [linkProfile("m0", "m0", latency: 1), linkProfile("m1", "m1", latency: 1)]
        )
      ],
      fallback: linkProfile("lan", "lan", latency: 1)
    )
    let plan = try Planner(costs: costs, limits: noRoom).plan(.throughput(streams: 2))
    #expect(plan.chosen.stages == [span(0, 0..<2, of: 2)])
    // At most a part of the output matrix fits there.
    #expect(plan.alternatives[1].option?.stages.last?.slice.layers.isEmpty ?? true)
  }

  @Test func `streams that begin late are simulated until all decode together`() throws {
    let costs = try evenCosts(layers: 2, latency: 1)
    let stages = [span(0, 0..<1, of: 2), span(1, 1..<2, of: 2)]
    // 256 prompts of 16 tokens take longer to read than the first stream takes for 64 tokens.
    let result = PipelineSimulation(
      costs: costs,
      stages: stages,
      scheduler: Scheduler(maxRows: 128, maxLogitsRows: 128, stageCount: 2),
      pace: Pace(decodeDepth: 2, promptRows: 128)
    )
    .run(streams: 256, promptTokens: 16, decodeTokens: 64)
    // 128 rows of each step, and 100 µs.
    let expected = 128e6 / 100
    #expect(
      abs(result.decodeTokensPerSecond / expected - 1) < 0.1,
      "\(result.decodeTokensPerSecond), expected \(expected)"
    )
  }
}
