// The dynamic programme behind the planner. A state is the set of devices used, the last of them and
// the layers placed; since a cycle is the largest of several sums, a state keeps every beginning that
// no other beats in all of them (its Pareto front), which makes the search exact.

/// Searches the best placement with a given number of stages and of micro-batches.
struct PlacementSearch {
  private let planner: Planner
  private let stageCount: Int
  private let batches: MicroBatches
  /// By device: the work on all micro-batches, and the time of the largest, of layers before an index.
  private var busyBefore: [[Double]] = []
  private var timeBefore: [[Double]] = []
  /// By device: those like it that come first.
  private var twinsBefore: [Int] = []
  private var best: Beginning?
  private var bestCycle = Double.infinity

  /// The first stages of a placement.
  private struct Beginning {
    var busiest = 0.0
    /// Of the largest micro-batch, messages included.
    var way = 0.0
    var usage: MachineUsage
    var stages: [StageSpan] = []

    func isBeaten(by other: Beginning) -> Bool {
      other.busiest <= busiest && other.way <= way && other.usage.isWithin(usage)
    }
  }

  init(_ planner: Planner, stageCount: Int, _ batches: MicroBatches) {
    self.planner = planner
    self.stageCount = stageCount
    self.batches = batches
    let costs = planner.costs
    for device in costs.devices.indices {
      var busy = [0.0]
      var time = [0.0]
      for layer in 0..<costs.layerCount {
        let work = batches.sum { costs.layerTime(layer, on: device, .decoding($0)) }
        busy.append((busy.last ?? 0) + work)
        let step = costs.layerTime(layer, on: device, .decoding(batches.most))
        time.append((time.last ?? 0) + step)
      }
      busyBefore.append(busy)
      timeBefore.append(time)
      let twins = (0..<device).filter { costs.areAlike($0, device) }
      twinsBefore.append(twins.reduce(0) { $0 | 1 << $1 })
    }
  }

  /// Returns the stages of the fastest placement; nil if none fits into memory.
  ///
  /// - Complexity: For D unlike devices and L layers, 2^D · D² · L² steps, times the size of the fronts.
  mutating func run() -> [StageSpan]? {
    let costs = planner.costs
    let (deviceCount, layerCount) = (costs.devices.count, costs.layerCount)
    // By set and last device, then by the layers placed.
    typealias Fronts = [[[Beginning]]]
    let none: Fronts = Array(
      repeating: Array(repeating: [], count: layerCount + 1),
      count: deviceCount << deviceCount
    )
    var current = none
    current[0][0] = [Beginning(usage: MachineUsage(machineCount: costs.machines.count))]
    for stage in 0..<stageCount {
      var next = none
      let later = stageCount - stage - 1
      for key in current.indices {
        let used = key / deviceCount
        for first in 0..<layerCount - later {
          for beginning in current[key][first] {
            for device in costs.devices.indices
            where used & 1 << device == 0 && used & twinsBefore[device] == twinsBefore[device] {
              let ends = later == 0 ? layerCount...layerCount : first + 1...layerCount - later
              for end in ends {
                let span = StageSpan(device: device, layers: first..<end)
                guard let longer = extend(beginning, span) else { continue }
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
    return best?.stages
  }

  /// Returns a beginning with a stage more; nil if it does not fit, or cannot be the best any more.
  private func extend(_ beginning: Beginning, _ span: StageSpan) -> Beginning? {
    let costs = planner.costs
    guard let usage = beginning.usage.adding(span, planner, streams: batches.streams) else {
      return nil
    }
    var longer = beginning
    longer.usage = usage
    let (first, end) = (span.layers.lowerBound, span.layers.upperBound)
    let work =
      busyBefore[span.device][end] - busyBefore[span.device][first]
      + batches.sum { costs.fixedTime(of: span.layers, on: span.device, .decoding($0)) }
    longer.busiest = max(longer.busiest, work)
    let step = StepSize.decoding(batches.most)
    longer.way +=
      timeBefore[span.device][end] - timeBefore[span.device][first]
      + costs.fixedTime(of: span.layers, on: span.device, step)
    longer.way +=
      beginning.stages.last.map {
        costs.handOffTime(from: $0.device, to: span.device, before: first, step)
      } ?? costs.messageTime(to: span.device)
    if end == costs.layerCount { longer.way += costs.messageTime(to: span.device) }
    longer.stages.append(span)
    return cycle(longer) < bestCycle ? longer : nil
  }

  private func cycle(_ beginning: Beginning) -> Double {
    max(
      beginning.busiest,
      beginning.way,
      beginning.usage.time(planner.costs, microBatches: batches.count).microseconds
    )
  }

  private mutating func take(_ whole: Beginning) {
    best = whole
    bestCycle = cycle(whole)
  }

  private static func insert(_ beginning: Beginning, into front: inout [Beginning]) {
    guard !front.contains(where: { beginning.isBeaten(by: $0) }) else { return }
    front.removeAll { $0.isBeaten(by: beginning) }
    front.append(beginning)
  }
}

extension Planner {
  /// Returns the best placement with so many stages; nil if none fits into memory.
  func best(stageCount: Int, streams: Int) -> PlanOption? {
    DepthTuner.candidates(stageCount: stageCount, streams: streams)
      .compactMap { depth in
        let batches = MicroBatches(streams: streams, count: depth)
        var search = PlacementSearch(self, stageCount: stageCount, batches)
        return search.run().flatMap { evaluate($0, streams: streams) }
      }
      .fastest
  }
}
