// Layers that a worker's device cannot run are never placed on it: what the device says of itself, and
// what the worker has failed to prepare, decides.

internal import Compute
internal import Gemma
internal import Wire

extension CoordinatorMachine {
  /// Returns why a worker's device cannot run a slice, with the worker's name; nil if it can.
  func obstacle(ofDevice name: String, to slice: ModelSlice) -> String? {
    workers[name]?.obstacles.obstacle(to: slice).map { "worker \(name) \($0)" }
  }

  /// Returns why a placement cannot be: the first worker whose device cannot run its slice; nil if all can.
  func obstacle(to plan: [PlannedWorker]) -> String? {
    plan.lazy.compactMap { self.obstacle(ofDevice: $0.name, to: $0.slice) }.first
  }

  /// Whether a worker that is here may be given a place.
  func canHold(_ place: PlannedWorker) -> Bool {
    bounds(of: place.name)?.mayTry(place.slice) ?? false
  }

  /// A worker's device does not support what it was to prepare or run: these layers are never placed on
  /// it again.
  mutating func cannotRun(
    _ name: String,
    layers: [Int],
    lacksLogits: Bool,
    of slice: ModelSlice,
    _ reason: String
  ) {
    // One that does not say which layers means all that it was given.
    let isUnsaid = layers.isEmpty && !lacksLogits
    note(
      "worker's device does not support its layers",
      ["worker": name, "layers": model.config.line.text(slice), "reason": reason],
      isWarning: true
    )
    workers.update(name) { worker in
      worker.refuse(
        layers: isUnsaid ? Array(slice.layers) : layers,
        logits: isUnsaid ? !slice.vocabulary.isEmpty : lacksLogits,
        reason
      )
    }
  }

  /// Settles a first placement that a device cannot run or hold, now that all its workers are here.
  ///
  /// One that the user has asked for is refused if a device cannot run it; if only the count of memory
  /// is against it, it is tried with a warning. Any other is made anew, of what the devices can run and
  /// hold, and refused if there is no such placement.
  ///
  /// - Returns: False if it is refused: then nothing is to be prepared.
  mutating func settleFirstPlacement() -> Bool {
    guard epoch.isGathering, !epoch.hasServed, missingWorkers.isEmpty else { return true }
    let inability = obstacle(to: plan)
    guard let obstacle = inability ?? obstacleOfMemory(to: plan) else { return true }
    do throws(CoordinatorError) {
      guard isPlanBinding else {
        replan(try possiblePlan(workerOrder), because: obstacle)
        return true
      }
      guard inability == nil else {
        throw CoordinatorError(
          .placement,
          "the layers cannot be split as asked: \(obstacle); give these layers to other workers, or "
            + "leave the split away"
        )
      }
      note(
        "the split may not fit into memory",
        ["reason": "\(obstacle); \(CoordinatorError.memoryAdvice)"],
        isWarning: true
      )
      return true
    } catch {
      act(.fail(error))
      return false
    }
  }

  private mutating func replan(_ next: [PlannedWorker], because reason: String) {
    epoch.replan(next)
    note("layers placed where devices can run them", ["reason": reason, "layers": text(next)])
  }
}
