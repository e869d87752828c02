// Designs: compiled, run in the simulated array, and refused where they are wrong.

import TestSupport
import Testing

@testable import NPUArray

@Suite struct Designs {
  private func place(_ tile: Tile, _ direction: Direction, _ channel: Int = 0) -> ChannelPlace {
    ChannelPlace(tile: tile, direction: direction, channel: channel)
  }

  /// From the shim of a column through its memory tile and back, tile by tile from rows.
  private func passThrough(_ column: Int, words: Int, dimensions: [Dimension] = []) -> Design {
    let (shim, memory) = (Tile(column, 0), Tile(column, 1))
    let buffer = DesignBuffer(memory, "b", words: words)
    var design = Design()
    design.transfers = [
      DesignTransfer(.intoMemory, 0, buffer),
      DesignTransfer(.outOfMemory, 0, buffer, dimensions: dimensions),
    ]
    design.streams = [
      DesignStream(place(shim, .outOfMemory), [place(memory, .intoMemory)]),
      DesignStream(place(memory, .outOfMemory), [place(shim, .intoMemory)]),
    ]
    return design
  }

  /// Cores of a column that get the same words and copy them; each result leaves by another shim.
  private func broadcast(words: Int, rows: ClosedRange<Int>) throws -> Design {
    let (shim, memory) = (Tile(1, 0), Tile(1, 1))
    let input = DesignBuffer(memory, "input", words: words)
    var design = Design()
    design.transfers = [
      DesignTransfer(.intoMemory, 0, input), DesignTransfer(.outOfMemory, 0, input),
    ]
    design.streams = [DesignStream(place(shim, .outOfMemory), [place(memory, .intoMemory)])]
    var sinks: [ChannelPlace] = []
    for row in rows {
      let core = Tile(1, row)
      let into = DesignBuffer(core, "into", words: words, copies: 1)
      let out = DesignBuffer(core, "out", words: words, copies: 1)
      design.programs.append(
        DesignProgram(
          core,
          try NPUKernels.source("copy"),
          name: "copy",
          symbols: ["vectors": words / 8],
          fills: [out],
          drains: [into]
        )
      )
      let output = DesignBuffer(memory, "output\(row)", words: words)
      let channel = row - rows.lowerBound + 1
      design.transfers += [
        DesignTransfer(.intoMemory, 0, into), DesignTransfer(.outOfMemory, 0, out),
        DesignTransfer(.intoMemory, channel, output), DesignTransfer(.outOfMemory, channel, output),
      ]
      sinks.append(place(core, .intoMemory))
      design.streams += [
        DesignStream(place(core, .outOfMemory), [place(memory, .intoMemory, channel)]),
        // Each goes out by a shim of its own.
        DesignStream(
          place(memory, .outOfMemory, channel),
          [place(Tile(channel, 0), .intoMemory)]
        ),
      ]
    }
    design.streams.append(DesignStream(place(memory, .outOfMemory), sinks))
    return design
  }

  private func words(_ count: Int) -> [UInt32] {
    var random = SeededRandom(UInt64(count))
    return (0..<count).map { _ in .random(in: .min ... .max, using: &random) }
  }

  @Test(arguments: [0, 1, 2, 3]) func `words pass through a memory tile`(_ column: Int) throws {
    let array = SimulatedArray()
    try array.configure(try passThrough(column, words: 128).compiled().image)
    let words = words(128 * 6)
    var arguments = [HostBuffer(words), HostBuffer(count: words.count)]
    let call = try HostCall.operations(for: [
      HostTransfer(.outOfMemory, column: column, argument: 0, words: words.count),
      HostTransfer(.intoMemory, column: column, argument: 1, words: words.count),
    ])
    try array.call(ControlCode.words(of: call), &arguments)
    #expect(arguments[1].words == words)
  }

  @Test func `rows become tiles on the way`() throws {
    // Blocks of 16 rows of 64 bytes, as tiles of 4 x 8 bytes; two blocks.
    let walk = [Dimension(2, 1), Dimension(4, 16), Dimension(8, 2), Dimension(nil, 64)]
    let array = SimulatedArray()
    try array.configure(try passThrough(0, words: 256, dimensions: walk).compiled().image)
    let words = words(512)
    var arguments = [HostBuffer(words), HostBuffer(count: 512)]
    let call = try HostCall.operations(for: [
      HostTransfer(.outOfMemory, column: 0, argument: 0, words: 256, iteration: Iteration(2, 256)),
      HostTransfer(.intoMemory, column: 0, argument: 1, words: 512),
    ])
    try array.call(ControlCode.words(of: call), &arguments)
    var next = 0
    for block in 0..<2 {
      for tileRow in 0..<4 {
        for tile in 0..<8 {
          for row in 0..<4 {
            for word in 0..<2 {
              let place = block * 256 + (tileRow * 4 + row) * 16 + tile * 2 + word
              #expect(arguments[1].words[next] == words[place])
              next += 1
            }
          }
        }
      }
    }
  }

