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
    let placement = try Placement(
      cost: cost,
      rates: used.map { rates[$0] ?? perThread * threads($0) }
    )
    return planned(used, placement)
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

  /// Refuses a placement whose weights a worker's memory cannot hold.
  func checkMemory(_ plan: [PlannedWorker]) throws(CoordinatorError) {
    for place in plan {
      let bytes = model.cost.bytes(of: place.layers)
      let memory = Double(workers[place.name]?.hello.memoryBytes ?? 0)
      guard bytes > memory else { continue }
      throw CoordinatorError(
        .placement,
        "too little memory: \(place.name) would need \(Int(bytes / 1e6)) MB for layers "
          + "\(place.layers.lowerBound)..<\(place.layers.upperBound) and has \(Int(memory / 1e6)) MB"
      )
    }
  }
}
