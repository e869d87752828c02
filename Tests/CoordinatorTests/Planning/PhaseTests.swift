// Prompts and answers want different cuts where the last layers own no keys and values: their costs, the
// search, and what users are told.

import Compute
import Coordinator
import Gemma
import TestSupport
import Testing

@Suite struct `Planning for prompts and answers` {
  private let small = SharedCacheModel.gemma4E2B
  private let usual = RequestSize(promptTokens: 512, answerTokens: 128)

  private func planner(_ model: SharedCacheModel, devices: Int = 2) throws -> Planner {
    Planner(costs: try model.costs(devices: devices), limits: usualRoom)
  }

  private func expectNear(
    _ value: Double,
    _ expected: Double,
    within share: Double,
    _ comment: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(
      abs(value - expected) <= share * abs(expected),
      "\(value), expected \(expected) \(comment)",
      sourceLocation: sourceLocation
    )
  }

  // MARK: Costs

  @Test func `a prompt's token costs the layers that own a cache, a decoded one all`() throws {
    let costs = try small.costs()
    let tokens = costs.tokenCosts(on: 0, promptRows: 128)
    // Of a million weights in Q4_0 a step reads 18/32 MB at 20 GB/s, and a row takes two operations each.
    let (read, compute) = (18.0 / 32 * 50, 2 / 0.3)
    // Twelve sliding and two full layers, and the keys and values of layer 14.
    let weights = 12 * 36.2 + 2 * 43.3 + 0.036 * 43.3
    expectNear(tokens.prompt.reduce(0, +), weights * (read / 128 + compute), within: 1e-6)
    #expect(tokens.prompt[15...].allSatisfy { $0 == 0 })
    expectNear(
      tokens.decode.reduce(0, +),
      small.layers.reduce(0, +) * (read + compute),
      within: 1e-6
    )
    expectNear(tokens.logits, 403 * (210.0 / 256 * 50 + compute), within: 1e-6)
    #expect(tokens.text.contains("in layers 0..<15, 0.000 ms in layers 15..<35; a decoded token"))
    // The last stage has nothing to do in the middle of a prompt but its step.
    let rest = StageSpan(device: 1, slice: costs.shape.line.slice(layers: 15..<35))
    #expect(costs.time(of: rest, .prompt(128)) == 50)
    #expect(costs.readBytes(of: rest, .prompt(128)) == 0)
  }

  @Test func `rows that are wanted take all of the layer in which the others end`() throws {
    let kind = layerClass(1, readBytes: 1000)
    var shape = modelShape([kind, kind])
    shape.firstSkippedLayer = 1
    shape.narrowing = ModelShape.Narrowing(layer: 0, share: 0.25)
    func costs(_ narrowing: CostCurve?) throws -> PipelineCosts {
      var device = deviceProfile(
        "d",
        layers: [kind: CostCurve(rows: [1, 2], microseconds: [100, 200])]
      )
      device.narrowing = narrowing
      return try PipelineCosts(
        shape: shape,
        documents: [
          ProfileDocument(
            model: "narrowing",
            machines: [machineProfile()],
            devices: [device],
            links: [linkProfile(latency: 0)]
          )
        ]
      )
    }
    let step = StepSize(rows: 9, wanted: 1)
    // A quarter of eight rows; or what was measured of nine, one of which is the wanted one.
    #expect(try costs(nil).layerTime(0, on: 0, step) == 300)
    let measured = CostCurve(rows: [1, 9], microseconds: [0, 80])
    #expect(try costs(measured).layerTime(0, on: 0, step) == 180)
    for narrowing in [nil, measured] {
      let costs = try costs(narrowing)
      #expect(costs.layerTime(0, on: 0, .decoding(4)) == 400)
      #expect(costs.layerTime(1, on: 0, step) == 100)
    }
    let first = span(0, 0..<1, of: 2)
    #expect(try costs(nil).readBytes(of: first, .prompt(9)) == 250)
    #expect(try costs(nil).readBytes(of: first, step) == 1000)
  }

  // MARK: Cuts

