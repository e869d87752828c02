// A channel of a tile, as an end of a stream.

/// An end of a stream.
package struct ChannelPlace: Sendable, Hashable, Comparable, CustomStringConvertible {
  package var tile: Tile
  package var direction: Direction
  package var channel: Int

  package init(tile: Tile, direction: Direction, channel: Int) {
    self.tile = tile
    self.direction = direction
    self.channel = channel
  }

  init(_ tile: Tile, _ direction: Direction, _ channel: Int = 0) {
    self.init(tile: tile, direction: direction, channel: channel)
  }

  package var description: String { "\(direction) \(channel) of \(tile)" }

  package static func < (a: Self, b: Self) -> Bool {
    (a.tile, a.direction == .outOfMemory ? 1 : 0, a.channel)
      < (b.tile, b.direction == .outOfMemory ? 1 : 0, b.channel)
  }
}
