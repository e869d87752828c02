// A channel of a tile, as an end of a stream.

/// An end of a stream.
package struct ChannelPlace: Sendable, Hashable, CustomStringConvertible {
  package var tile: Tile
  package var direction: Direction
  package var channel: Int

  package init(tile: Tile, direction: Direction, channel: Int) {
    self.tile = tile
    self.direction = direction
    self.channel = channel
  }

  package var description: String { "\(direction) \(channel) of \(tile)" }
}
