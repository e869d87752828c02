// Mutations of what works: each is caught, and named, by the part that should catch it.

import TestSupport
import Testing

@testable import NPUArray

private let (shim, memory, core) = (Tile(0, 0), Tile(0, 1), Tile(0, 2))
private let (ofShim, ofMemory) = (RegisterMap.of(.shim), RegisterMap.of(.memory))
private let ofCore = RegisterMap.of(.core)

@Suite struct Mutations {
  @Test func `what is not changed is right`() throws {
    let none = Bench.changed("", part: .result) { _ in }
    #expect(none.outcome == "all is right")
    _ = try Product.design(2).compiled()
  }

  @Test func `the assembler names them`() { check(assembler) }

  private var assembler: [Mutation] {
    let edited = Product.edited(.assembler)
    let many = String(repeating: "nop\n", count: 1024) + "done"
    return [
      edited("no instruction is called adds", "add r10, r10", "adds r10, r10"),
      edited("mov and mov want slot mv", "mov m3, r29", "mov m3, r29; mov m2, r29"),
      edited("movxm takes the slot mv", "mov m3, r29", "mov m3, r29; movxm r9, #1"),
      edited("#70 is not from 0 to 63", "rel #c_full", "rel #c_full + 17"),
      edited("e_full is no number", "rel #c_full", "rel #c_full + e_full"),
      edited("add cannot have p3 there", "add r29, r24", "add r29, p3"),
      edited("macro block has 13 parameters, not 12", "m3, nop\n", "m3\n"),
      edited("\\e1, hl is no parameter", "lh\\e, hl\\e, r1,", "lh\\e1, hl\\e, r1,"),
      edited("next_step is there twice", "same_tile:", "next_step:"),
      Mutation(.assembler, "1025 bundles; a core holds 1024") {
        "\(try CoreProgram(assembling: many).bundles.count) were assembled"
      },
    ]
  }

  @Test func `the checker of hazards names them`() { check(hazards) }

  private var hazards: [Mutation] {
    let edited = Product.edited(.hazards)
    let (load, next) = ("lda r11, [p6, #0]", "vlda amll0, [p3], #32; vst amlh4, [p4], #32")
    let (product, block) = ("x0~, x2~, \\configuration", "2, 3, #32, m5, m4, #32,")
    return [
      edited("vmac reads wl0 4 cycles before the result", "cm\\a, x0~, x2~", "cm\\a, x0, x2~"),
      edited("vst reads amll4 5 cycles before the result", "vst am\\s0~", "vst am\\s0"),
      edited("sub reads r11 1 cycles before", load + "\n  " + next, next + "\n  " + load),
      edited("the read port for scalars", product, product + "; st r1, [p6, #4]"),
      edited("an access to memory was 3 bundles before", "r25, r24\n  nop\n", "r25, r24\n"),
      edited("another lock was 3 bundles before", "#next_tile\n  nop\n", "#next_tile\n"),
      edited("a lock was 3 bundles before this access", "is stored.\n  nop\n", "is stored.\n"),
      edited("a branch in a delay slot of another", "mov r1, r0\n", "j #next_tile\n"),
      edited("set up 0 bundles before", block + " nop", block + " {add.nc lc, r26, #0}"),
      edited("jnz within a loop", "{mov m3, #32}", "{jnz r13, #rows_behind}"),
      edited("the loop ends before it begins", "#rows_behind - 16", "#rows_begin - 16"),
      edited("p1 is used in two slots", "[p0], #32; vst am\\s0~", "[p1], #32; vst am\\s0~"),
      edited("r1 is written by bundle 19", "mov r1, r17\n", "mov r1, r17; movx r1, #1\n"),
      edited("the program runs over its end", "j #next_step\n", "nop\n"),
      edited("no bundle is at 8", "j #next_step\n", "j #8\n"),
    ]
  }

  @Test func `the compiler names them`() { check(compiler + walks + places) }

