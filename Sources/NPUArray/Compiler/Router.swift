// Finds ways for streams through the switches, without taking a port that another stream has.

/// Ways through the switches of an array.
struct Router {
  /// The stream that has each port, by the number of the stream.
  private var masters: [Tile: [Port: Int]] = [:]
  private var slaves: [Tile: [Port: Int]] = [:]
  private(set) var connections: [Connection] = []

  private struct Step {
    var tile: Tile
    var slave: Port
    /// The connections that lead here.
    var way: [Connection]
  }

  private struct Arrival: Hashable {
    var tile: Tile
    var wire: Port
  }

  /// Adds a stream.
  ///
  /// - Throws: `NPUError.operand` if an end of it is taken, or if there is no way to one.
  mutating func add(_ stream: DesignStream, number: Int) throws(NPUError) {
    let source = stream.source
    let start =
      source.tile.kind == .shim
      ? Connection.shimPort(.outOfMemory, source.channel).port : Port(.dma, source.channel)
    guard take(source.tile, start, number) else {
      throw NPUError(.operand, "\(source) feeds two streams")
    }
    for sink in stream.sinks {
      let end =
        sink.tile.kind == .shim
        ? Connection.shimPort(.intoMemory, sink.channel).port : Port(.dma, sink.channel)
      guard let way = way(from: source.tile, start, to: sink.tile, end, number) else {
        throw NPUError(.operand, "no way is free from \(source) to \(sink)")
      }
      for connection in way where !connections.contains(connection) {
        connections.append(connection)
        _ = take(connection.tile, connection.from, number)
        masters[connection.tile, default: [:]][connection.to] = number
      }
    }
  }

  /// Gives a slave port to a stream, or returns false if another has it.
  private mutating func take(_ tile: Tile, _ slave: Port, _ number: Int) -> Bool {
    if let owner = slaves[tile]?[slave], owner != number { return false }
    slaves[tile, default: [:]][slave] = number
    return true
  }

  /// The shortest way to a port, over ports that are free or this stream's own.
  private func way(
    from tile: Tile,
    _ start: Port,
    to goal: Tile,
    _ end: Port,
    _ number: Int
  ) -> [Connection]? {
    var seen: Set<Arrival> = []
    var waiting = [Step(tile: tile, slave: start, way: [])]
    var next = 0
    while next < waiting.count {
      let step = waiting[next]
      next += 1
      if step.tile == goal, isFree(goal, end, number, from: step.slave) {
        return step.way + [Connection(goal, step.slave, end)]
      }
      for master in SwitchPorts.of(step.tile.kind).masters {
        guard let neighbour = master.side.neighbour,
          isFree(step.tile, master, number, from: step.slave)
        else { continue }
        let place = Tile(step.tile.column + neighbour.column, step.tile.row + neighbour.row)
        let wire = Port(neighbour.side, master.index)
        guard (0..<Tile.columns).contains(place.column), (0..<Tile.rows).contains(place.row),
          SwitchPorts.of(place.kind).slaves.contains(wire),
          slaves[place]?[wire].map({ $0 == number }) ?? true
        else { continue }
        let connection = Connection(step.tile, step.slave, master)
        guard seen.insert(Arrival(tile: place, wire: wire)).inserted else { continue }
        waiting.append(Step(tile: place, slave: wire, way: step.way + [connection]))
      }
    }
    return nil
  }

  /// Whether a slave may feed a master port: nothing does, or the same slave does already.
  private func isFree(_ tile: Tile, _ master: Port, _ number: Int, from slave: Port) -> Bool {
    // The tokens of shims leave by this port.
    if tile.kind == .shim, master == Port(.south, 0) { return false }
    guard let owner = masters[tile]?[master] else { return true }
    return owner == number && connections.contains(Connection(tile, slave, master))
  }
}
