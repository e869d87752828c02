// The dynamic programming behind the planner. A state is the set of used devices, the last of them,
// and the number of placed pieces (layers and parts of the vocabulary). The length of a cycle is
// the maximum of several sums, so a state keeps every partial placement that no other one beats in
// all of them (its Pareto front). That makes the search exact.

internal import Gemma

/// Searches the best placement with a given number of stages and of micro-batches.
struct PlacementSearch {
  private let planner: Planner
  private let stageCount: Int
  private let batches: MicroBatches
  /// By device and piece index, the time of the pieces before it: for all micro-batches, and for
  /// the largest.
  private var busyBefore: [[Double]] = []
  private var timeBefore: [[Double]] = []
  /// For each device, a bit set of the devices equal to it that come earlier.
  private var twinsBefore: [Int] = []
  private var best: Beginning?
  private var bestCycle = Double.infinity

  /// The first stages of a placement.
  private struct Beginning {
    var busiest = 0.0
    /// The time of the largest micro-batch through the stages so far, messages included.
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
      for piece in 0..<costs.shape.line.pieceCount {
        let work = batches.sum { costs.pieceTime(piece, on: device, .decoding($0)) }
        busy.append((busy.last ?? 0) + work)
        let step = costs.pieceTime(piece, on: device, .decoding(batches.most))
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
    current[0][0] = [Beginning(usage: MachineUsage(machineCount: costs.machines.count))]
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
    guard let usage = beginning.usage.adding(span, planner) else {
      return nil
    }
    var longer = beginning
    longer.usage = usage
    let (first, end) = (pieces.lowerBound, pieces.upperBound)
    let work =
      busyBefore[device][end] - busyBefore[device][first]
      + batches.sum { costs.fixedTime(of: span.slice, on: device, .decoding($0)) }
    longer.busiest = max(longer.busiest, work)
    let step = StepSize.decoding(batches.most)
    longer.way +=
      timeBefore[device][end] - timeBefore[device][first]
      + costs.fixedTime(of: span.slice, on: device, step)
    longer.way +=
      beginning.stages.last.map {
        costs.handOffTime(from: $0.device, to: device, before: span.slice, step)
      } ?? costs.messageTime(to: device)
    if end == costs.shape.line.pieceCount { longer.way += costs.messageTime(to: device) }
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
  /// Returns the best placement with `stageCount` stages; nil if none fits into memory.
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