  /// What is there twice, or not at all.
  private var compiler: [Mutation] {
    func changed(_ words: String, _ change: @escaping Change<Design>) -> Mutation {
      Product.changed(words, side: 2, change)
    }
    return [
      changed("buffer c is filled by 0 and drained by 1") { $0.programs[0].fills = [] },
      changed("buffer c0 is filled by 1 and drained by 0") {
        try $0.transfer(memory, .outOfMemory, 2) { $0.buffers.removeFirst() }
      },
      changed("S2MM 1 of memory tile (0, 1) has two buffers") {
        try $0.transfer(memory, .intoMemory, 0) { $0.channel = 1 }
      },
      changed("no stream leads to or from S2MM 0 of core tile (1, 2)") {
        $0.streams[2].sinks.removeLast()
      },
      changed("MM2S 4 of memory tile (0, 1) has a stream and no buffer") {
        $0.streams.append(Product.stream(memory, 4, Tile(3, 0), 0))
      },
      changed("two streams to S2MM 1 of core tile (1, 3)") {
        $0.streams.append(Product.stream(shim, 0, Tile(1, 3), 1))
      },
      changed("MM2S 0 of memory tile (0, 1) has two buffers, or is none") {
        try $0.transfer(memory, .outOfMemory, 1) { $0.mark?.channel = 0 }
      },
      changed("S2MM 2 of core tile (0, 2) cannot pass a buffer") {
        try $0.transfer(core, .intoMemory, 1) { $0.channel = 2 }
      },
      changed("memory tile (0, 1): two transfers send mark") {
        try $0.transfer(Tile(1, 1), .outOfMemory, 1) { $0.mark?.area.tile = memory }
      },
      changed("p has no core of its own") {
        $0.programs.append(DesignProgram(memory, "done", name: "p"))
      },
      changed("buffer c is in another tile") { $0.programs[0].fills = $0.programs[1].fills },
      Product.changed("no way is free from MM2S 1 of core tile (0, 2)", side: 4) { design in
        // Four rows of C take all wires down from the cores.
        for index in design.transfers.indices { design.transfers[index].mark = nil }
        design.streams.removeAll { $0.source.tile.kind == .memory && $0.source.channel == 3 }
        let extra = DesignBuffer(core, "extra", words: 8, copies: 1)
        design.programs[0].fills.append(extra)
        design.transfers.append(DesignTransfer(.outOfMemory, 1, extra))
        design.streams.append(Product.stream(core, 1, shim, 1))
      },
    ]
  }

  private var walks: [Mutation] {
    func walk(_ words: String, _ dimensions: (Int?, Int)...) -> Mutation {
      Product.changed(words) {
        try $0.transfer(memory, .intoMemory, 2) {
          $0.dimensions = dimensions.map { Dimension($0, $1) }
        }
      }
    }
    return [
      walk("leaves it or meets word 4096 twice", (32, 1), (nil, 64)),
      walk("leaves it or meets word 0 twice", (32, 1), (2, 256), (8, 32)),
      walk("a step of -1", (nil, -1)),
      walk("a count of 2048, outside 0 to 1023", (2048, 1), (nil, 2048)),
      walk("a step of 199999, outside 0 to 131071", (64, 1), (64, 64), (nil, 200_000)),
      walk("5 dimensions, of which there are 4", (2, 1), (2, 2), (2, 4), (2, 8), (nil, 16)),
    ]
  }

  /// What has no room, or lies wrong.
  private var places: [Mutation] {
    let buffer = {
      (words: String, tile: Tile, name: String, change: @escaping Change<DesignBuffer>) in
      Product.changed(words, side: 2) { try $0.change(name, of: tile, change) }
    }
    func transfer(_ words: String, _ change: @escaping Change<DesignTransfer>) -> Mutation {
      Product.changed(words) { try $0.transfer(memory, .outOfMemory, 1, change) }
    }
    return [
      buffer("buffer a has 135168 words, of 131072 in all", memory, "a") { $0.words = 132 << 10 },
      buffer("of its memory, of whose 524288 bytes", memory, "a") { $0.words = 128 << 10 },
      buffer("of whose 16384 bytes 16384 are taken", core, "c") { $0.banks = [0, 0] },
      buffer("buffer b wants banks [3] for 2 copies", core, "b") { $0.banks = [3] },
      buffer("banks [3, 4] for 2 copies, of 4 banks", core, "b") { $0.banks = [3, 4] },
      buffer("(0, 1): more than 24 descriptors", memory, "b") { ($0.copies, $0.words) = (16, 512) },
      buffer("MM2S 2 of memory tile (0, 1) has buffers of two", memory, "c1") { $0.words = 2048 },
      transfer("cannot make marks half way") { $0.dimensions = [Dimension(nil, 1)] },
      transfer("area mark has too many words") { $0.mark?.area.contents = [1, 2] },
      Product.changed("core tile (0, 2): more than 16 locks") {
        let many = (0..<6).map { DesignBuffer(core, "x\($0)", words: 8, copies: 1) }
        $0.programs[0].fills += many
        $0.programs[0].drains += many
      },
      Product.changed("m is no number, and no name of one") { $0.programs[0].symbols = [:] },
      Product.changed("63 / 8 is no whole number") { $0.programs[0].symbols = ["m": 63] },
    ]
  }

