// The simulated pipeline against what can be computed by hand.

import Coordinator
import Gemma
import Testing

@Suite struct `Pipeline simulation` {
  private func run(
    _ costs: PipelineCosts,
    _ stages: [StageSpan],
    streams: Int,
    promptTokens: Int = 8
  ) -> SimulationResult {
    PipelineSimulation(
      costs: costs,
      stages: stages,
      scheduler: Scheduler(maxRows: 128, maxLogitsRows: 16, stageCount: stages.count),
      pace: Pace(decodeDepth: stages.count, promptRows: 128)
    )
    .run(streams: streams, promptTokens: promptTokens, decodeTokens: 200)
  }

  private let halves = [
    span(0, 0..<6, of: 12), span(1, 6..<12, of: 12),
  ]

  private func expectNear(
    _ value: Double,
    _ expected: Double,
    within share: Double = 0.01,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(
      abs(value - expected) <= share * abs(expected),
      "\(value), expected \(expected)",
      sourceLocation: sourceLocation
    )
  }

  @Test func `one stage takes its layers and two messages a token`() throws {
    let result = run(
      try evenCosts(devices: 1, latency: 100),
      [span(0, 0..<12, of: 12)],
      streams: 1
    )
    expectNear(result.interTokenP50Microseconds, 1400)
    expectNear(result.decodeTokensPerSecond, 1e6 / 1400)
    expectNear(result.bubbles[0], 200.0 / 1400)
    expectNear(result.prefillTokensPerSecond, 8 * 1e6 / 1400)
  }

  @Test func `two even stages with two streams wait for the messages alone`() throws {
    let result = run(try evenCosts(latency: 20), halves, streams: 2)
    // A cycle: 600 in each stage, three messages of 20.
    expectNear(result.interTokenP50Microseconds, 1260)
    expectNear(result.decodeTokensPerSecond, 2e6 / 1260)
    for bubble in result.bubbles { expectNear(bubble, 60.0 / 1260, within: 0.05) }
  }

  @Test func `one stream leaves each of two stages idle while the other works`() throws {
    let result = run(try evenCosts(latency: 0), halves, streams: 1)
    for bubble in result.bubbles { expectNear(bubble, 0.5) }
    expectNear(result.decodeTokensPerSecond, 1e6 / 1200)
  }

  @Test func `uneven stages are as fast as the slower, which is always busy`() throws {
    let stages = [span(0, 0..<3, of: 12), span(1, 3..<12, of: 12)]
    let result = run(try evenCosts(latency: 1), stages, streams: 4)
    // Micro-batches of two rows, each 900 in the slower stage.
    expectNear(result.decodeTokensPerSecond, 2e6 / 900)
    #expect(result.bubbles[1] < 0.01)
    expectNear(result.bubbles[0], 1 - 300.0 / 900, within: 0.02)
  }

  @Test func `stages that share memory slow one another, to its rate and no further`() throws {
    // Each stage alone reads 600 kB in 600 µs, 1 GB/s: both at once get 0.5 GB/s each.
    let shared = try evenCosts(latency: 0, readBytes: 100_000, bandwidth: 1e9)
    let result = run(shared, halves, streams: 2)
    expectNear(result.decodeTokensPerSecond, 2e6 / 2400)
    // Twice the rate is enough for both.
    let enough = try evenCosts(latency: 0, readBytes: 100_000, bandwidth: 2e9)
    expectNear(run(enough, halves, streams: 2).decodeTokensPerSecond, 2e6 / 1200)
  }

  @Test func `a prediction and its simulation agree where stages are busy or few`() throws {
    for (latency, streams) in [(5.0, 1), (5, 2), (5, 4), (300, 2), (300, 6)] {
      let costs = try evenCosts(latency: latency)
      let option = try #require(
        Planner(costs: costs, limits: noRoom).evaluate(
          halves,
          for: .throughput(streams: streams)
        )
      )
      let result = run(costs, halves, streams: streams)
      expectNear(result.decodeTokensPerSecond, option.tokensPerSecond, within: 0.02)
    }
  }

  @Test func `rows that no output is wanted of skip the layers that need none`() throws {
    let kind = layerClass(1)
    let perRow = CostCurve(rows: [1], microseconds: [1])
    func costs(firstSkipped: Int) throws -> PipelineCosts {
      var shape = modelShape(Array(repeating: kind, count: 10))
      shape.firstSkippedLayer = firstSkipped
      return try PipelineCosts(
        shape: shape,
        documents: [
          ProfileDocument(
            model: "skipping",
            machines: [machineProfile()],
            devices: [deviceProfile("d", layers: [kind: perRow])],
            links: [linkProfile(latency: 0)]
          )
        ]
      )
    }
    let stages = [span(0, 0..<10, of: 10)]
    let all = run(try costs(firstSkipped: 10), stages, streams: 1, promptTokens: 100)
    let skipping = run(try costs(firstSkipped: 5), stages, streams: 1, promptTokens: 100)
    expectNear(skipping.prefillTokensPerSecond / all.prefillTokensPerSecond, 1000.0 / 505)
    expectNear(skipping.decodeTokensPerSecond, all.decodeTokensPerSecond)
  }

  @Test func `a stage of logits alone is busy with its share of the head`() throws {
    let kind = layerClass(1)
    let costs = try PipelineCosts(
      shape: modelShape([kind, kind], headBytes: 8, vocabularySize: 8),
      documents: [
        ProfileDocument(
          model: "wide",
          machines: [machineProfile()],
          devices: (0..<2).map {
            deviceProfile("d\($0)", head: constant(800), layers: [kind: constant(100)])
          },
          links: [linkProfile(latency: 0)]
        )
      ]
    )
    let stages = [0..<3, 3..<10].map { costs.shape.line.slice(pieces: $0) }.enumerated()
      .map { StageSpan(device: $0, slice: $1) }
    let result = run(costs, stages, streams: 4)
    // 300 before 700: two micro-batches of two rows.
    expectNear(result.decodeTokensPerSecond, 2e6 / 700)
    expectNear(result.bubbles[0], 1 - 300.0 / 700, within: 0.02)
  }
}
