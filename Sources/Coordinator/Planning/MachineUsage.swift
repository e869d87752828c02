// What the stages of a placement take of the machines that they share: memory, and its bandwidth. Of a machine with
// one device nothing is shared: what its only stage takes is final, so only the slowest such machine is kept.

/// What the stages so far use of each machine.
struct MachineUsage: Hashable {
  /// Bytes that a micro-batch of decoding streams reads.
  private(set) var readBytes: [Double]
  /// Bytes that the steps of prompts read, the last one excepted; empty where prompts do not count.
  private(set) var promptBytes: [Double]
  /// What is held of the memory that all devices share.
  private(set) var held: [HeldMemory]
  /// Of the machines with one device: the most seconds that a micro-batch's bytes take, and where.
  private var aloneSeconds = 0.0
  private var aloneMachine = 0
  /// The same for the steps of prompts, the last one excepted.
  private var alonePromptSeconds = 0.0

  init(machineCount: Int, countsPrompts: Bool = false) {
    readBytes = Array(repeating: 0, count: machineCount)
    promptBytes = countsPrompts ? readBytes : []
    held = Array(repeating: HeldMemory(), count: machineCount)
  }

  /// Returns the usage with one more stage; nil if the stage does not fit its device or machine, or
  /// cannot run there.
  func adding(_ stage: StageSpan, _ planner: Planner, _ steps: PromptSteps? = nil) -> MachineUsage?
  {
    let costs = planner.costs
    guard costs.obstacle(to: stage) == nil else { return nil }
    let machine = costs.machineOfDevice[stage.device]
    let device = costs.devices[stage.device]
    let memory = costs.heldMemory(of: stage, in: planner.limits)
    guard Double(memory.total) <= device.memoryBytes else { return nil }
    var next = self
    if let shared = costs.machines[machine].memoryBytes, !device.hasOwnMemory {
      if costs.isAlone(stage.device) {
        guard Double(memory.total) <= shared else { return nil }
      } else {
        next.held[machine] = next.held[machine].joined(with: memory)
        guard Double(next.held[machine].total) <= shared else { return nil }
      }
    }
    // Bytes that nothing limits would only make usages differ.
    guard let rate = costs.machines[machine].sharedBandwidthBytesPerSecond else { return next }
    let read = costs.readBytes(of: stage, .decoding(1))
    let promptRead = steps?.sumBeforeLast { costs.readBytes(of: stage, $0) } ?? 0
    if costs.isAlone(stage.device) {
      if read / rate > next.aloneSeconds {
        (next.aloneSeconds, next.aloneMachine) = (read / rate, machine)
      }
      next.alonePromptSeconds = max(next.alonePromptSeconds, promptRead / rate)
    } else {
      next.readBytes[machine] += read
      if steps != nil { next.promptBytes[machine] += promptRead }
    }
    return next
  }

  /// Returns the machine whose memory takes longest for a cycle, and that time.
  func time(
    _ costs: PipelineCosts,
    microBatches: Int
  ) -> (microseconds: Double, machine: Int) {
    var worst = (
      microseconds: Double(microBatches) * aloneSeconds * 1e6, machine: aloneMachine
    )
    for (machine, bytes) in readBytes.enumerated() {
      guard let rate = costs.machines[machine].sharedBandwidthBytesPerSecond else { continue }
      let time = Double(microBatches) * bytes / rate * 1e6
      if time > worst.microseconds { worst = (time, machine) }
    }
    return worst
  }

  /// Returns how long the machines' memories take for the steps of prompts, the last one excepted.
  func promptTime(_ costs: PipelineCosts) -> Double {
    zip(costs.machines, promptBytes).reduce(alonePromptSeconds * 1e6) { longest, use in
      guard let rate = use.0.sharedBandwidthBytesPerSecond else { return longest }
      return max(longest, use.1 / rate * 1e6)
    }
  }

  /// Returns whether this usage exceeds another one on no machine.
  func isWithin(_ other: MachineUsage) -> Bool {
    aloneSeconds <= other.aloneSeconds && alonePromptSeconds <= other.alonePromptSeconds
      && zip(readBytes, other.readBytes).allSatisfy { $0 <= $1 }
      && zip(promptBytes, other.promptBytes).allSatisfy { $0 <= $1 }
      && zip(held, other.held).allSatisfy { $0.isWithin($1) }
  }
}