  @Test func `the readers of bytes name them`() { check(images + codes) }

  /// Where a configuration begins: behind four words of preamble and three headers.
  private static let first = 0x54

  @Test func `each flipped bit of an image's headers is found`() throws {
    let image = try BringUp.passThrough(column: 0, words: 64).compiled().image
    for bit in 0..<32 * (Self.first + 5) {
      var words = image
      words[bit / 32] ^= 1 << UInt32(bit % 32)
      #expect(throws: NPUError.self) { try DeviceImage.commands(in: words) }
    }
  }

  private func image(_ words: String, _ change: @escaping Change<[UInt32]>) -> Mutation {
    Mutation(.formats, words) {
      var image = try BringUp.passThrough(column: 0, words: 64).compiled().image
      try change(&image)
      return "\(try DeviceImage.commands(in: image).count) commands were read"
    }
  }

  private var images: [Mutation] {
    let first = Self.first
    return [
      image("a word of the preamble is 0x11223345") { $0[1] ^= 1 },
      image("a word of the image header table is") { $0[4 + 31] ^= 0x100 },
      image("a word of the image header is") { $0[36 + 15] ^= 1 },
      image("the checksum of the partition header is wrong") { $0[52 + 31] ^= 0x8000_0000 },
      image("the checksum of the partition header is wrong") { $0[52 + 8] ^= 1 },
      image("the partition header is not that of") { $0.removeLast(8) },
      image("CDO, word 5: the checksum of the header is wrong") { $0[first + 4] ^= 2 },
      image("no CDO begins so") { $0[first + 1] ^= 1 },
      image("an unknown command 0x00020203") { $0[first + 5] ^= 0x300 },
      image("a command 0x00030103 with 3 words") { $0[first + 5] += 0x1_0000 },
    ]
  }

  private var codes: [Mutation] {
    func code(_ words: String, _ change: @escaping Change<[UInt32]>) -> Mutation {
      Mutation(.formats, words) {
        let transfer = HostTransfer(.intoMemory, column: 0, argument: 0, words: 64)
        var code = ControlCode.words(of: try HostCall.operations(for: [transfer]))
        try change(&code)
        return "\(try ControlCode.operations(in: code).count) operations were read"
      }
    }
    return [
      code("5 operations, where the header says 4") { $0[2] -= 1 },
      code("the size is 0x000000b8, not 0x000000b4") { $0[3] += 4 },
      code("3 words are wanted, 0 are there") { ($0, $0[3]) = ($0.dropLast(3), $0[3] - 12) },
      code("the version is 0x06030101") { $0[0] ^= 1 },
      code("the array is 0x00000106") { $0[1] = 0x106 },
      code("an unknown operation 0x00000002") { $0[4] = 2 },
      code("a BLOCKWRITE of 50 bytes") { $0[7] += 2 },
      code("no DDR_PATCH is so") { $0[16 + 1] = 44 },
    ]
  }

  @Test func `the simulated array names them`() { check(ways + descriptors + programs + calls) }

  /// A value that the configuration writes, or does not.
  private func set(_ words: String, _ tile: Tile, _ offset: UInt32, _ value: UInt32?) -> Mutation {
    Bench.changed(words) { try $0.set(tile, offset, value) }
  }

