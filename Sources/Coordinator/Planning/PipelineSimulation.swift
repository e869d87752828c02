// A pipeline as a value that runs in no time: the coordinator's own scheduler, sessions and flight over
// stages that only cost what the profiles say. Events in the order of their times; stages of one machine share its
// memory's bandwidth, max-min fair.

internal import Wire

/// What a simulated run gave.
package struct SimulationResult: Sendable, Hashable {
  /// Of all streams, while all of them decode.
  package var decodeTokensPerSecond: Double
  /// Of all prompts, from the first step to the last prompt's first token.
  package var prefillTokensPerSecond: Double
  /// From a request to its first token, if it is alone.
  package var firstTokenMicroseconds: Double
  /// By stage: the share of the decoding time in which it does not compute.
  package var bubbles: [Double]
  /// Between two tokens of a stream.
  package var interTokenP50Microseconds: Double
  package var interTokenP99Microseconds: Double
}

/// A placement to simulate.
package struct PipelineSimulation: Sendable {
  let costs: PipelineCosts
  let stages: [StageSpan]
  let scheduler: Scheduler
  let pace: Pace

  package init(costs: PipelineCosts, stages: [StageSpan], scheduler: Scheduler, pace: Pace) {
    self.costs = costs
    self.stages = stages
    self.scheduler = scheduler
    self.pace = pace
  }

  /// Simulates streams that start together; each reads its prompt and then decodes.
  ///
  /// Prompts of a decoding run are short, as in `trestle bench`: the two rates are taken apart.
  package func run(streams: Int, promptTokens: Int, decodeTokens: Int) -> SimulationResult {
    precondition(streams > 0 && promptTokens > 0 && decodeTokens > 1, "nothing to simulate")
    let prompts = RequestSize(promptTokens: promptTokens, answerTokens: 1)
    let prefill = microseconds(streams: streams, prompts)
    var decode = SimulatedRun(
      self,
      streams: streams,
      prompt: min(promptTokens, 16),
      tokens: decodeTokens,
      // Where many prompts are read, the first streams would be at their end before the last one begins.
      together: decodeTokens / 2
    )
    decode.run()
    let gaps = decode.gaps.sorted()
    let window = decode.window
    return SimulationResult(
      decodeTokensPerSecond: Double(decode.tokensInWindow) / max(window, 1e-3) * 1e6,
      prefillTokensPerSecond: Double(streams * promptTokens) / max(prefill, 1e-3) * 1e6,
      firstTokenMicroseconds: streams == 1 ? prefill : microseconds(streams: 1, prompts),
      bubbles: decode.busy.map { window > 0 ? max(0, 1 - $0 / window) : 0 },
      interTokenP50Microseconds: gaps[gaps.count / 2],
      interTokenP99Microseconds: gaps[min(gaps.count - 1, gaps.count * 99 / 100)]
    )
  }

  /// Returns how long streams that start together take until all have got the tokens of a request.
  ///
  /// Prompts are read beside the streams that decode already, as the scheduler chooses.
  package func microseconds(streams: Int, _ request: RequestSize) -> Double {
    var run = SimulatedRun(
      self,
      streams: streams,
      prompt: request.promptTokens,
      tokens: request.answerTokens
    )
    run.run()
    return run.now
  }
}

/// A micro-batch on its way.
private struct SimulatedBatch {
  var sequence: UInt64
  var size: StepSize
}

/// The state of a run.
private struct SimulatedRun {
  /// What a stage computes just now.
  private struct Work {
    var batch: SimulatedBatch
    /// Microseconds left, with the memory for itself.
    var left: Double
    /// Bytes a microsecond that it reads then.
    var demand: Double
    /// The share of that speed it has now.
    var speed = 1.0
  }

  private struct Arrival {
    var time: Double
    /// The stage it comes to; the stage count for the coordinator.
    var place: Int
    var batch: SimulatedBatch
  }

  private let simulation: PipelineSimulation
  private let tokens: Int
  /// How many tokens a stream gets at least while all of them decode, however many that makes.
  private let together: Int
  private let streams: Int
  private var sessions: Sessions
  private var flight = Flight()
  /// What sessions and flight are told: time goes by in microseconds of `now` alone.
  private let instant = ContinuousClock.now
  private var queues: [[SimulatedBatch]]
  private var working: [Work?]
  /// In the order they were sent; few at a time.
  private var arrivals: [Arrival] = []
  /// By the place they lead to: when they have sent what they were given.
  private var linkFree: [Double]
  private var lastToken: [UInt64: Double] = [:]
  /// The tokens that a stream has had of the window.
  private var inWindow: [UInt64: Int] = [:]
  private var windowBegan: Double?
  private var windowEnded: Double?
  private(set) var now = 0.0
  private(set) var tokensInWindow = 0
  private(set) var gaps: [Double] = []
  /// By stage, within the window.
  private(set) var busy: [Double]

  init(
    _ simulation: PipelineSimulation,
    streams: Int,
    prompt: Int,
    tokens: Int,
    together: Int = 0
  ) {
    self.simulation = simulation
    self.streams = streams
    (self.tokens, self.together) = (tokens, together)
    sessions = Sessions(slotCount: streams, rule: PrefixRule(rings: []), sharing: .none)
    let count = simulation.stages.count
    queues = Array(repeating: [], count: count)
    working = Array(repeating: nil, count: count)
    linkFree = Array(repeating: 0, count: count + 1)
    busy = Array(repeating: 0, count: count)
    let sampling = Sampling(
      temperature: 0,
      topK: 0,
      topP: 1,
      minP: 0,
      repeatPenalty: 1,
      repeatWindow: 0,
      seed: 0
    )
    for _ in 0..<streams {
      let session = Session(
        id: sessions.takeNumber(),
        goal: .generate(sampling: sampling, maxTokens: tokens, ignoresEndOfTurn: true),
        tokens: Array(repeating: 0, count: prompt)
      )
      sessions.open(session, of: PeerID([]))
      let isAdmitted = sessions.admit(session.id)
      precondition(isAdmitted, "no slot for session \(session.id) of \(streams)")
    }
  }

