// The dynamic programming behind the planner. A state is how many of each group of alike devices are used,
// the group of the last one, and the number of placed pieces (layers and parts of the vocabulary). The time
// that counts is a sum of maxima of several sums, so a state keeps every partial placement that no other one
// beats in all of them (its Pareto front), and that can still be faster than the best. That makes the search
// exact.

internal import Gemma

/// Sums of the times of pieces: that of a slice is the difference of two.
private struct PieceSums {
  /// By device and piece index, the time of the pieces before it.
  private var before: [[Double]] = []

  init(_ costs: PipelineCosts, _ time: (_ piece: Int, _ device: Int) -> Double) {
    for device in costs.devices.indices {
      var sums = [0.0]
      for piece in 0..<costs.shape.line.pieceCount {
        sums.append((sums.last ?? 0) + time(piece, device))
      }
      before.append(sums)
    }
  }

  func time(_ pieces: Range<Int>, on device: Int) -> Double {
    before[device][pieces.upperBound] - before[device][pieces.lowerBound]
  }

  /// Returns, by piece, the least time that it and those behind it take, each on the fastest device.
  func leastRest() -> [Double] {
    let count = (before.first?.count ?? 1) - 1
    var rest = Array(repeating: 0.0, count: count + 1)
    for piece in (0..<count).reversed() {
      let least = before.map { $0[piece + 1] - $0[piece] }.min() ?? 0
      rest[piece] = rest[piece + 1] + max(0, least)
    }
    return rest
  }
}

/// The least times of the pieces that are not placed yet, by the first of them.
private struct LeastRest {
  let cycle: [Double]
  let batch: [Double]
  let earlier: [Double]
  let last: [Double]
}

/// Searches the best placement with a given number of stages and of micro-batches.
struct PlacementSearch {
  private let planner: Planner
  private let objective: PlanObjective
  private let stageCount: Int
  private let batches: MicroBatches
  /// Nil where prompts do not count.
  private let steps: PromptSteps?
  /// The times of a cycle, and of its largest micro-batch.
  private let cycleSums: PieceSums
  private let batchSums: PieceSums
  /// The times of all steps of prompts but the last, and of that one.
  private let earlierSums: PieceSums
  private let lastSums: PieceSums
  private let rest: LeastRest
  private let groups: DeviceGroups
  private var best: Beginning?
  private var bestTime: Double

  /// The time that the first stages of a placement take for one phase.
  private struct Progress {
    /// Of the stage, or the link, that has most to do.
    var busiest = 0.0
    /// Of a micro-batch through the stages so far, messages included: the largest of a cycle, or the last
    /// one of a prompt.
    var way = 0.0
    /// The same, summed over the steps before the last one of a prompt.
    var earlierWays = 0.0

    func isWithin(_ other: Progress) -> Bool {
      busiest <= other.busiest && way <= other.way && earlierWays <= other.earlierWays
    }
  }

  /// The first stages of a placement.
  private struct Beginning {
    /// Zero where the phase does not count.
    var answers = Progress()
    var prompts = Progress()
    var usage: MachineUsage
    var stages: [StageSpan] = []

    func isBeaten(by other: Beginning) -> Bool {
      other.answers.isWithin(answers) && other.prompts.isWithin(prompts)
        && other.usage.isWithin(usage)
    }
  }

  /// - Parameters:
  ///   - planner: The devices and their costs.
  ///   - objective: What counts.
  ///   - stageCount: How many stages there must be.
  ///   - batches: How decoding streams are divided.
  ///   - bound: Only placements that take less time are searched.
  init(
    _ planner: Planner,
    _ objective: PlanObjective,
    stageCount: Int,
    _ batches: MicroBatches,
    below bound: Double
  ) {
    self.planner = planner
    self.objective = objective
    self.stageCount = stageCount
    self.batches = batches
    bestTime = bound
    let costs = planner.costs
    let steps =
      objective.countsPrompts
      ? planner.promptSteps(
        streams: objective.streams,
        tokens: objective.promptTokens,
        stageCount: stageCount
      ) : nil
    self.steps = steps
    cycleSums = PieceSums(costs) { piece, device in
      batches.sum { costs.pieceTime(piece, on: device, .decoding($0)) }
    }
    batchSums = PieceSums(costs) { costs.pieceTime($0, on: $1, .decoding(batches.most)) }
    earlierSums = PieceSums(costs) { piece, device in
      steps?.sumBeforeLast { costs.pieceTime(piece, on: device, $0) } ?? 0
    }
    lastSums = PieceSums(costs) { piece, device in
      steps.map { costs.pieceTime(piece, on: device, $0.end) } ?? 0
    }
    rest = LeastRest(
      cycle: cycleSums.leastRest(),
      batch: batchSums.leastRest(),
      earlier: earlierSums.leastRest(),
      last: lastSums.leastRest()
    )
    groups = DeviceGroups(costs)
  }