  private var ways: [Mutation] {
    func connected(_ words: String, _ port: Port) -> Mutation {
      Bench.changed(words) {
        $0.commands += try SmallDesign.write(Connection(core, Port(.south, 0), port))
      }
    }
    return [
      set("memory tile (0, 1) leads nowhere", shim, Bench.master(shim, .south, 2), 0),
      set("memory tile (0, 1) leads nowhere", core, Bench.master(core, .dma), 0x8000_001F),
      set("slave port DMA0 feeds others and is not on", memory, ofMemory.slaves, nil),
      set("MM2S 1 of shim tile (0, 0) leads nowhere", shim, RegisterMap.mux, nil),
      set("shim tile (0, 0): master port SOUTH", shim, RegisterMap.demux, nil),
      set("of shim tile (0, 0) had no route", shim, Connection.tokenRoute[1].offset, nil),
      connected("core tile (0, 2): master port WEST0 leads out of the array", Port(.west, 0)),
      connected("core tile (0, 2): master port CONTROL0 leads to no", Port(.control, 0)),
    ]
  }

  private var descriptors: [Mutation] {
    typealias Fields = Change<BufferDescriptor>
    let descriptor = { (words: String, tile: Tile, index: Int, change: @escaping Fields) in
      Bench.changed(words) { try $0.descriptor(tile, index, change) }
    }
    let words = { (words: String, tile: Tile, place: UInt32, change: @escaping Change<[UInt32]>) in
      Bench.changed(words) { try $0.words(tile, place, change) }
    }
    let (first, b) = (ofCore.descriptor(0), ofMemory.descriptor(24))
    let (queue, marks) = (ofCore.queue(.intoMemory, 0), ofMemory.queue(.outOfMemory, 3))
    return [
      descriptor("S2MM 0 of core tile (0, 2) waits for lock 9", core, 0) { $0.acquire?.lock = 9 },
      descriptor("core tile (0, 2) waits for its lock 49", core, 0) { $0.release?.lock = 15 },
      descriptor("core tile (0, 2): lock 1 has run over", core, 0) { $0.release?.value = 63 },
      descriptor("word 131072 is outside of the memory", memory, 24) { $0.base = 0x20000 },
      descriptor("S2MM 1 of memory tile (0, 1): descriptor 63", memory, 24) { $0.next = 63 },
      descriptor("descriptor 20 is none of this channel", memory, 24) { $0.next = 20 },
      descriptor("core tile (0, 2) waits for its lock 51", core, 2) { $0.length += 1 },
      words("descriptor 0: a descriptor that is not valid", core, first) { $0[5] &= ~(1 << 25) },
      words("a descriptor with fields that are not known", core, first) { $0[1] |= 1 << 30 },
      words("memory or locks of another tile", memory, b) { $0[1] &= ~0x20000 },
      set("core tile (0, 2) waits for its lock 52 at bundle 18", core, ofCore.lock(4), 0),
      set("MM2S 0 of memory tile (0, 1) waits for room in its stream", core, queue, nil),
      set("no token of S2MM 1 of shim tile (0, 0) comes", memory, marks, nil),
      set("a task of 0x00000028 for S2MM 0", core, queue, 40),
    ]
  }

  private var programs: [Mutation] {
    func bytes(_ words: String, _ change: @escaping Change<[UInt32]>) -> Mutation {
      Bench.changed(words) { try $0.words(core, RegisterMap.program, change) }
    }
    func edited(_ words: String, _ old: String, _ new: String) -> Mutation {
      Bench.changed(words) {
        try $0.compile { $0.programs[0].source = try Product.kernel(old, new) }
      }
    }
    return [
      bytes("no known instruction of slot ldb") { $0[0] ^= 1 },
      bytes("address 800: no known instruction of slot vec is 0x801e0") { $0[200] ^= 1 << 20 },
      bytes("bundle 56: products of configuration 0x0000030a are not simulated") { $0[1] ^= 1 },
      bytes("core tile (0, 2), bundle 0: the program runs over its end") {
        $0 = Array(repeating: 0, count: $0.count)
      },
      bytes("core tile (0, 2), bundle 219: the program runs over its end") { $0.removeLast(16) },
      edited("core tile (0, 2): lock 36 of another tile", "acq #c_empty", "acq #c_empty - 16"),
      edited("waits for its lock 49 at bundle 22", "mova r15, #-1", "mova r15, #-2"),
      edited("MM2S 0 of core tile (0, 2) waits for lock 5", "rel #c_full", "rel #c_full - 1"),
      edited("bundle 30: an access of 4 bytes at 0x00001000", "p6, #parameters", "p6, #0x1000"),
      edited("an access of 32 bytes at 0x00070004", "r24, #c_0\n", "r24, #c_0 + 4\n"),
      // The last command lets the core begin.
      Bench.changed("S2MM 0 of core tile (0, 2) waits for lock 0") { $0.commands.removeLast() },
      steps("core tile (0, 2) waits for its lock 49", 0),
      steps("core tile (0, 2) waits for its lock 49", 99),
    ]
  }