  /// From when every stream has a token until the first has all of its own.
  var window: Double { (windowEnded ?? now) - (windowBegan ?? now) }

  mutating func run() {
    dispatch()
    while advance() {}
  }

  /// Goes on to the next event; returns whether there was one.
  private mutating func advance() -> Bool {
    shareMemory()
    var next = arrivals.map(\.time).min() ?? .infinity
    for case .some(let work) in working { next = min(next, now + work.left / work.speed) }
    guard next < .infinity else { return false }
    let passed = next - now
    let isMeasured = windowBegan != nil && windowEnded == nil
    now = next
    for stage in working.indices {
      guard var work = working[stage] else { continue }
      if isMeasured { busy[stage] += passed }
      work.left -= passed * work.speed
      working[stage] = work
    }
    // What rounding leaves of a finished work: a picosecond, or of a long run that share of it.
    let rounding = max(1e-6, now * 1e-12)
    for stage in working.indices {
      guard let work = working[stage], work.left <= rounding else { continue }
      working[stage] = nil
      send(work.batch, to: stage + 1)
      begin(stage)
    }
    let due = arrivals.filter { $0.time <= now }
    arrivals.removeAll { $0.time <= now }
    for arrival in due { arrive(arrival) }
    return true
  }

  private mutating func arrive(_ arrival: Arrival) {
    guard arrival.place < queues.count else {
      finish(arrival.batch)
      dispatch()
      return
    }
    queues[arrival.place].append(arrival.batch)
    begin(arrival.place)
  }

  private mutating func begin(_ stage: Int) {
    guard working[stage] == nil, !queues[stage].isEmpty else { return }
    let batch = queues[stage].removeFirst()
    let span = simulation.stages[stage]
    // No step takes no time: events would not come to an end.
    let time = max(1e-3, simulation.costs.time(of: span, batch.size))
    let bytes = simulation.costs.readBytes(of: span, batch.size)
    working[stage] = Work(batch: batch, left: time, demand: bytes / time)
  }

  /// Gives each stage its share of its machine's bandwidth: who asks for less than an equal share gets
  /// what it asks, the others share the rest.
  private mutating func shareMemory() {
    let costs = simulation.costs
    for machine in costs.machines.indices {
      guard let rate = costs.machines[machine].sharedBandwidthBytesPerSecond else { continue }
      let here = working.indices.filter {
        working[$0] != nil && costs.machineOfDevice[simulation.stages[$0].device] == machine
      }
      .sorted { (working[$0]?.demand ?? 0) < (working[$1]?.demand ?? 0) }
      var left = rate / 1e6
      for (index, stage) in here.enumerated() {
        let demand = working[stage]?.demand ?? 0
        let share = min(demand, left / Double(here.count - index))
        left -= share
        working[stage]?.speed = demand > 0 ? share / demand : 1
      }
    }
  }

  private mutating func send(_ batch: SimulatedBatch, to place: Int) {
    let (costs, stages) = (simulation.costs, simulation.stages)
    guard place > 0, place < stages.count else {
      let device = stages[min(place, stages.count - 1)].device
      arrivals.append(
        Arrival(time: now + costs.messageTime(to: device), place: place, batch: batch)
      )
      return
    }
    let link = costs.link(from: stages[place - 1].device, to: stages[place].device)
    let bytes = costs.shape.handOffBytes(before: stages[place].slice, batch.size)
    linkFree[place] = max(now, linkFree[place]) + bytes / link.bytesPerSecond * 1e6
    arrivals.append(
      Arrival(time: linkFree[place] + link.latencyMicroseconds, place: place, batch: batch)
    )
  }

  private mutating func dispatch() {
    while let step = sessions.startNext(
      simulation.scheduler,
      sessions.running,
      in: &flight,
      pace: simulation.pace,
      epoch: 0,
      at: instant
    ) {
      let wanted = step.rows.count { $0.output != .none }
      let size = StepSize(rows: step.rows.count, wanted: wanted)
      send(SimulatedBatch(sequence: step.sequence, size: size), to: 0)
    }
  }

  /// Gives the sessions whose last rows a micro-batch had their next tokens.
  private mutating func finish(_ batch: SimulatedBatch) {
    for part in flight.finish(batch.sequence)?.parts ?? [] {
      let id = part.session
      guard part.positions.upperBound == sessions[id]?.tokens.count else { continue }
      if let last = lastToken[id] { gaps.append(now - last) }
      lastToken[id] = now
      if windowBegan != nil, windowEnded == nil {
        tokensInWindow += 1
        inWindow[id, default: 0] += 1
      }
      let generated = sessions.update(id) { session in
        session.complete(upTo: session.tokens.count)
        session.append(0)
        return session.generatedCount
      }
      if generated ?? 0 >= tokens, windowEnded != nil || inWindow[id, default: 0] >= together {
        sessions.end(id, at: instant)
        if windowEnded == nil { windowEnded = now }
      }
      if windowBegan == nil, lastToken.count == streams { windowBegan = now }
    }
  }
}