  /// Returns the stages of the fastest placement; nil if none fits into memory, or is below the bound.
  ///
  /// It first tries cuts between layers only. Their result lets it discard most partial placements
  /// that also cut the vocabulary.
  mutating func run() -> [StageSpan]? {
    let line = planner.costs.shape.line
    search(cutting: Array(0..<line.layerCount) + [line.pieceCount])
    search(cutting: Array(0...line.pieceCount))
    return best?.stages
  }

  /// Searches the placements that cut the line of pieces at a subset of the given places.
  ///
  /// - Complexity: For S sets of used devices (`DeviceGroups`) in G groups and P places, S · G² · P² steps,
  ///   times the size of the fronts.
  private mutating func search(cutting places: [Int]) {
    let costs = planner.costs
    let (groupCount, last) = (groups.members.count, places.count - 1)
    // Indexed by device set and group of the last device, then by the place reached.
    typealias Fronts = [[[Beginning]]]
    let none: Fronts = Array(
      repeating: Array(repeating: [], count: places.count),
      count: groups.setCount * groupCount
    )
    var current = none
    let usage = MachineUsage(machineCount: costs.machines.count, countsPrompts: steps != nil)
    current[0][0] = [Beginning(usage: usage)]
    for later in (0..<stageCount).reversed() {
      var next = none
      for key in current.indices {
        let used = key / groupCount
        for first in 0..<last - later {
          for beginning in current[key][first] {
            for group in groups.members.indices {
              guard let device = groups.next(group, in: used) else { continue }
              for end in later == 0 ? last...last : first + 1...last - later {
                let pieces = places[first]..<places[end]
                let (longer, isTooSlow) = extend(beginning, pieces, on: device, later: later)
                // With more pieces it would be slower still.
                if isTooSlow { break }
                guard let longer else { continue }
                if later == 0 {
                  take(longer)
                } else {
                  let slot = groups.adding(group, to: used) * groupCount + group
                  Self.insert(longer, into: &next[slot][end])
                }
              }
            }
          }
        }
      }
      current = next
    }
  }

  /// Returns a partial placement with one more stage, after which as many as `later` follow; nil if the stage
  /// does not fit, or the result cannot become the best, and whether it is too slow already.
  private func extend(
    _ beginning: Beginning,
    _ pieces: Range<Int>,
    on device: Int,
    later: Int
  ) -> (longer: Beginning?, isTooSlow: Bool) {
    let costs = planner.costs
    let span = StageSpan(device: device, slice: costs.shape.line.slice(pieces: pieces))
    var longer = beginning
    if objective.countsAnswers { addAnswers(pieces, span, to: &longer) }
    if let steps { addPrompts(steps, pieces, span, to: &longer) }
    guard time(longer) < bestTime else { return (nil, true) }
    // Memory takes longest to count, and most stages leave too much to the others anyway.
    let piece = pieces.upperBound
    guard leastTime(longer, from: piece, later: later) < bestTime,
      let usage = beginning.usage.adding(span, planner, steps)
    else { return (nil, false) }
    longer.usage = usage
    guard leastTime(longer, from: piece, later: later) < bestTime else { return (nil, false) }
    longer.stages.append(span)
    return (longer, false)
  }

  /// Returns a time that no placement beats that begins so: the pieces from one on are each on the device that is
  /// fastest at it, and divided evenly among the stages that follow.
  private func leastTime(_ beginning: Beginning, from piece: Int, later: Int) -> Double {
    guard later > 0 else { return time(beginning) }
    var whole = beginning
    if objective.countsAnswers {
      whole.answers.busiest = max(whole.answers.busiest, rest.cycle[piece] / Double(later))
      whole.answers.way += rest.batch[piece]
    }
    if objective.countsPrompts {
      whole.prompts.busiest = max(whole.prompts.busiest, rest.earlier[piece] / Double(later))
      whole.prompts.way += rest.last[piece]
      whole.prompts.earlierWays += rest.earlier[piece]
    }
    return time(whole)
  }

  private func addAnswers(_ pieces: Range<Int>, _ span: StageSpan, to longer: inout Beginning) {
    let (costs, device) = (planner.costs, span.device)
    let work =
      cycleSums.time(pieces, on: device)
      + batches.sum { costs.fixedTime(of: span.slice, on: device, .decoding($0)) }
    longer.answers.busiest = max(longer.answers.busiest, work)
    if let from = longer.stages.last {
      let transfer = batches.sum { costs.transferTime(from: from, to: span, .decoding($0)) }
      longer.answers.busiest = max(longer.answers.busiest, transfer)
    }
    let step = StepSize.decoding(batches.most)
    longer.answers.way +=
      batchSums.time(pieces, on: device) + costs.fixedTime(of: span.slice, on: device, step)
    longer.answers.way += arrivalTime(from: longer.stages.last, at: span, step)
    longer.answers.way += returnTime(from: span)
  }