  @Test func `words are broadcast to cores, whose results leave by other columns`() throws {
    let design = try broadcast(words: 64, rows: 2...4)
    let compiled = try design.compiled()
    #expect(compiled.programs.count == 3)
    let array = SimulatedArray()
    try array.configure(compiled.image)
    let words = words(64 * 4)
    var arguments = [HostBuffer(words)] + (0..<3).map { _ in HostBuffer(count: words.count) }
    var transfers = [HostTransfer(.outOfMemory, column: 1, argument: 0, words: words.count)]
    for channel in 1...3 {
      transfers.append(
        HostTransfer(.intoMemory, column: channel, argument: channel, words: words.count)
      )
    }
    let call = try HostCall.operations(for: transfers)
    try array.call(ControlCode.words(of: call), &arguments)
    for output in arguments.dropFirst() { #expect(output.words == words) }
  }

  @Test func `no port has two streams`() throws {
    let connections = try broadcast(words: 64, rows: 2...4).compiled().connections
    let masters = connections.map { "\($0.tile) \($0.to)" }
    #expect(Set(masters).count == masters.count && masters.count > 12)
  }

  private func refusal(_ change: (inout Design) throws -> Void) throws -> String {
    var design = passThrough(0, words: 64)
    try change(&design)
    do throws(NPUError) {
      _ = try design.compiled()
      return "it was compiled"
    } catch {
      return "\(error)"
    }
  }

  /// What is wrong, in words, and what makes it so.
  private var faults: [(String, (inout Design) throws -> Void)] {
    let memory = Tile(0, 1)
    let other = DesignBuffer(memory, "other", words: 64)
    return [
      ("buffer b is filled by 1 and drained by 0", { $0.transfers.removeLast() }),
      (
        "S2MM 0 of memory tile (0, 1) has two buffers",
        { $0.transfers.append(DesignTransfer(.intoMemory, 0, other)) }
      ),
      ("no stream leads to or from", { $0.streams.removeLast() }),
      (
        "has a stream and no buffer",
        { design in
          let free = self.place(memory, .outOfMemory, 3)
          design.streams.append(DesignStream(free, [self.place(Tile(1, 0), .intoMemory)]))
        }
      ),
      ("two streams to S2MM 0 of shim tile (0, 0)", { $0.streams.append($0.streams[1]) }),
      ("cannot pass a buffer", { $0.transfers[0].channel = 6 }),
      (
        "of 524288",
        { design in
          let large = DesignBuffer(memory, "b", words: 70_000)
          for index in 0..<2 { design.transfers[index].buffers = [large] }
        }
      ),
      (
        "leaves it or meets word",
        { $0.transfers[1].dimensions = [Dimension(8, 2), Dimension(nil, 8)] }
      ),
      ("leaves it or meets word", { $0.transfers[1].dimensions = [Dimension(nil, 2)] }),
      (
        "more than 24 descriptors",
        { design in
          let many = DesignBuffer(memory, "b", words: 4, copies: 25)
          for index in 0..<2 { design.transfers[index].buffers = [many] }
        }
      ),
      (
        "is in another tile",
        { design in
          design.programs = [DesignProgram(Tile(0, 2), "done", name: "p", fills: [other])]
        }
      ),
      ("has no core of its own", { $0.programs = [DesignProgram(memory, "done", name: "p")] }),
      (
        "p:1: no instruction is called fly",
        { $0.programs = [DesignProgram(Tile(0, 2), "fly", name: "p")] }
      ),
      (
        "p for core tile (0, 2): bundle 1, line 2: add reads r1",
        { design in
          design.programs = [
            DesignProgram(Tile(0, 2), "lda r1, [p0, #4]\nadd r2, r1, r3\ndone", name: "p")
          ]
        }
      ),
      ("a stream from S2MM", { $0.streams[0].source.direction = .intoMemory }),
    ]
  }

  @Test func `what cannot work is refused by the tile at fault`() throws {
    for (words, change) in faults {
      let message = try refusal(change)
      #expect(message.contains(words), "\(words): \(message)")
    }
  }

  @Test func `calls that would wedge an array are refused`() {
    let transfer = HostTransfer(.intoMemory, column: 0, argument: 0, words: 4)
    #expect(throws: NPUError.self) {
      try HostCall.operations(for: Array(repeating: transfer, count: 5))
    }
    var many: [HostTransfer] = []
    for direction in Direction.allCases {
      for channel in 0..<2 {
        let one = HostTransfer(direction, column: 0, channel: channel, argument: 0, words: 4)
        many += Array(repeating: one, count: 4)
      }
    }
    #expect((try? HostCall.operations(for: many)) != nil)
    #expect(throws: NPUError.self) {
      try HostCall.operations(
        for: many + [HostTransfer(.intoMemory, column: 0, argument: 0, words: 4)]
      )
    }
  }
}
