// A call of a configured array as control code: which words of the machine's memory go in, and which come out.

/// Words of an argument that a channel of a shim moves.
package struct HostTransfer: Sendable, Hashable {
  package var place: ChannelPlace
  /// The number of the argument.
  package var argument: Int
  /// Bytes from its beginning.
  package var offset: Int
  /// Words of one execution.
  package var words: Int
  /// Their order; none for one after the other.
  package var dimensions: [Dimension]
  /// How often it is done, and how far apart.
  package var iteration: Iteration?

  package init(
    _ direction: Direction,
    column: Int,
    channel: Int = 0,
    argument: Int,
    offset: Int = 0,
    words: Int,
    dimensions: [Dimension] = [],
    iteration: Iteration? = nil
  ) {
    place = ChannelPlace(tile: Tile(column, 0), direction: direction, channel: channel)
    self.argument = argument
    self.offset = offset
    self.words = words
    self.dimensions = dimensions
    self.iteration = iteration
  }
}

/// What a channel of a tile does in one call.
package struct TileTask: Sendable {
  package var place: ChannelPlace
  /// One after the other, in descriptors that are free.
  package var descriptors: [(index: Int, value: BufferDescriptor)]
  package var repeats: Int

  package init(
    _ place: ChannelPlace,
    _ descriptors: [(index: Int, value: BufferDescriptor)],
    repeats: Int = 1
  ) {
    self.place = place
    self.descriptors = descriptors
    self.repeats = repeats
  }
}

/// What a call begins.
package enum CallStep: Sendable {
  case task(TileTask)
  case transfer(HostTransfer)
}