  @Test func `prompts want a cut in the middle of the layers they reach, answers of all bytes`()
    throws
  {
    for (model, promptCut, answerCut) in [
      // 260 of 522 million weights; 50 of 99 ms of a step of two rows.
      (SharedCacheModel.gemma4E2B, 7, 25),
      // Ten of nineteen layers and a bit of the next; 55 of 108 ms.
      (.gemma3nE2B, 10, 21),
    ] {
      let phases = try planner(model).phases(of: .throughput(streams: 4, request: usual))
      let layerCount = model.layers.count
      #expect(phases.prompts.stages.map(\.layers) == [0..<promptCut, promptCut..<layerCount])
      #expect(phases.answers.stages.map(\.layers) == [0..<answerCut, answerCut..<layerCount])
      // Either is far from what the other wants.
      #expect(phases.answers.prompts.tokensPerSecond < phases.prompts.prompts.tokensPerSecond * 0.8)
      #expect(phases.prompts.tokensPerSecond < phases.answers.tokensPerSecond * 0.9)
    }
  }

  @Test func `without a request only the tokens of answers count, as ever`() throws {
    let planner = try planner(small)
    let objective = PlanObjective.throughput(streams: 4)
    let plan = try planner.plan(objective)
    let phases = try planner.phases(of: objective)
    #expect(plan.chosen == phases.answers && plan.chosen.stages != phases.prompts.stages)
    // The rate of prompts is predicted all the same.
    #expect(objective.promptTokens == 512 && plan.chosen.prompts.tokensPerSecond > 0)
    #expect(plan.chosen.microseconds == plan.chosen.cycleMicroseconds)
  }

  @Test func `the first token of one stream is worth a second device, its other tokens are not`()
    throws
  {
    let planner = try planner(small)
    #expect(try planner.plan(.latency).chosen.stages.count == 1)
    let prompt = RequestSize(promptTokens: 512, answerTokens: 1)
    let plan = try planner.plan(.latency(request: prompt))
    #expect(plan.chosen.stages.count == 2)
    #expect(plan.chosen.prompts.firstTokenMicroseconds == plan.chosen.microseconds)
    let alone = try #require(plan.alternatives[0].option)
    // Four steps of 128 rows: five half steps instead of eight, and the row that is wanted.
    #expect(plan.chosen.microseconds < alone.microseconds * 0.75)
  }

  @Test func `longer prompts move the cut from where answers want it to where prompts do`() throws {
    let planner = try planner(small)
    let cuts = try [1, 256, 1024, 3900].map { tokens in
      let request = RequestSize(promptTokens: tokens, answerTokens: 128)
      let plan = try planner.plan(.throughput(streams: 4, request: request))
      return plan.chosen.stages[0].layers.upperBound
    }
    #expect(cuts.first == 25 && cuts.last == 7, "\(cuts)")
    #expect(cuts == cuts.sorted(by: >), "\(cuts)")
  }