  /// Another number of steps, which the first operation tells the core.
  private func steps(_ words: String, part: Mutation.Part = .simulator, _ count: UInt32) -> Mutation
  {
    Bench.changed(words, part: part) { bench in
      guard case .write(let address, 3) = bench.operations[0] else {
        throw NothingToChange(what: "steps")
      }
      bench.operations[0] = .write(address: address, value: count)
    }
  }

  private var calls: [Mutation] {
    typealias Others = (ControlOperation) -> [ControlOperation]
    let replaced = { (words: String, tile: Tile, offset: UInt32, change: @escaping Others) in
      Bench.changed(words) { try $0.replace(tile, offset, change) }
    }
    func written(_ words: String, _ address: UInt32) -> Mutation {
      Bench.changed(words) { $0.operations.append(.write(address: address, value: 0)) }
    }
    let (output, input) = (ofShim.queue(.intoMemory, 0), ofShim.queue(.outOfMemory, 0))
    let again = ControlOperation.write(address: shim.address(ofShim.descriptor(0)), value: 5)
    return [
      replaced("had no route", shim, ofShim.control(.intoMemory, 0)) { _ in [] },
      replaced("descriptor 0 is written while a channel has it", shim, input) { [$0, again] },
      replaced("the queue of S2MM 0 is full", shim, output) { Array(repeating: $0, count: 9) },
      replaced("S2MM 0 of memory tile (0, 1) waits for words", shim, input) { _ in [] },
      replaced("S2MM 0 of core tile", memory, ofMemory.queue(.outOfMemory, 0)) { _ in [] },
      Bench.changed("argument 9, of which there are 4") { try $0.patch(1, argument: 9) },
      Bench.changed("argument 3, of which there are 3") { $0.data.arguments.removeLast() },
      Bench.changed("no address in a descriptor is at 0x0001d028") { try $0.patch(1, address: 4) },
      Bench.changed("shim tile (0, 0): descriptor 17") { try $0.patch(3, address: 14 * 0x20) },
      Bench.changed("word 2047 of argument 2, which has 2047") {
        $0.data.arguments[2].words.removeLast()
      },
      Bench.changed("word 6144 of argument 1, which has 6144") { try $0.patch(1, offset: 4) },
      Bench.changed("a wait for S2MM 2 of shim tile (0, 0), which there is not") { $0.wait(0, 2) },
      Bench.changed("a wait for S2MM 0 of shim tile (4, 0), which there is not") { $0.wait(4, 0) },
      Bench.changed("no token of S2MM 0 of shim tile (0, 0) comes") { $0.wait(0, 0) },
      Bench.changed("for its lock 51") { try $0.called(shim, 1) { $0.length -= 1 } },
      written("no tile has address 0x0a000000", 0x0A00_0000),
      written("no register that is known is at 0x00001000", shim.address(0x1000)),
      written("shim tile (0, 0): a write at 0x0001d002", shim.address(0x1D002)),
      Bench.changed("polls") { $0.commands.append(.poll(address: 0, mask: 0, value: 0)) },
    ]
  }

  @Test func `a result shows what nothing can refuse`() { check(results) }

