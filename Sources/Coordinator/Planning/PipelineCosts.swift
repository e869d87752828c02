// The cost of a stage on a device and of the link between two stages: profiles combined with a
// model.

package import Compute
package import Gemma

/// A stage: the device that holds it and its slice of the model.
package struct StageSpan: Sendable, Hashable {
  /// The index in `PipelineCosts.devices`.
  package var device: Int
  package var slice: ModelSlice

  package init(device: Int, slice: ModelSlice) {
    self.device = device
    self.slice = slice
  }

  package var layers: Range<Int> { slice.layers }
}

/// The costs of every possible stage.
package struct PipelineCosts: Sendable {
  package let shape: ModelShape
  package let devices: [DeviceProfile]
  package let machines: [MachineProfile]
  private let links: [LinkProfile]
  /// The cost of each layer: by device, then by layer.
  private let curves: [[CostCurve]]
  /// The index of each device's machine.
  package let machineOfDevice: [Int]
  /// By device: what it cannot run.
  private let obstacles: [DeviceObstacles]
  /// By the machine that sends, then by the one that receives, the index in `links`; nil where no link is needed.
  ///
  /// A search asks millions of times.
  private let linkOfMachines: [[Int?]]
  /// How many devices each machine has.
  private let deviceCounts: [Int]

  /// - Parameters:
  ///   - shape: The model.
  ///   - documents: Profiles; machines of the same name are one machine.
  ///   - obstacles: By name of a device, what it cannot run; nothing for those that are not named.
  ///   - fallback: The link between machines that no document joins.
  /// - Throws: `CoordinatorError` with code `profile` if there is no device, a device has no cost
  ///   for a layer of the model, or a link is unknown.
  package init(
    shape: ModelShape,
    documents: [ProfileDocument],
    obstacles: [String: DeviceObstacles] = [:],
    fallback: LinkProfile? = nil
  ) throws(CoordinatorError) {
    self.shape = shape
    devices = documents.flatMap(\.devices)
    self.obstacles = devices.map { obstacles[$0.name] ?? DeviceObstacles() }
    var machines: [MachineProfile] = []
    for machine in documents.flatMap(\.machines)
    where !machines.contains(where: { $0.name == machine.name }) {
      machines.append(machine)
    }
    self.machines = machines
    links = documents.flatMap(\.links) + (fallback.map { [$0] } ?? [])
    guard !devices.isEmpty else { throw CoordinatorError(.profile, "there is no device") }
    let names = devices.map(\.name)
    guard Set(names).count == names.count else {
      throw CoordinatorError(
        .profile,
        "devices \(names): two profiles have a device of the same name"
      )
    }
    var curves: [[CostCurve]] = []
    var machineOfDevice: [Int] = []
    for device in devices {
      guard let machine = machines.firstIndex(where: { $0.name == device.machine }) else {
        throw CoordinatorError(
          .profile,
          "no profile has the machine \(device.machine) of device \(device.name)"
        )
      }
      machineOfDevice.append(machine)
      curves.append(
        try Self.curves(of: shape, on: device, obstacles[device.name] ?? DeviceObstacles())
      )
    }
    self.curves = curves
    self.machineOfDevice = machineOfDevice
    deviceCounts = machines.indices.map { machine in machineOfDevice.count { $0 == machine } }
    // The fallback joins all machines that have no link of their own.
    let (links, unnamed) = (self.links, fallback == nil ? nil : self.links.indices.last)
    linkOfMachines = machines.map { one in
      machines.map { other in
        links.firstIndex { $0.joins(one.name, other.name) } ?? unnamed
      }
    }
    for one in Set(machineOfDevice) {
      for other in Set(machineOfDevice) {
        let names = [machines[one].name, machines[other].name]
        guard !links.contains(where: { $0.joins(names[0], names[1]) }) else { continue }
        guard one == other || fallback == nil else { continue }
        throw CoordinatorError(
          .profile,
          "no profile has a link from \(names[0]) to \(names[1])"
            + (one == other ? "" : "; name one with --link")
        )
      }
    }
  }

  private static func curves(
    of shape: ModelShape,
    on device: DeviceProfile,
    _ obstacles: DeviceObstacles
  ) throws(CoordinatorError) -> [CostCurve] {
    let known = Dictionary(device.layers.map { ($0.layer, $0.cost) }) { first, _ in first }
    var curves: [CostCurve] = []
    for (index, layer) in shape.layers.enumerated() {
      guard let curve = known[layer] else {
        if obstacles.obstacle(to: shape.line.slice(pieces: index..<(index + 1))) != nil {
          // What is never placed there costs nothing.
          curves.append(.zero)
          continue
        }
        throw CoordinatorError(
          .profile,
          "the profile of device \(device.name) lacks layer \(index) (\(layer)): it is for another model"
        )
      }
      curves.append(curve)
    }
    return curves
  }

  package var layerCount: Int { shape.layers.count }

  /// Returns why a stage cannot be: its device cannot run a layer; nil if it can.
  package func obstacle(to stage: StageSpan) -> String? {
    obstacles[stage.device].obstacle(to: stage.slice).map { "\(devices[stage.device].name) \($0)" }
  }

  /// Returns the profiles as one document.
  package func document(model: String) -> ProfileDocument {
    var links: [LinkProfile] = []
    for link in self.links
    where link.machines.count == 2 && !links.contains(where: { $0.name == link.name }) {
      links.append(link)
    }
    return ProfileDocument(model: model, machines: machines, devices: devices, links: links)
  }

  /// Returns the least reliable kind among the numbers that the stages' costs depend on.
  package func kind(of stages: [StageSpan]) -> NumberKind {
    var kinds: [NumberKind] = []
    for (index, stage) in stages.enumerated() {
      kinds.append(devices[stage.device].kind)
      kinds.append(machines[machineOfDevice[stage.device]].kind)
      if index > 0 { kinds.append(link(from: stages[index - 1].device, to: stage.device).kind) }
    }
    return kinds.max() ?? .measured
  }

  /// Returns whether two devices have equal profiles and places, so that their order does not matter.
  func areAlike(_ one: Int, _ other: Int) -> Bool {
    var renamed = devices[one]
    (renamed.name, renamed.machine) = (devices[other].name, devices[other].machine)
    return renamed == devices[other] && obstacles[one] == obstacles[other]
      && areAlike(machines: machineOfDevice[one], machineOfDevice[other])
  }

  /// Returns whether a device shares its machine with no other one.
  func isAlone(_ device: Int) -> Bool { deviceCounts[machineOfDevice[device]] == 1 }

  /// Returns whether two machines may be exchanged: they are one, or each has a single device, equal resources
  /// and equal links to all others.
  ///
  /// That of the first device has the coordinator, too, so it is like no other.
  private func areAlike(machines one: Int, _ other: Int) -> Bool {
    guard one != other else { return true }
    guard machineOfDevice[0] != one, machineOfDevice[0] != other,
      deviceCounts[one] == 1, deviceCounts[other] == 1
    else { return false }
    var renamed = machines[one]
    renamed.name = machines[other].name
    guard renamed == machines[other] else { return false }
    return machines.indices.allSatisfy { third in
      guard third != one, third != other else { return true }
      let pair = (linkOfMachines[one][third], linkOfMachines[other][third])
      guard let first = pair.0, let second = pair.1 else { return pair.0 == pair.1 }
      return links[first].latencyMicroseconds == links[second].latencyMicroseconds
        && links[first].bytesPerSecond == links[second].bytesPerSecond
    }
  }

  /// Returns how long one layer takes on a device.
  package func layerTime(_ layer: Int, on device: Int, _ step: StepSize) -> Double {
    let curve = curves[device][layer]
    guard let narrowing = shape.narrowing, narrowing.layer == layer, step.wanted < step.rows else {
      return curve.time(rows: shape.rows(at: layer, of: step))
    }
    // Wanted rows take the whole layer, the others their share of it.
    let ending = { (rows: Int) in
      self.devices[device].narrowing?.time(rows: rows) ?? curve.time(rows: rows) * narrowing.share
    }
    return curve.time(rows: step.wanted) + max(0, ending(step.rows) - ending(step.wanted))
  }

  /// Returns how long the logits of some rows of the vocabulary take on a device.
  ///
  /// The head is measured as a whole, and its time is divided in proportion to the bytes read: one
  /// part for the end of the last layer, the rest equally among the rows of the vocabulary.
  package func logitsTime(_ rows: Range<Int>, on device: Int, _ step: StepSize) -> Double {
    guard !rows.isEmpty else { return 0 }
    let share = Double(rows.count) / Double(shape.vocabularySize)
    return devices[device].head.time(rows: step.wanted) * (1 - shape.exitShare) * share
  }

  /// Returns how long a piece of the model's line takes on a device.
  func pieceTime(_ piece: Int, on device: Int, _ step: StepSize) -> Double {
    piece < layerCount
      ? layerTime(piece, on: device, step)
      : logitsTime(
        shape.line.slice(pieces: piece..<piece + 1).vocabulary,
        on: device,
        step
      )
  }

  /// Returns how long a step takes apart from its layers and its logits.
  func fixedTime(of slice: ModelSlice, on device: Int, _ step: StepSize) -> Double {
    let (profile, layers) = (devices[device], slice.layers)
    var time = profile.stepOverhead.time(
      rows: max(1, shape.rows(at: layers.lowerBound, of: step))
    )
    if layers.lowerBound == 0 { time += profile.entry.time(rows: step.rows) }
    if layers.upperBound == layerCount, !layers.isEmpty {
      time += profile.head.time(rows: step.wanted) * shape.exitShare
    }
    return time
  }

  /// Returns how many microseconds a step takes in a stage that does not share its machine's memory
  /// bandwidth.
  package func time(of stage: StageSpan, _ step: StepSize) -> Double {
    let layers = stage.layers.reduce(fixedTime(of: stage.slice, on: stage.device, step)) {
      $0 + layerTime($1, on: stage.device, step)
    }
    return layers + logitsTime(stage.slice.vocabulary, on: stage.device, step)
  }

  /// Returns the bytes of weights that a step reads in a stage.
  ///
  /// Rows share the weights that are read. After a cut gate several rows read somewhat more, which
  /// is ignored.
  package func readBytes(of stage: StageSpan, _ step: StepSize) -> Double {
    var bytes = 0.0
    for layer in stage.layers {
      bytes += Double(shape.layers[layer].readBytes) * shape.shareRead(at: layer, of: step)
    }
    if stage.layers.lowerBound == 0 { bytes += Double(shape.entryBytes) }
    guard step.wanted > 0 else { return bytes }
    return bytes + shape.headBytes(of: stage.slice)
  }

  /// Returns what a stage holds of its device's memory.
  package func heldMemory(of stage: StageSpan, in limits: ExecutableLimits) -> HeldMemory {
    let device = devices[stage.device]
    let memory = shape.footprint.held(
      stage.slice,
      in: limits,
      cacheType: device.cacheType ?? shape.footprint.cacheType
    )
    return device.hasOwnMemory ? memory.copied : memory
  }

  /// Returns the link from one device to another.
  package func link(from: Int, to: Int) -> LinkProfile {
    // `init` has checked that there is one if it is needed.
    guard let link = linkOfMachines[machineOfDevice[from]][machineOfDevice[to]] else {
      preconditionFailure(
        "no link joins \(devices[from].machine) and \(devices[to].machine)"
      )
    }
    return links[link]
  }

  /// Returns how long the link between two stages is taken by the activations of a step.
  func transferTime(from: StageSpan, to: StageSpan, _ step: StepSize) -> Double {
    shape.handOffBytes(before: to.slice, step)
      / link(from: from.device, to: to.device).bytesPerSecond * 1e6
  }

  /// Returns how long it takes to send the activations of a step from a stage to the next.
  package func handOffTime(from: StageSpan, to: StageSpan, _ step: StepSize) -> Double {
    link(from: from.device, to: to.device).latencyMicroseconds
      + transferTime(from: from, to: to, step)
  }

  /// Returns how long a message without activations takes between the coordinator, which runs
  /// beside the first device, and a device.
  package func messageTime(to device: Int) -> Double {
    link(from: 0, to: device).latencyMicroseconds
  }
}
