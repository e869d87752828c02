// A design as a value: buffers in tiles, the channels that fill and drain them, streams between channels, programs of
// cores. It says what there is; the compiler decides where (DesignCompiler.swift).

/// A part of a tile's memory that no lock guards.
package struct DesignArea: Sendable, Hashable {
  package var tile: Tile
  package var name: String
  /// Words of 32 bits.
  package var words: Int
  /// What the configuration writes there; nothing if it is empty.
  package var contents: [UInt32]

  package init(_ tile: Tile, _ name: String, words: Int, contents: [UInt32] = []) {
    self.tile = tile
    self.name = name
    self.words = words
    self.contents = contents
  }
}

/// A part of a tile's memory that words pass through, as several copies that are used by turns.
///
/// Two locks pace it: `empty` counts copies that may be filled, `full` those that may be drained.
package struct DesignBuffer: Sendable, Hashable {
  package var tile: Tile
  package var name: String
  /// Words of 32 bits of one copy.
  package var words: Int
  package var copies: Int
  /// Of a core: the bank of memory of each copy, none for any.
  ///
  /// A core loses a cycle where two instructions of a bundle use one bank.
  package var banks: [Int]

  /// Bytes that the first word of a copy is a multiple of: those of half a vector.
  static let alignment = 32

  package init(_ tile: Tile, _ name: String, words: Int, copies: Int = 2, banks: [Int] = []) {
    self.tile = tile
    self.name = name
    self.words = words
    self.copies = copies
    self.banks = banks
  }
}

/// Words that tell the machine how far an array has come: sent by a channel of their own, each time that a transfer
/// has half of a copy behind it.
package struct DesignMark: Sendable, Hashable {
  /// The words, in the tile of the transfer.
  package var area: DesignArea
  /// The channel out of memory that sends them.
  package var channel: Int

  package init(_ area: DesignArea, channel: Int) {
    self.area = area
    self.channel = channel
  }
}

/// A channel that fills or drains buffers by turns, copy by copy, for ever or as calls say.
package struct DesignTransfer: Sendable, Hashable {
  /// Of the buffer's tile; its direction says whether the buffer is filled or drained.
  package var channel: Int
  package var direction: Direction
  /// In one tile, of as many copies and words each.
  package var buffers: [DesignBuffer]
  /// The order of the words in the buffer; none for one after the other.
  package var dimensions: [Dimension]
  /// Whether each call has descriptors and tasks of its own for it.
  package var isPerCall = false
  /// What it tells; its words must lie one after the other.
  package var mark: DesignMark?

  package init(
    _ direction: Direction,
    _ channel: Int,
    _ buffer: DesignBuffer,
    dimensions: [Dimension] = []
  ) {
    self.init(direction, channel, [buffer], dimensions: dimensions)
  }

  package init(
    _ direction: Direction,
    _ channel: Int,
    _ buffers: [DesignBuffer],
    dimensions: [Dimension] = []
  ) {
    self.direction = direction
    self.channel = channel
    self.buffers = buffers
    self.dimensions = dimensions
  }
}

/// A stream from one channel to one or more others.
package struct DesignStream: Sendable, Hashable {
  package var source: ChannelPlace
  package var sinks: [ChannelPlace]

  package init(_ source: ChannelPlace, _ sinks: [ChannelPlace]) {
    self.source = source
    self.sinks = sinks
  }
}

/// A program of a core, and the buffers that it uses: those that it fills, and those that it drains.
package struct DesignProgram: Sendable {
  package var tile: Tile
  /// Assembly.
  ///
  /// For a buffer `a` it can refer to the addresses `a_0`, `a_1` … of its copies as the core sees them, and
  /// to its locks `a_empty` and `a_full`; for an area to its address by its name.
  package var source: String
  package var name: String
  package var symbols: Symbols
  package var fills: [DesignBuffer]
  package var drains: [DesignBuffer]
  /// Memory that it uses without locks.
  package var areas: [DesignArea]

  package init(
    _ tile: Tile,
    _ source: String,
    name: String,
    symbols: Symbols = [:],
    fills: [DesignBuffer] = [],
    drains: [DesignBuffer] = [],
    areas: [DesignArea] = []
  ) {
    self.tile = tile
    self.source = source
    self.name = name
    self.symbols = symbols
    self.fills = fills
    self.drains = drains
    self.areas = areas
  }
}

/// What an array is to do.
package struct Design: Sendable {
  package var transfers: [DesignTransfer] = []
  package var streams: [DesignStream] = []
  package var programs: [DesignProgram] = []

  package init() {}

  /// All buffers, in the order in which they are named first.
  var buffers: [DesignBuffer] {
    let all =
      transfers.flatMap(\.buffers) + programs.flatMap { $0.drains + $0.fills }
    var seen: Set<DesignBuffer> = []
    return all.filter { seen.insert($0).inserted }
  }

  /// All areas, in the order in which they are named first.
  var areas: [DesignArea] {
    let all = programs.flatMap(\.areas) + transfers.compactMap { $0.mark?.area }
    var seen: Set<DesignArea> = []
    return all.filter { seen.insert($0).inserted }
  }
}
