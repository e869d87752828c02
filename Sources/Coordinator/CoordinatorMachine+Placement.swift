// Which worker shall hold which layers: as somebody asks, or such that the slowest stage is as fast as
// can be.

internal import Gemma
internal import Wire

extension CoordinatorMachine {
  /// All workers: those with layers in pipeline order, then those without, by name.
  var workerOrder: [String] {
    let placed = plan.map(\.name)
    return placed + workers.keys.filter { !placed.contains($0) }.sorted()
  }

  /// Returns the plan that makes the slowest stage as fast as can be, going by how fast the workers
  /// have been; those that have not run a step yet go by their threads.
  ///
  /// - Throws: `CoordinatorError` with code `placement` if their memory does not hold the layers.
  func fastestPlan(_ names: [String]) throws(CoordinatorError) -> [PlannedWorker] {
    let cost = model.cost
    var rates: [String: Double] = [:]  // bytes a second
    for (place, clock) in zip(plan, metrics.stages) where clock.decodeSeconds > 0 {
      rates[place.name] = cost.bytes(of: place.layers) / clock.decodeSeconds
    }
    let threads = { (name: String) in Double(max(1, self.workers[name]?.hello.threads ?? 1)) }
    let known = rates.map { $0.value / threads($0.key) }
    let perThread = known.isEmpty ? 1 : known.reduce(0, +) / Double(known.count)
    let used = Array(names.prefix(cost.layers.count))
    return try fastestPlan(used, rates: used.map { rates[$0] ?? perThread * threads($0) })
  }

  /// Returns the plan that makes the slowest stage as fast as can be, for workers that are so fast.
  ///
  /// - Throws: `CoordinatorError` with code `placement` if their memory does not hold the layers.
  func fastestPlan(
    _ names: [String],
    rates: [Double]
  ) throws(CoordinatorError) -> [PlannedWorker] {
    do {
      let placement = try Placement(cost: model.cost, rates: rates) { stage, layers in
        self.obstacle(to: layers, on: names[stage]) == nil
      }
      return planned(names, placement)
    } catch {
      // Which worker cannot hold what shows best in the cut that would suit them otherwise.
      let wished = planned(names, try Placement(cost: model.cost, rates: rates))
      let obstacle = wished.lazy.compactMap { self.obstacle(to: $0.layers, on: $0.name) }.first
      guard let obstacle else { throw error }
      throw CoordinatorError(.placement, obstacle)
    }
  }

  /// Returns a plan for workers of which some may have failed to prepare layers: those are left out
  /// if need be.
  func possiblePlan(_ names: [String]) throws(CoordinatorError) -> [PlannedWorker] {
    let able = names.filter { !(workers[$0]?.inability.isTotal ?? true) }
    do {
      return try fastestPlan(able.isEmpty ? names : able)
    } catch {
      let unscathed = names.filter { workers[$0]?.inability.reason == nil }
      guard !unscathed.isEmpty, unscathed.count < names.count else { throw error }
      return try fastestPlan(unscathed)
    }
  }

  /// Returns the plan that gives each worker so many layers; one with 0 stands by.
  func splitPlan(_ split: [Int], on names: [String]) throws(CoordinatorError) -> [PlannedWorker] {
    guard split.count <= names.count else {
      let text = split.map(String.init).joined(separator: ",")
      throw CoordinatorError(
        .placement,
        "split \(text) has \(split.count) stages, there are \(names.count) workers: "
          + names.joined(separator: ", ")
      )
    }
    let used = zip(names, split).filter { $0.1 > 0 }
    let placement = try Placement(
      split: used.map(\.1),
      layerCount: model.config.layers.count,
      workerCount: used.count
    )
    return planned(used.map(\.0), placement)
  }

  /// Returns the places of workers, one a stage.
  func planned(_ names: [String], _ placement: Placement) -> [PlannedWorker] {
    zip(names, placement.stages).map { name, layers in
      PlannedWorker(name: name, device: workers[name]?.hello.device ?? "", layers: layers)
    }
  }

  func bytes(of place: PlannedWorker) -> Double { model.cost.bytes(of: place.layers) }

  /// Returns why a worker cannot hold these layers; nil if nothing speaks against it.
  private func obstacle(to layers: Range<Int>, on name: String) -> String? {
    guard let worker = workers[name] else { return "\(name) is not here" }
    let bytes = model.cost.bytes(of: layers)
    if worker.inability.excludes(bytes) { return worker.inability.reason }
    let memory = Double(worker.hello.memoryBytes)
    guard bytes > memory else { return nil }
    return "too little memory: \(name) would need \(Int(bytes / 1e6)) MB for layers "
      + "\(layers.lowerBound)..<\(layers.upperBound) and has \(Int(memory / 1e6)) MB"
  }
}
