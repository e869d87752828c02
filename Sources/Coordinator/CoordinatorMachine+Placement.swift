// Decides which worker holds which layers: as a client asks, or so that the slowest stage is as
// fast as possible.

internal import Compute
internal import Gemma
internal import Wire

extension CoordinatorMachine {
  /// All workers: those with layers in pipeline order, then those without, by name.
  var workerOrder: [String] {
    let placed = plan.map(\.name)
    return placed + workers.names.filter { !placed.contains($0) }
  }

  /// Returns the plan that makes the slowest stage as fast as can be, going by how fast the workers
  /// have been; those that have not run a step yet go by what their devices say of their rate.
  ///
  /// - Throws: `CoordinatorError` with code `placement` if their memory does not hold the layers.
  func fastestPlan(_ names: [String]) throws(CoordinatorError) -> [PlannedWorker] {
    let cost = model.cost
    var rates: [String: Double] = [:]  // bytes a second
    for (place, clock) in zip(plan, measurements.metrics.stages) where clock.decodeSeconds > 0 {
      rates[place.name] = cost.bytes(of: place.slice) / clock.decodeSeconds
    }
    let hint = { (name: String) in Double(self.workers[name]?.device.rateHint ?? 1) }
    let known = plan.compactMap { place in rates[place.name].map { $0 / hint(place.name) } }
    let perHint = known.isEmpty ? 1 : known.reduce(0, +) / Double(known.count)
    let used = Array(names.prefix(cost.layers.count))
    return try fastestPlan(used, rates: used.map { rates[$0] ?? perHint * hint($0) })
  }

  /// Returns the plan that makes the slowest stage as fast as can be, for workers that are so fast.
  ///
  /// - Throws: `CoordinatorError` with code `placement` if their memory does not hold the layers.
  func fastestPlan(
    _ names: [String],
    rates: [Double]
  ) throws(CoordinatorError) -> [PlannedWorker] {
    do {
      let bounds = names.map { self.bounds(of: $0) }
      let placement = try Placement(
        cost: model.cost,
        rates: rates,
        sharing: sharedMemory(of: names)
      ) { stage, slice in
        bounds[stage].map { $0.mayTry(slice) && $0.hasRoom(for: slice) } ?? false
      }
      return planned(names, placement)
    } catch {
      // The error names the workers that cannot hold their part of the cut that would be best
      // otherwise.
      let wished = planned(names, try Placement(cost: model.cost, rates: rates))
      guard let obstacle = obstacleOfMemory(to: wished) else { throw error }
      throw CoordinatorError(.placement, "\(obstacle); \(CoordinatorError.memoryAdvice)")
    }
  }

  /// Returns a plan for workers of which some cannot hold or run everything: those are left out if need
  /// be, one of them if that is enough.
  func possiblePlan(_ names: [String]) throws(CoordinatorError) -> [PlannedWorker] {
    let able = names.filter { name in
      workers[name].map {
        !$0.inability.isTotal && !$0.obstacles.excludesAll(of: model.config.line)
      } ?? false
    }
    let limited = able.filter { name in
      workers[name].map { $0.inability.reason != nil || !$0.obstacles.isEmpty } ?? false
    }
    var attempts = [able.isEmpty ? names : able]
    attempts += limited.map { name in able.filter { $0 != name } }
    if limited.count > 1 { attempts.append(able.filter { !limited.contains($0) }) }
    var firstError: CoordinatorError?
    for attempt in attempts where !attempt.isEmpty {
      do throws(CoordinatorError) {
        return try fastestPlan(attempt)
      } catch {
        firstError = firstError ?? error
      }
    }
    throw firstError ?? CoordinatorError(.placement, "no worker is here")
  }

  /// Returns the plan that gives each worker so many layers, and of the logits such a part; one with
  /// neither stands by.
  func splitPlan(
    _ rebalance: Rebalance,
    on names: [String]
  ) throws(CoordinatorError) -> [PlannedWorker] {
    let (split, logitsSplit) = (rebalance.split, rebalance.logitsSplit)
    guard split.count <= names.count else {
      let text = split.map(String.init).joined(separator: ",")
      throw CoordinatorError(
        .placement,
        "split \(text) has \(split.count) stages, there are \(names.count) workers: "
          + names.joined(separator: ", ")
      )
    }
    let holder = split.lastIndex { $0 > 0 } ?? 0
    let withLogits = holder..<min(split.count, holder + logitsSplit.count)
    let used = split.indices.filter { split[$0] > 0 || withLogits.contains($0) }
    let placement = try Placement(
      split: used.map { split[$0] },
      logitsSplit: logitsSplit,
      line: model.config.line,
      workerCount: used.count
    )
    let plan = planned(used.map { names[$0] }, placement)
    if let obstacle = obstacle(to: plan) { throw CoordinatorError(.placement, obstacle) }
    return plan
  }

  /// Returns the places of workers, one a stage.
  func planned(_ names: [String], _ placement: Placement) -> [PlannedWorker] {
    zip(names, placement.stages).map { name, slice in
      PlannedWorker(name: name, device: workers[name]?.device.name ?? "", slice: slice)
    }
  }
}
