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

package enum HostCall {
  /// The operations of a call: all transfers are begun in their order, and those out of the array are waited for.
  ///
  /// - Parameter transfers: The transfers; those of one channel follow each other.
  /// - Returns: The operations.
  /// - Throws: `NPUError.operand` for more transfers of a column than it has descriptors, or of a channel than its
  ///   queue holds, or if a walk does not fit a descriptor.
  package static func operations(
    for transfers: [HostTransfer]
  ) throws(NPUError) -> [ControlOperation] {
    let map = RegisterMap.of(.shim)
    var operations: [ControlOperation] = []
    var waits: [ControlOperation] = []
    var used: [Int: Int] = [:]
    var queued: [ChannelPlace: Int] = [:]
    for transfer in transfers {
      let tile = transfer.place.tile
      let index = used[tile.column, default: 0]
      used[tile.column] = index + 1
      queued[transfer.place, default: 0] += 1
      // To write one again while it is under way wedges a real array.
      guard index < map.descriptorCount else {
        throw NPUError(
          .operand,
          "more than \(map.descriptorCount) transfers in one call",
          at: "\(tile)"
        )
      }
      guard queued[transfer.place, default: 0] <= SimulatedChannel.queueDepth else {
        throw NPUError(
          .operand,
          "more than \(SimulatedChannel.queueDepth) transfers of \(transfer.place) in one call",
          at: "\(tile)"
        )
      }
      let descriptor = BufferDescriptor(
        base: 0,
        length: transfer.words,
        dimensions: transfer.dimensions,
        iteration: transfer.iteration
      )
      let address = tile.address(map.descriptor(index))
      operations += [
        .block(address: address, words: try descriptor.words(in: .shim)),
        .patch(
          address: address + 4,
          argument: transfer.argument,
          offset: UInt32(truncatingIfNeeded: transfer.offset)
        ),
      ]
      let isOutput = transfer.place.direction == .intoMemory
      if isOutput, queued[transfer.place] == 1 {
        operations.append(
          .maskedWrite(
            address: tile.address(map.control(.intoMemory, transfer.place.channel)),
            mask: Connection.tokenController.mask,
            value: Connection.tokenController.value
          )
        )
      }
      let task = QueuedTask(index, repeats: transfer.iteration?.count ?? 1, issuesToken: isOutput)
      operations.append(
        .write(
          address: tile.address(map.queue(transfer.place.direction, transfer.place.channel)),
          value: try task.word()
        )
      )
      guard isOutput else { continue }
      waits.append(
        .wait(
          .intoMemory,
          column: tile.column,
          row: 0,
          channel: transfer.place.channel,
          columns: 1,
          rows: 1
        )
      )
    }
    return operations + waits
  }
}
