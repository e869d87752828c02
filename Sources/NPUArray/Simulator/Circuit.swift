// Which channels a stream leads to: the switches followed from tile to tile.

/// A stream from one channel to one or more others.
struct Circuit: Sendable {
  var source: ChannelPlace
  var sinks: [ChannelPlace]

  /// Finds where the words of a channel go.
  ///
  /// - Throws: `NPUError.operand` for a wire that ends nowhere, or a circle.
  init(from source: ChannelPlace, in tiles: [Tile: SimulatedTile]) throws(NPUError) {
    self.source = source
    var sinks: [ChannelPlace] = []
    guard let first = tiles[source.tile], let port = Self.slave(of: source, first) else {
      self.sinks = []
      return
    }
    var seen: Set<Connection> = []
    var waiting = [(tile: source.tile, slave: port)]
    while let (tile, slave) = waiting.popLast() {
      guard let state = tiles[tile] else { continue }
      let ports = SwitchPorts.of(tile.kind)
      guard let index = ports.slaves.firstIndex(of: slave) else { continue }
      let fed = state.masters.filter { $0.value == index }.keys.sorted()
      guard fed.isEmpty || state.slaves.contains(index) else {
        throw NPUError(.operand, "slave port \(slave) feeds others and is not on", at: "\(tile)")
      }
      for master in fed.map({ ports.masters[$0] }) {
        guard seen.insert(Connection(tile, slave, master)).inserted else {
          throw NPUError(.operand, "a stream goes in a circle", at: "\(tile)")
        }
        if let channel = Self.channel(behind: master, state) {
          sinks.append(ChannelPlace(tile: tile, direction: .intoMemory, channel: channel))
        } else if let next = master.side.neighbour {
          let place = Tile(tile.column + next.column, tile.row + next.row)
          let wire = Port(next.side, master.index)
          guard tiles[place] != nil, SwitchPorts.of(place.kind).slaves.contains(wire) else {
            throw NPUError(.operand, "master port \(master) leads out of the array", at: "\(tile)")
          }
          waiting.append((place, wire))
        } else {
          throw NPUError(.operand, "master port \(master) leads to no channel", at: "\(tile)")
        }
      }
    }
    self.sinks = sinks.sorted { ($0.tile, $0.channel) < ($1.tile, $1.channel) }
  }

  /// The port of a switch that a channel's words come in by; nil if nothing joins them.
  private static func slave(of source: ChannelPlace, _ state: SimulatedTile) -> Port? {
    guard source.tile.kind == .shim else { return Port(.dma, source.channel) }
    let join = Connection.shimPort(.outOfMemory, source.channel)
    return state.mux & join.mask == join.value ? join.port : nil
  }

  /// The channel that a master port leads to; nil if it leads to a wire.
  private static func channel(behind master: Port, _ state: SimulatedTile) -> Int? {
    if master.side == .dma { return master.index }
    guard state.tile.kind == .shim else { return nil }
    return (0..<2).first { channel in
      let join = Connection.shimPort(.intoMemory, channel)
      return join.port == master && state.demux & join.mask == join.value
    }
  }
}