  private func addPrompts(
    _ steps: PromptSteps,
    _ pieces: Range<Int>,
    _ span: StageSpan,
    to longer: inout Beginning
  ) {
    let (costs, device) = (planner.costs, span.device)
    let earlier =
      earlierSums.time(pieces, on: device)
      + steps.sumBeforeLast { costs.fixedTime(of: span.slice, on: device, $0) }
    longer.prompts.busiest = max(longer.prompts.busiest, earlier)
    let from = longer.stages.last
    if let from {
      let transfer = steps.sumBeforeLast { costs.transferTime(from: from, to: span, $0) }
      longer.prompts.busiest = max(longer.prompts.busiest, transfer)
    }
    let linkTime = { (step: StepSize) in
      arrivalTime(from: from, at: span, step) + returnTime(from: span)
    }
    longer.prompts.earlierWays += earlier + steps.sumBeforeLast(linkTime)
    longer.prompts.way +=
      lastSums.time(pieces, on: device) + costs.fixedTime(of: span.slice, on: device, steps.end)
      + linkTime(steps.end)
  }

  /// Returns how long a step is on the way to a stage, from the one before or from the coordinator.
  private func arrivalTime(from: StageSpan?, at to: StageSpan, _ step: StepSize) -> Double {
    guard let from else { return planner.costs.messageTime(to: to.device) }
    return planner.costs.handOffTime(from: from, to: to, step)
  }

  /// Returns how long the results of a step are on the way to the coordinator, if this is the last stage.
  private func returnTime(from stage: StageSpan) -> Double {
    planner.costs.shape.line.isLast(stage.slice) ? planner.costs.messageTime(to: stage.device) : 0
  }

  /// Returns the time that counts of a placement.
  private func time(_ beginning: Beginning) -> Double {
    let (answers, prompts) = (beginning.answers, beginning.prompts)
    let cycle =
      objective.countsAnswers
      ? max(
        answers.busiest,
        answers.way,
        beginning.usage.time(planner.costs, microBatches: batches.count).microseconds
      ) : 0
    guard objective.countsPrompts else { return objective.microseconds(prompts: 0, cycle: cycle) }
    let earlier = max(
      prompts.busiest,
      prompts.earlierWays / Double(stageCount),
      beginning.usage.promptTime(planner.costs)
    )
    return objective.microseconds(prompts: prompts.way + earlier, cycle: cycle)
  }

  private mutating func take(_ whole: Beginning) {
    best = whole
    bestTime = time(whole)
  }

  private static func insert(_ beginning: Beginning, into front: inout [Beginning]) {
    guard !front.contains(where: { beginning.isBeaten(by: $0) }) else { return }
    front.removeAll { $0.isBeaten(by: beginning) }
    front.append(beginning)
  }
}

extension Planner {
  /// Returns the best placement with `stageCount` stages; nil if none fits into memory.
  func best(stageCount: Int, _ objective: PlanObjective) -> PlanOption? {
    var options: [PlanOption] = []
    if objective.countsPrompts, objective.countsAnswers {
      // The best for either phase is a good bound for the search, and may be the best for both.
      options = [objective.promptsAlone, objective.answersAlone].compactMap {
        best(stageCount: stageCount, $0).flatMap { evaluate($0.stages, for: objective) }
      }
    }
    // As fast as an even placement, or faster: sums in another order differ in their last bits.
    let even = evaluate(evenByTime(stageCount), for: objective)?.microseconds ?? .infinity
    let depths = DepthTuner.candidates(stageCount: stageCount, streams: objective.streams)
    for depth in objective.countsAnswers ? depths : [depths[0]] {
      // What an earlier depth has found is a bound for the next.
      var search = PlacementSearch(
        self,
        objective,
        stageCount: stageCount,
        MicroBatches(streams: objective.streams, count: depth),
        below: min(even * (1 + 1e-9), options.fastest?.microseconds ?? .infinity)
      )
      if let option = search.run().flatMap({ evaluate($0, for: objective) }) {
        options.append(option)
      }
    }
    return options.fastest
  }

  /// Returns a placement on the fastest devices, in their order, which gives each as much of the line as it is
  /// fast: a bound for the search where there are many devices.
  private func evenByTime(_ stageCount: Int) -> [StageSpan] {
    let line = costs.shape.line
    let step = StepSize.decoding(1)
    let times = costs.devices.indices.map { device in
      (0..<line.pieceCount).map { costs.pieceTime($0, on: device, step) }
    }
    let speeds = times.map { 1 / max(1e-3, $0.reduce(0, +)) }
    let devices = speeds.indices.sorted { (speeds[$1], $0) < (speeds[$0], $1) }
      .prefix(stageCount).sorted()
    let allSpeeds = devices.reduce(0) { $0 + speeds[$1] }
    let lineTime = times[devices[0]].reduce(0, +)
    var (stages, first, done, share) = ([StageSpan](), 0, 0.0, 0.0)
    for (index, device) in devices.enumerated() {
      share += speeds[device] / allSpeeds
      let later = stageCount - 1 - index
      var end = first
      // Each stage has a piece, and leaves one for each that follows.
      repeat {
        done += times[devices[0]][end]
        end += 1
      } while end < line.pieceCount - later
        && (later == 0 || done + times[devices[0]][end] / 2 <= share * lineTime)
      stages.append(StageSpan(device: device, slice: line.slice(pieces: first..<end)))
      first = end
    }
    return stages
  }
}
