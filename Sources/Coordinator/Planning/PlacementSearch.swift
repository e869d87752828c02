// The dynamic programming behind the planner. A state is the set of used devices, the last of them,
// and the number of placed pieces (layers and parts of the vocabulary). The time that counts is a sum of
// maxima of several sums, so a state keeps every partial placement that no other one beats in
// all of them (its Pareto front). That makes the search exact.

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
  /// For each device, a bit set of the devices equal to it that come earlier.
  private var twinsBefore: [Int] = []
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
    for device in costs.devices.indices {
      let twins = (0..<device).filter { costs.areAlike($0, device) }
      twinsBefore.append(twins.reduce(0) { $0 | 1 << $1 })
    }
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
  /// - Complexity: For D different devices and P places, 2^D · D² · P² steps, times the size of the
  ///   fronts.
  private mutating func search(cutting places: [Int]) {
    let costs = planner.costs
    let (deviceCount, last) = (costs.devices.count, places.count - 1)
    // Indexed by device set and last device, then by the place reached.
    typealias Fronts = [[[Beginning]]]
    let none: Fronts = Array(
      repeating: Array(repeating: [], count: places.count),
      count: deviceCount << deviceCount
    )
    var current = none
    let usage = MachineUsage(machineCount: costs.machines.count, countsPrompts: steps != nil)
    current[0][0] = [Beginning(usage: usage)]
    for later in (0..<stageCount).reversed() {
      var next = none
      for key in current.indices {
        let used = key / deviceCount
        for first in 0..<last - later {
          for beginning in current[key][first] {
            for device in costs.devices.indices
            where used & 1 << device == 0 && used & twinsBefore[device] == twinsBefore[device] {
              for end in later == 0 ? last...last : first + 1...last - later {
                let pieces = places[first]..<places[end]
                guard let longer = extend(beginning, pieces, on: device) else { continue }
                if later == 0 {
                  take(longer)
                } else {
                  let slot = (used | 1 << device) * deviceCount + device
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

  /// Returns a partial placement with one more stage; nil if the stage does not fit, or the result
  /// cannot become the best.
  private func extend(
    _ beginning: Beginning,
    _ pieces: Range<Int>,
    on device: Int
  ) -> Beginning? {
    let costs = planner.costs
    let span = StageSpan(device: device, slice: costs.shape.line.slice(pieces: pieces))
    guard let usage = beginning.usage.adding(span, planner, steps) else { return nil }
    var longer = beginning
    longer.usage = usage
    if objective.countsAnswers { addAnswers(pieces, span, to: &longer) }
    if let steps { addPrompts(steps, pieces, span, to: &longer) }
    guard time(longer) < bestTime else { return nil }
    longer.stages.append(span)
    return longer
  }

  private func addAnswers(_ pieces: Range<Int>, _ span: StageSpan, to longer: inout Beginning) {
    let (costs, device) = (planner.costs, span.device)
    let work =
      cycleSums.time(pieces, on: device)
      + batches.sum { costs.fixedTime(of: span.slice, on: device, .decoding($0)) }
    longer.answers.busiest = max(longer.answers.busiest, work)
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
      let transfer = steps.sumBeforeLast {
        costs.transferTime(from: from.device, to: device, before: span.slice, $0)
      }
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
    return planner.costs.handOffTime(from: from.device, to: to.device, before: to.slice, step)
  }

  /// Returns how long the results of a step are on the way to the coordinator, if this is the last stage.
  private func returnTime(from stage: StageSpan) -> Double {
    planner.costs.shape.line.isLast(stage.slice) ? planner.costs.messageTime(to: stage.device) : 0
  }

  /// Returns the time that counts of a placement, or the least that it can become of its first stages.
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
    let bound = options.fastest?.microseconds ?? .infinity
    let depths = DepthTuner.candidates(stageCount: stageCount, streams: objective.streams)
    options += (objective.countsAnswers ? depths : [depths[0]]).compactMap { depth in
      let batches = MicroBatches(streams: objective.streams, count: depth)
      var search = PlacementSearch(
        self,
        objective,
        stageCount: stageCount,
        batches,
        below: bound
      )
      return search.run().flatMap { evaluate($0, for: objective) }
    }
    return options.fastest
  }
}