  private var results: [Mutation] {
    func wrong(_ change: @escaping Change<Bench>) -> Mutation {
      Bench.changed("rows that are wrong", part: .result, change)
    }
    func edited(_ old: String, _ new: String) -> Mutation {
      wrong { try $0.compile { $0.programs[0].source = try Product.kernel(old, new) } }
    }
    return [
      wrong { try $0.called(memory, 1) { $0.dimensions[0].step = 2 } },
      wrong { try $0.descriptor(memory, 0) { $0.dimensions[2].step = 64 } },
      wrong { try $0.called(shim, 0) { $0.dimensions[1].step -= 1 } },
      wrong { try $0.called(shim, 3) { $0.dimensions[1].step -= 8 } },
      wrong { try $0.descriptor(core, 0) { $0.next = 0 } },
      wrong { try $0.descriptor(core, 2) { $0.base += 32 } },
      Bench.changed("S2MM 1 of core tile (0, 2): the call ends while words are on their way") {
        try $0.descriptor(core, 2) { $0.length -= 1 }
      },
      wrong { try $0.descriptor(memory, 24) { $0.next = 26 } },
      wrong { try $0.set(core, ofCore.lock(3), 1) },
      wrong { try $0.set(core, ofCore.queue(.intoMemory, 0), 1) },
      wrong { try $0.patch(0, argument: 1) },
      steps("S2MM 2 of memory tile (0, 1): the call ends while words are on their way", 2),
      edited("#-(scratch + 480)", "#-(scratch + 448)"),
      edited("#32 - b_bytes ", "#64 - b_bytes "),
      Bench.changed("S2MM 0 of shim tile (0, 0): the call ends while words are on their way") {
        $0.operations.removeAll { if case .wait = $0 { true } else { false } }
      },
      wrong {
        // A and B change places.
        try $0.set(core, Bench.master(core, .dma, 0), 0x8000_0006)
        try $0.set(core, Bench.master(core, .dma, 1), 0x8000_0005)
      },
      Bench.changed("0 marks of", part: .result) {
        $0.commands.removeAll {
          if case .block(_, [MatrixProduct.mark]) = $0 { true } else { false }
        }
      },
      Bench.changed("cycles are lost to banks", part: .result) { bench in
        try bench.compile { try $0.change("a", of: core) { $0.banks = [3, 3] } }
      },
    ]
  }
}

@Suite struct `Mutations of numbers and of what is never changed` {
  @Test func `they are named`() { check(designs + numbers + values + late) }

  private var designs: [Mutation] {
    [
      Product.changed("core tile (7, 2)") {
        $0.programs.append(DesignProgram(Tile(7, 2), "done", name: "p"))
      },
      Product.changed("buffer b") { try $0.change("b", of: memory) { $0.copies = 0 } },
      Product.changed("buffer a") {
        try $0.change("a", of: memory) { ($0.copies, $0.words) = (64, 1024) }
      },
      Product.changed("MM2S 2 of shim tile (0, 0)") { $0.streams[1].source.channel = 2 },
      Product.changed("a_0 is there twice") {
        $0.programs[0].areas.append(DesignArea(core, "a_0", words: 8))
      },
      Product.changed("area other is in another tile") {
        $0.programs[0].areas.append(DesignArea(Tile(0, 3), "other", words: 8))
      },
      Product.changed("program gemm_int8 never uses a_2") {
        try $0.change("a", of: core) { ($0.copies, $0.banks) = (3, []) }
      },
      Product.changed("each call has its own descriptors") {
        try $0.transfer(memory, .outOfMemory, 1) { $0.isPerCall = true }
      },
      Product.changed("calls within calls do not end") {
        $0.programs[0].source = "f: jl #f\nnop\nnop\nnop\nnop\nnop\n" + $0.programs[0].source
      },
      Product.changed("ls and le must be set by movxm") {
        $0.programs[0].source = try Product.kernel("rows_behind - 16", "rows_behind - 12")
      },
      Product.changed("macros are used too often") {
        let levels = (1...40).map { ".macro e\($0)\ne\($0 - 1)\ne\($0 - 1)\n.end\n" }
        $0.programs[0].source =
          ".macro e0\n.end\n" + levels.joined() + "e40\n" + $0.programs[0].source
      },
      Product.changed("a line of") {
        let many = String(repeating: "(", count: 100_000)
        $0.programs[0].source += "\n.set x, \(many)\n"
      },
      Product.changed("m is there twice") {
        $0.programs[0].areas.append(DesignArea(core, "m", words: 8))
      },
    ]
  }

