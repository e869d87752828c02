// Designs: compiled, run in the simulated array, and refused where they are wrong.

import TestSupport
import Testing

@testable import NPUArray

@Suite struct Designs {
  private func place(_ tile: Tile, _ direction: Direction, _ channel: Int = 0) -> ChannelPlace {
    ChannelPlace(tile: tile, direction: direction, channel: channel)
  }

  /// Cores that copy, and a call that sends words and takes what each has made of them.
  private func copies(
    _ column: Int,
    _ cores: [Tile],
    words: Int,
    copies: Int = 2,
    total: Int
  ) throws -> (design: CompiledDesign, code: [UInt32]) {
    let design = try BringUp.copies(
      column: column,
      cores: cores,
      words: words,
      copies: copies,
      kernel: try NPUKernels.source("copy")
    )
    var transfers = [HostTransfer(.outOfMemory, column: column, argument: 0, words: total)]
    var used: [Int: Int] = [:]
    for (index, core) in cores.enumerated() {
      let channel = used[core.column, default: 0]
      used[core.column] = channel + 1
      transfers.append(
        HostTransfer(
          .intoMemory,
          column: core.column,
          channel: channel,
          argument: index + 1,
          words: total
        )
      )
    }
    let code = ControlCode.words(of: try HostCall.operations(for: transfers))
    return (try design.compiled(), code)
  }

  private func words(_ count: Int) -> [UInt32] {
    var random = SeededRandom(UInt64(count))
    return (0..<count).map { _ in .random(in: .min ... .max, using: &random) }
  }

  @Test(arguments: [0, 1, 2, 3]) func `words pass through a memory tile`(_ column: Int) throws {
    let array = SimulatedArray()
    try array.configure(try BringUp.passThrough(column: column, words: 128).compiled().image)
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
    try array.configure(
      try BringUp.passThrough(column: 0, words: 256, dimensions: walk).compiled().image
    )
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

  @Test func `random cores get the same words, in one way or another`() throws {
    var random = SeededRandom(15)
    for _ in 0..<40 {
      let all = (0..<4).flatMap { column in
        (2..<6).map { Tile(column, $0) }.shuffled(using: &random).prefix(2)
      }
      let cores = Array(all.shuffled(using: &random).prefix(.random(in: 1...8, using: &random)))
      let size = 8 * Int.random(in: 4...60, using: &random)
      let total = size * Int.random(in: 1...6, using: &random)
      let (design, code) = try copies(
        .random(in: 0..<4, using: &random),
        cores,
        words: size,
        copies: .random(in: 1...3, using: &random),
        total: total
      )
      // No port has two streams, and no wire either.
      let masters = design.connections.map { "\($0.tile) \($0.to)" }
      #expect(Set(masters).count == masters.count && design.programs.count == cores.count)
      let array = SimulatedArray(pattern: .random(in: 0...255, using: &random))
      try array.configure(design.image)
      let words = words(total)
      var arguments = [HostBuffer(words)] + cores.map { _ in HostBuffer(count: total) }
      try array.call(code, &arguments)
      for (core, output) in zip(cores, arguments.dropFirst()) {
        #expect(output.words == words, "\(core) of \(cores)")
      }
    }
  }

  private func refusal(_ change: (inout Design) throws -> Void) throws -> String {
    var design = BringUp.passThrough(column: 0, words: 64)
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
        "of whose 524288 bytes",
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
