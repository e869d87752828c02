// Stream switches: which port of a tile feeds which others, and which wires lead to the neighbours.
//
// Each tile has one switch. Streams come into it at slave ports and leave it at master ports; a slave may feed
// several masters, which is a broadcast. Sources: Xilinx/mlir-aie, aie_registers_aie2.json; the writes of published
// designs.

/// A port of a switch.
package struct Port: Sendable, Hashable, CustomStringConvertible {
  package enum Side: String, Sendable, Hashable, CaseIterable {
    case core, dma, control, fifo, south, west, north, east, trace
  }

  package var side: Side
  package var index: Int

  package init(_ side: Side, _ index: Int = 0) {
    self.side = side
    self.index = index
  }

  package var description: String { "\(side.rawValue.uppercased())\(index)" }
}

/// Which ports a switch has, in the order of their numbers.
package struct SwitchPorts: Sendable {
  package let masters: [Port]
  package let slaves: [Port]

  private init(masters: [(Port.Side, Int)], slaves: [(Port.Side, Int)]) {
    func ports(_ groups: [(Port.Side, Int)]) -> [Port] {
      groups.flatMap { side, count in (0..<count).map { Port(side, $0) } }
    }
    self.masters = ports(masters)
    self.slaves = ports(slaves)
  }

  package static func of(_ kind: Tile.Kind) -> SwitchPorts {
    switch kind {
    case .core: core
    case .memory: memory
    case .shim: shim
    }
  }

  private static let core = SwitchPorts(
    masters: [
      (.core, 1), (.dma, 2), (.control, 1), (.fifo, 1), (.south, 4), (.west, 4), (.north, 6),
      (.east, 4),
    ],
    slaves: [
      (.core, 1), (.dma, 2), (.control, 1), (.fifo, 1), (.south, 6), (.west, 4), (.north, 4),
      (.east, 4), (.trace, 2),
    ]
  )
  private static let memory = SwitchPorts(
    masters: [(.dma, 6), (.control, 1), (.south, 4), (.north, 6)],
    slaves: [(.dma, 6), (.control, 1), (.south, 6), (.north, 4), (.trace, 1)]
  )
  private static let shim = SwitchPorts(
    masters: [(.control, 1), (.fifo, 1), (.south, 6), (.west, 4), (.north, 6), (.east, 4)],
    slaves: [
      (.control, 1), (.fifo, 1), (.south, 8), (.west, 4), (.north, 4), (.east, 4), (.trace, 1),
    ]
  )
}

extension Port.Side {
  /// Where a wire from this side of a tile leads: the next tile, and its side.
  package var neighbour: (column: Int, row: Int, side: Port.Side)? {
    switch self {
    case .south: (0, -1, .north)
    case .north: (0, 1, .south)
    case .west: (-1, 0, .east)
    case .east: (1, 0, .west)
    case .core, .dma, .control, .fifo, .trace: nil
    }
  }
}

/// A circuit through one switch: a slave that feeds a master.
package struct Connection: Sendable, Hashable, CustomStringConvertible {
  package var tile: Tile
  package var from: Port
  package var to: Port

  package init(_ tile: Tile, _ from: Port, _ to: Port) {
    self.tile = tile
    self.from = from
    self.to = to
  }

  package var description: String { "\(tile): \(from) to \(to)" }

  private static let enabled: UInt32 = 0x8000_0000

  /// The writes that make it, as addresses and values.
  ///
  /// - Throws: `NPUError.operand` if the tile has no such port.
  package func writes() throws(NPUError) -> [(address: UInt32, value: UInt32)] {
    let ports = SwitchPorts.of(tile.kind)
    let map = RegisterMap.of(tile.kind)
    guard let slave = ports.slaves.firstIndex(of: from) else {
      throw NPUError(.operand, "no slave port \(from)", at: "\(tile)")
    }
    guard let master = ports.masters.firstIndex(of: to) else {
      throw NPUError(.operand, "no master port \(to)", at: "\(tile)")
    }
    return [
      (tile.address(map.masters + 4 * UInt32(master)), Self.enabled | UInt32(slave)),
      (tile.address(map.slaves + 4 * UInt32(slave)), Self.enabled),
    ]
  }

  /// What joins the channels of a shim to its switch, as offsets, masks and values.
  ///
  /// The switch of a shim has no ports for channels: some of its southern ones lead to them.
  package static func shimPort(
    _ direction: Direction,
    _ channel: Int
  ) -> (port: Port, offset: UInt32, mask: UInt32, value: UInt32) {
    switch direction {
    case .outOfMemory:
      let shift = UInt32(channel == 0 ? 10 : 14)
      return (Port(.south, channel == 0 ? 3 : 7), RegisterMap.mux, 3 << shift, 1 << shift)
    case .intoMemory:
      let shift = UInt32(channel == 0 ? 4 : 6)
      return (Port(.south, channel == 0 ? 2 : 3), RegisterMap.demux, 3 << shift, 1 << shift)
    }
  }

  /// The writes by which the tokens of a shim's finished tasks reach the controller, as offsets and values.
  ///
  /// They come out of the control port as packets. Identical in all published designs.
  package static let tokenRoute: [(offset: UInt32, value: UInt32)] = [
    (0x3F008, 0xC000_0045), (0x3F100, 0xC000_0000), (0x3F200, 0x0F1F_0135),
  ]
  /// The controller that tokens name, in the control register of a channel.
  package static let tokenController: (mask: UInt32, value: UInt32) = (0x1F00, 0x0F00)
}

/// A word of a channel's queue: a task.
package struct QueuedTask: Sendable, Hashable {
  /// Its first descriptor.
  package var descriptor: Int
  /// How often it is done.
  package var repeats: Int
  /// Whether its end is told.
  package var issuesToken: Bool

  package init(_ descriptor: Int, repeats: Int = 1, issuesToken: Bool = false) {
    self.descriptor = descriptor
    self.repeats = repeats
    self.issuesToken = issuesToken
  }

  /// The bits that have a meaning.
  static let fields: UInt32 = 0x80FF_003F

  /// - Throws: `NPUError.operand` for more repetitions than a task can have.
  package func word() throws(NPUError) -> UInt32 {
    guard (1...256).contains(repeats), (0..<64).contains(descriptor) else {
      throw NPUError(.operand, "a task of descriptor \(descriptor), \(repeats) times")
    }
    return (issuesToken ? 1 << 31 : 0) | UInt32(repeats - 1) << 16 | UInt32(descriptor)
  }

  package init(word: UInt32) {
    self.init(
      Int(word & 63),
      repeats: Int(word >> 16 & 0xFF) + 1,
      issuesToken: word >> 31 == 1
    )
  }
}