  @Test func `a link that sends longer than stages compute limits prompts`() throws {
    // 128 rows of four streams of 2048 values: 4.2 MB at 2 MB/s.
    let costs = try SharedCacheModel.gemma3nE2B.costs(linkBytesPerSecond: 2e6)
    let planner = Planner(costs: costs, limits: usualRoom)
    let stages = [wholeHead(0, 0..<10), wholeHead(1, 10..<30)]
    let option = try #require(
      planner.evaluate(stages, for: .throughput(streams: 4, request: usual))
    )
    #expect(option.prompts.limit == .link(to: 1))
    expectNear(option.prompts.tokensPerSecond, 2e6 / (4 * 4 * 2048), within: 0.15)
    let plan = try planner.plan(.throughput(streams: 4, request: usual))
    #expect(plan.promptLimitText(option, costs) == "the link from d0 to d1 always sends: 2.0 MB/s")
  }

  @Test func `a link that sends longer than stages compute limits answers, too`() throws {
    let costs = try SharedCacheModel.gemma3nE2B.costs(linkBytesPerSecond: 1e6)
    let stages = [wholeHead(0, 0..<10), wholeHead(1, 10..<30)]
    let option = try #require(
      Planner(costs: costs, limits: usualRoom).evaluate(stages, for: .throughput(streams: 32))
    )
    #expect(option.limit == .link(to: 1))
    // Four streams of 2048 values a row.
    expectNear(option.tokensPerSecond, 1e6 / (4 * 4 * 2048), within: 0.01)
    let simulated = PipelineSimulation(
      costs: costs,
      stages: stages,
      scheduler: Scheduler(maxRows: 128, maxLogitsRows: 128, stageCount: 2),
      pace: Pace(decodeDepth: option.microBatches, promptRows: 128)
    )
    .run(streams: 32, promptTokens: 8, decodeTokens: 64)
    expectNear(simulated.decodeTokensPerSecond, option.tokensPerSecond, within: 0.05)
  }

  /// A stage of a model with the whole vocabulary.
  private func wholeHead(_ device: Int, _ layers: Range<Int>) -> StageSpan {
    let line = ModelLine(layerCount: 30, vocabularySize: 262_144)
    return StageSpan(device: device, slice: line.slice(layers: layers))
  }

  // MARK: Search

  @Test(.seeded(default: 74)) func `no placement answers requests faster, of all there are`() throws
  {
    var random = SeededRandom(testSeed(default: 74))
    let limits = ExecutableLimits(maxRows: 4, slots: 1, contextTokens: 16)
    var plans = 0
    for _ in 0..<fuzzIterations(default: 60) {
      let costs = try randomCosts(&random, memoryBytes: 600...4000)
      let planner = Planner(costs: costs, limits: limits)
      let request = RequestSize(
        promptTokens: Int.random(in: 1...20, using: &random),
        answerTokens: Int.random(in: 1...9, using: &random)
      )
      let objective = PlanObjective.throughput(
        streams: Int.random(in: 1...5, using: &random),
        request: request
      )
      let every = everyPlacement(costs).filter { $0.count <= costs.layerCount }
      guard let plan = try? planner.plan(objective) else {
        #expect(every.allSatisfy { planner.evaluate($0, for: objective) == nil })
        continue
      }
      plans += 1
      for alternative in plan.alternatives {
        guard case .best(let count) = alternative.kind else { continue }
        let times = every.filter { $0.count == count }
          .compactMap { planner.evaluate($0, for: objective)?.microseconds }
        let found = alternative.option?.microseconds
        #expect((found == nil) == times.isEmpty)
        guard let found, let best = times.min() else { continue }
        // Sums in another order differ in their last bits.
        #expect(found <= best * (1 + 1e-9), "\(count) stages: \(found), there is \(best)")
      }
      // By the planner's own figure it is as good as what either phase would choose, but for a stage more
      // that gains too little.
      let phases = try planner.phases(of: objective)
      let slack = (1 + Planner.worthwhileGain) * (1 + Planner.worthwhileGain)
      for phase in [phases.prompts, phases.answers] {
        let same = try #require(planner.evaluate(phase.stages, for: objective))
        #expect(plan.chosen.microseconds <= same.microseconds * slack)
      }
    }
    #expect(plans > 20)
  }

  // MARK: Simulation

  /// The scheduler over the same costs.
  private func simulation(_ costs: PipelineCosts, _ option: PlanOption) -> PipelineSimulation {
    PipelineSimulation(
      costs: costs,
      stages: option.stages,
      scheduler: Scheduler(
        maxRows: usualRoom.maxRows,
        maxLogitsRows: 16,
        stageCount: option.stages.count
      ),
      pace: Pace(decodeDepth: option.microBatches, promptRows: usualRoom.maxRows)
    )
  }

  // Prompts are within 6 % of the simulation. Whole requests are within 15 %: the prediction takes the
  // phases one after the other, and the scheduler starts to decode the first streams beside the last
  // prompts.
  @Test func `a prediction of prompts and its simulation agree, wherever the cut is`() throws {
    for model in [SharedCacheModel.gemma4E2B, .gemma3nE2B] {
      let costs = try model.costs()
      let planner = Planner(costs: costs, limits: usualRoom)
      let line = costs.shape.line
      for cut in [3, 7, 10, 15, 20, 25] {
        let stages = [0..<cut, cut..<model.layers.count].enumerated().map {
          StageSpan(device: $0, slice: line.slice(layers: $1))
        }
        for (streams, tokens) in [(1, 16), (1, 128), (1, 1000), (2, 512), (4, 100), (4, 512)] {
          let request = RequestSize(promptTokens: tokens, answerTokens: 64)
          let option = try #require(
            planner.evaluate(stages, for: .throughput(streams: streams, request: request))
          )
          let simulation = simulation(costs, option)
          let what = "cut \(cut), \(streams) streams of \(tokens)"
          let result = simulation.run(streams: streams, promptTokens: tokens, decodeTokens: 20)
          expectNear(
            result.prefillTokensPerSecond,
            option.prompts.tokensPerSecond,
            within: 0.06,
            what
          )
          expectNear(
            result.firstTokenMicroseconds,
            option.prompts.firstTokenMicroseconds,
            within: 0.06,
            what
          )
          expectNear(
            simulation.microseconds(streams: streams, request),
            option.microseconds,
            within: 0.15,
            what
          )
        }
      }
    }
  }

  @Test func `three stages of prompts are predicted as they run, and better than two`() throws {
    let planner = try planner(small, devices: 3)
    let objective = PlanObjective.throughput(
      streams: 6,
      request: RequestSize(promptTokens: 512, answerTokens: 1)
    )
    let plan = try planner.plan(objective)
    #expect(plan.chosen.stages.count == 3)
    let result = simulation(try small.costs(devices: 3), plan.chosen)
      .run(streams: 6, promptTokens: 512, decodeTokens: 20)
    expectNear(
      result.prefillTokensPerSecond,
      plan.chosen.prompts.tokensPerSecond,
      within: 0.06
    )
  }

  // MARK: Explanation

  @Test func `the explanation names both cuts and what the chosen one costs either phase`() throws {
    let costs = try small.costs()
    let planner = Planner(costs: costs, limits: usualRoom)
    let objective = PlanObjective.throughput(streams: 4)
    let plan = try planner.plan(objective)
    let phases = try planner.phases(of: objective)
    let text = phases.text(chosen: plan.chosen, costs)
    #expect(
      text.hasPrefix("prompts alone would be fastest on d0 0..<7, d1 7..<35 ("),
      "\(text)"
    )
    #expect(text.contains("tokens/s), answers alone on d0 0..<25, d1 25..<35 ("), "\(text)")
    #expect(text.contains("the chosen placement reads prompts "), "\(text)")
    #expect(text.hasSuffix("% slower and decodes answers 0.0 % slower"), "\(text)")
    let summary = plan.summary(costs)
    #expect(summary.contains("for the throughput of 4 streams: "), "\(summary)")

    let whole = try planner.plan(.throughput(streams: 4, request: usual))
    let both = whole.summary(costs)
    #expect(
      both.contains(
        "for the throughput of 4 streams with prompts of 512 and answers of 128 tokens: prompts at "
      ),
      "\(both)"
    )
    #expect(both.contains("tokens/s, answers at ") && both.contains("; answers: "), "\(both)")

    let prompt = RequestSize(promptTokens: 512, answerTokens: 1)
    let first = try planner.plan(.latency(request: prompt))
    let only = first.summary(costs)
    #expect(only.contains("for the latency of one stream with prompts of 512 tokens alone: "))
    #expect(!only.contains("answers"), "\(only)")
  }

  @Test func `phases that want the same placement are said to`() throws {
    let costs = try evenCosts(latency: 1, cost: CostCurve(rows: [1], microseconds: [100]))
    let planner = Planner(costs: costs, limits: usualRoom)
    let objective = PlanObjective.throughput(streams: 4)
    let text = try planner.phases(of: objective)
      .text(chosen: planner.plan(objective).chosen, costs)
    #expect(text == "prompts alone and answers alone would be placed the same way")
  }
}
