// The first designs to try on an array: words that pass through, and words that cores copy.
//
// What comes out is itself the mark of how far they have come: each word that the machine finds has passed everything.

package enum BringUp {
  /// From the shim of a column through its memory tile and back, without a core.
  ///
  /// - Parameters:
  ///   - column: The column.
  ///   - words: Words of a copy of the buffer; calls move multiples of them.
  ///   - dimensions: The order in which they leave; none for that in which they came.
  /// - Returns: The design.
  package static func passThrough(
    column: Int,
    words: Int,
    dimensions: [Dimension] = []
  ) -> Design {
    let (shim, memory) = (Tile(column, 0), Tile(column, 1))
    let buffer = DesignBuffer(memory, "b", words: words)
    var design = Design()
    design.transfers = [
      DesignTransfer(.intoMemory, 0, buffer),
      DesignTransfer(.outOfMemory, 0, buffer, dimensions: dimensions),
    ]
    design.streams = [
      DesignStream(ChannelPlace(shim, .outOfMemory), [ChannelPlace(memory, .intoMemory)]),
      DesignStream(ChannelPlace(memory, .outOfMemory), [ChannelPlace(shim, .intoMemory)]),
    ]
    return design
  }

  /// Cores that all get the same words and copy them; each result leaves by the shim of its core's column.
  ///
  /// - Parameters:
  ///   - column: Where the words come in.
  ///   - cores: At most two of a column; the first of a column leaves by channel 0 of its shim, the next by channel 1.
  ///   - words: Words of a copy of each buffer, a multiple of 8.
  ///   - copies: Copies of each buffer in memory tiles.
  ///   - kernel: The source of the cores' program, `copy.aie2s`.
  /// - Returns: The design.
  /// - Throws: `NPUError.operand` for words that are no multiple of 8, or more cores of a column than its shim has channels.
  package static func copies(
    column: Int,
    cores: [Tile],
    words: Int,
    copies: Int = 2,
    kernel: String
  ) throws(NPUError) -> Design {
    guard words > 0, words.isMultiple(of: 8) else {
      throw NPUError(.operand, "\(words) words of a copy; cores copy 8 at a time")
    }
    let counts = Dictionary(grouping: cores, by: \.column).mapValues(\.count)
    guard let most = counts.values.max(), most <= RegisterMap.of(.shim).channelCount else {
      throw NPUError(.operand, "no core, or more than two of a column")
    }
    let (shim, memory) = (Tile(column, 0), Tile(column, 1))
    let input = DesignBuffer(memory, "input", words: words, copies: copies)
    var design = Design()
    design.transfers = [
      DesignTransfer(.intoMemory, 0, input), DesignTransfer(.outOfMemory, 0, input),
    ]
    design.streams = [
      DesignStream(ChannelPlace(shim, .outOfMemory), [ChannelPlace(memory, .intoMemory)]),
      DesignStream(ChannelPlace(memory, .outOfMemory), cores.map { ChannelPlace($0, .intoMemory) }),
    ]
    var used: [Int: Int] = [:]
    for core in cores {
      let channel = used[core.column, default: 0]
      used[core.column] = channel + 1
      let into = DesignBuffer(core, "into", words: words, copies: 1)
      let out = DesignBuffer(core, "out", words: words, copies: 1)
      design.programs.append(
        DesignProgram(
          core,
          kernel,
          name: "copy",
          symbols: ["vectors": words / 8],
          fills: [out],
          drains: [into]
        )
      )
      let tile = Tile(core.column, 1)
      let output = DesignBuffer(tile, "output\(core.row)", words: words, copies: copies)
      // The first channel of the memory tile may be the input's.
      design.transfers += [
        DesignTransfer(.intoMemory, 0, into), DesignTransfer(.outOfMemory, 0, out),
        DesignTransfer(.intoMemory, channel + 1, output),
        DesignTransfer(.outOfMemory, channel + 1, output),
      ]
      design.streams += [
        DesignStream(
          ChannelPlace(core, .outOfMemory),
          [ChannelPlace(tile, .intoMemory, channel + 1)]
        ),
        DesignStream(
          ChannelPlace(tile, .outOfMemory, channel + 1),
          [ChannelPlace(Tile(core.column, 0), .intoMemory, channel)]
        ),
      ]
    }
    return design
  }
}