  private var numbers: [Mutation] {
    func call(_ words: String, _ step: CallStep) -> Mutation {
      Mutation(.compiler, words) { "\(try HostCall.operations(for: [step]).count) operations" }
    }
    func transfer(column: Int = 0, channel: Int = 0, offset: Int = 0, words: Int = 64) -> CallStep {
      .transfer(
        HostTransfer(
          .intoMemory,
          column: column,
          channel: channel,
          argument: 0,
          offset: offset,
          words: words
        )
      )
    }
    let none = TileTask(ChannelPlace(tile: memory, direction: .intoMemory, channel: 0), [])
    return [
      call("S2MM 2 of shim tile (0, 0)", transfer(channel: 2)),
      call("shim tile (4, 0)", transfer(column: 4)), call("multiple of 4", transfer(offset: 2)),
      call("below 4 GiB", transfer(offset: 1 << 32)), call("a length of 0", transfer(words: 0)),
      call("S2MM 0 of memory tile (0, 1)", .task(none)),
      Mutation(.formats, "words of commands") {
        // The header counts four words less than there are: a whole command.
        var image = try BringUp.passThrough(column: 0, words: 64).compiled().image
        image[0x57] -= 4
        image[0x58] = Array(image[0x54..<0x58]).checksum
        return "\(try DeviceImage.commands(in: image).count) commands were read"
      },
      Mutation(.formats, "words behind") {
        let image = try BringUp.passThrough(column: 0, words: 64).compiled().image
        return "\(try DeviceImage.commands(in: image + [1, 2, 3, 4]).count) commands were read"
      },
    ]
  }

  private var values: [Mutation] {
    let (queue, port) = (ofCore.queue(.intoMemory, 0), Bench.master(core, .dma))
    func set(_ words: String, _ tile: Tile, _ offset: UInt32, _ value: UInt32) -> Mutation {
      Bench.changed(words) { try $0.set(tile, offset, value) }
    }
    return [
      set("lock 4", core, ofCore.lock(4), 64), set("task", core, queue, 0x100),
      set("packet", core, port, 0xC000_0005), set("packet", memory, ofMemory.slaves, 0xC000_0000),
      Bench.changed("multiple of 4") { try $0.patch(1, offset: 2) },
      Bench.changed("masked") {
        let address = core.address(ofCore.lock(4))
        $0.commands.append(.maskedWrite(address: address, mask: 0, value: 0))
      },
      Bench.changed("a task of 0x00000028 for S2MM 0") { bench in
        // An even channel of a memory tile has the lower half of the descriptors.
        let upper = memory.address(ofMemory.descriptor(40))
        try bench.replace(memory, ofMemory.descriptor(1)) { operation in
          guard case .block(_, let words) = operation else { return [] }
          return [.block(address: upper, words: words)]
        }
        try bench.replace(memory, ofMemory.queue(.intoMemory, 0)) { operation in
          guard case .write(let address, let value) = operation else { return [] }
          return [.write(address: address, value: value & ~63 | 40)]
        }
      },
    ]
  }

  // What a call changes that the simulated array has read before.
  private var late: [Mutation] {
    func written(_ words: String, _ tile: Tile, _ offset: UInt32) -> Mutation {
      Bench.changed(words) {
        $0.operations.insert(.write(address: tile.address(offset), value: 0), at: 1)
      }
    }
    return [
      written("core tile (0, 2)", core, RegisterMap.program),
      written("core tile (0, 2)", core, RegisterMap.coreControl),
      written("core tile (0, 2)", core, Bench.master(core, .dma)),
      written("shim tile (0, 0)", shim, RegisterMap.mux),
    ]
  }

  // What once ended the process, or did not end.
  @Test func `they stop nothing`() { check(stopping) }

  private var stopping: [Mutation] {
    let endless = "j #0\nnop\nnop\nnop\nnop\nnop"
    return [
      Product.changed("a count of 0") {
        try $0.transfer(memory, .intoMemory, 2) { $0.dimensions = [Dimension(0, 1)] }
      },
      Product.changed("buffer b") { try $0.change("b", of: memory) { $0.copies = -1 } },
      Bench.changed("locks of another tile") {
        try $0.words(memory, ofMemory.descriptor(24)) { $0[7] = $0[7] & ~0xFF | 0x80 }
      },
      Bench.changed("locks of another tile") {
        try $0.words(memory, ofMemory.descriptor(24)) { $0[7] = $0[7] & ~0xFF_0000 | 0x80_0000 }
      },
      Bench.changed("length of 0") {
        try $0.descriptor(core, 0) {
          ($0.length, $0.acquire, $0.release, $0.next) = (0, nil, nil, 0)
        }
      },
      Bench.changed("core tile (0, 2)") {
        try $0.compile { $0.programs[0].source = endless }
      },
    ]
  }
}