package enum HostCall {
  /// Returns the operations of a call: all transfers are begun in their order, and those out of the array are waited
  /// for.
  ///
  /// - Parameter transfers: The transfers; those of one channel follow each other.
  /// - Returns: The operations.
  /// - Throws: `NPUError.operand` for more transfers of a column than it has descriptors, or of a channel than its
  ///   queue holds, or if a walk does not fit a descriptor.
  package static func operations(
    for transfers: [HostTransfer]
  ) throws(NPUError) -> [ControlOperation] {
    try operations(for: transfers.map(CallStep.transfer))
  }

  /// Returns the operations of a call: all steps are begun in their order, and transfers out of the array are waited
  /// for.
  ///
  /// - Parameter steps: The steps. What the array waits for should be first: each takes the controller a while.
  /// - Returns: The operations.
  /// - Throws: `NPUError` as above.
  package static func operations(
    for steps: [CallStep]
  ) throws(NPUError) -> [ControlOperation] {
    var operations: [ControlOperation] = []
    var waits: [ControlOperation] = []
    var used: [Int: Int] = [:]
    var queued: [ChannelPlace: Int] = [:]
    for step in steps {
      switch step {
      case .task(let task): operations += try begin(task)
      case .transfer(let transfer):
        let place = transfer.place
        try check(transfer)
        let descriptor = used[place.tile.column, default: 0]
        used[place.tile.column] = descriptor + 1
        queued[place, default: 0] += 1
        try check(place, descriptors: descriptor + 1, tasks: queued[place, default: 0])
        let isFirst = queued[place] == 1
        operations += try begin(transfer, descriptor, namesController: isFirst)
        if place.direction == .intoMemory { waits.append(wait(for: place)) }
      }
    }
    return operations + waits
  }

  private static func check(_ transfer: HostTransfer) throws(NPUError) {
    let place = transfer.place
    guard place.tile.exists,
      (0..<RegisterMap.of(.shim).channelCount).contains(place.channel)
    else { throw NPUError(.operand, "\(place), which there is not") }
    guard transfer.words > 0, transfer.argument >= 0,
      UInt32(exactly: transfer.offset)?.isMultiple(of: 4) == true
    else {
      throw NPUError(
        .operand,
        "a length of \(transfer.words) words from byte \(transfer.offset) of argument \(transfer.argument); "
          + "bytes must be a multiple of 4 below 4 GiB",
        at: "\(place)"
      )
    }
  }

  /// To write a descriptor again while it is under way wedges a real array, and so does a queue that runs over.
  private static func check(
    _ place: ChannelPlace,
    descriptors: Int,
    tasks: Int
  ) throws(NPUError) {
    let most = RegisterMap.of(.shim).descriptorCount
    guard descriptors <= most else {
      throw NPUError(.operand, "more than \(most) transfers in one call", at: "\(place.tile)")
    }
    guard tasks <= SimulatedChannel.queueDepth else {
      throw NPUError(
        .operand,
        "more than \(SimulatedChannel.queueDepth) transfers of \(place) in one call",
        at: "\(place.tile)"
      )
    }
  }

  /// Writes the descriptors of a task, and puts it into the channel's queue.
  private static func begin(_ task: TileTask) throws(NPUError) -> [ControlOperation] {
    let tile = task.place.tile
    let map = RegisterMap.of(tile.kind)
    guard !task.descriptors.isEmpty else {
      throw NPUError(.operand, "a task without descriptors", at: "\(task.place)")
    }
    var operations: [ControlOperation] = []
    for (place, descriptor) in task.descriptors.enumerated() {
      var value = descriptor.value
      try value.checkCounts()
      guard (0..<Int(map.memoryBytes) / 4).contains(value.base), value.length <= 1 << 17,
        4 * (value.base + value.reach) < Int(map.memoryBytes),
        (0..<map.descriptorCount).contains(descriptor.index)
      else {
        throw NPUError(
          .operand,
          "a task of \(value.length) words from \(value.base) on by descriptor \(descriptor.index) leaves the memory",
          at: "\(task.place)"
        )
      }
      let isLast = place == task.descriptors.count - 1
      value.next = isLast ? nil : task.descriptors[place + 1].index
      operations.append(
        .block(
          address: tile.address(map.descriptor(descriptor.index)),
          words: try value.words(in: tile.kind)
        )
      )
    }
    let word = try QueuedTask(task.descriptors.first?.index ?? 0, repeats: task.repeats).word()
    let queue = tile.address(map.queue(task.place.direction, task.place.channel))
    return operations + [.write(address: queue, value: word)]
  }

  /// Writes the descriptor of a transfer, has its address filled in, and puts it into the channel's queue.
  private static func begin(
    _ transfer: HostTransfer,
    _ index: Int,
    namesController: Bool
  ) throws(NPUError) -> [ControlOperation] {
    let map = RegisterMap.of(.shim)
    let place = transfer.place
    let address = place.tile.address(map.descriptor(index))
    let descriptor = BufferDescriptor(
      base: 0,
      length: transfer.words,
      dimensions: transfer.dimensions,
      iteration: transfer.iteration
    )
    let isOutput = place.direction == .intoMemory
    let task = QueuedTask(index, repeats: transfer.iteration?.count ?? 1, issuesToken: isOutput)
    let controller = ControlOperation.maskedWrite(
      address: place.tile.address(map.control(.intoMemory, place.channel)),
      mask: Connection.tokenController.mask,
      value: Connection.tokenController.value
    )
    let patch = ControlOperation.patch(
      address: address + 4,
      argument: transfer.argument,
      offset: UInt32(truncatingIfNeeded: transfer.offset)
    )
    let queue = place.tile.address(map.queue(place.direction, place.channel))
    return try [.block(address: address, words: descriptor.words(in: .shim)), patch]
      + (isOutput && namesController ? [controller] : [])
      + [.write(address: queue, value: task.word())]
  }

  private static func wait(for place: ChannelPlace) -> ControlOperation {
    .wait(
      place.direction,
      column: place.tile.column,
      row: place.tile.row,
      channel: place.channel,
      columns: 1,
      rows: 1
    )
  }
}
