// Products of matrices of signed bytes over a square of cores: C = A * B. One configuration serves all shapes.
//
//                 column 0            column 1 …
//     core row 1  rows 64 to 127      rows 64 to 127     all cores of a row get the same rows of A,
//     core row 0  rows 0 to 63        rows 0 to 63       all of a column the same columns of B
//     memory      A of core row 0,    A of core row 1,
//                 B of column 0       B of column 1
//
// A call loads up to 64 rows of A for each row of cores into the memory tiles, where they stay, and streams B through
// the array once: 64 columns at a time for each column of cores, a *strip*. One strip for each column is a *pass*. The
// tiles of C of a column are joined in its memory tile and leave by its shim. How a shape is made of calls is in
// ProductShape.swift.

/// A product over `side` x `side` cores.
package struct MatrixProduct: Sendable {
  /// Rows and columns of cores: 1 to 4.
  package let side: Int
  private let compiled: CompiledDesign

  /// Rows of A of one core, columns of B of one core, and how much of k one step is.
  package static let rows = 64
  package static let columns = 64
  package static let depth = 64
  /// So many steps of 64 rows fit into a memory tile beside the rest.
  package static let mostSteps = 96
  /// What a lock can count.
  package static let mostPasses = 63

  /// Words of a step of A and B of one core, and of its tile of C.
  private static let stepWords = rows * depth / 4
  private static let tileWords = rows * columns
  /// Copies of B in a memory tile.
  private static let copiesOfB = 4
  /// Bytes of an argument to a word.
  private static let wordBytes = 4

  /// Compiles the design.
  ///
  /// - Parameters:
  ///   - side: Rows and columns of cores, 1 to 4.
  ///   - kernel: The source of the cores' program, `gemm_int8.aie2s`.
  /// - Throws: `NPUError` if the program is wrong.
  package init(side: Int = 4, kernel: String) throws(NPUError) {
    guard (1...4).contains(side) else {
      throw NPUError(.operand, "a product on \(side) columns of cores; there are 1 to 4")
    }
    self.side = side
    compiled = try Self.design(side: side, kernel: kernel).compiled()
  }

  /// The words of the configuration, for a driver.
  package var image: [UInt32] { compiled.image }

  // MARK: The design

  private static func core(_ column: Int, _ row: Int) -> Tile { Tile(column, row + 2) }

  /// The rows of A of one row of cores: as steps, each in the order that the cores want.
  private static func bufferOfA(_ index: Int) -> DesignBuffer {
    DesignBuffer(Tile(index, 1), "a", words: mostSteps * stepWords, copies: 1)
  }

  private static func bufferOfC(_ column: Int, _ row: Int) -> DesignBuffer {
    DesignBuffer(Tile(column, 1), "c\(row)", words: tileWords, copies: 1)
  }

  private static func parameters(_ tile: Tile) -> DesignArea {
    DesignArea(tile, "parameters", words: 8)
  }

  /// Returns what the array does.
  ///
  /// - Parameters:
  ///   - side: Rows and columns of cores, 1 to 4.
  ///   - kernel: The source of the cores' program.
  /// - Returns: The design.
  package static func design(side: Int, kernel: String) -> Design {
    var design = Design()
    for index in 0..<side {
      addInputs(&design, index, side)
      addOutput(&design, column: index, side)
      for row in 0..<side { addCore(&design, core(index, row), kernel) }
    }
    return design
  }

  /// The rows of A for one row of cores, and the columns of B for one column, both by one memory tile.
  private static func addInputs(_ design: inout Design, _ index: Int, _ side: Int) {
    let (shim, memory) = (Tile(index, 0), Tile(index, 1))
    let b = DesignBuffer(memory, "b", words: stepWords, copies: copiesOfB)
    var (intoA, outOfA) = (
      DesignTransfer(.intoMemory, 0, bufferOfA(index)),
      DesignTransfer(.outOfMemory, 0, bufferOfA(index))
    )
    (intoA.isPerCall, outOfA.isPerCall) = (true, true)
    var outOfB = DesignTransfer(.outOfMemory, 1, b)
    // A step of B has left once all cores of the column have room for it: so its marks tell what they are at.
    let mark = DesignArea(memory, "mark", words: 1, contents: [Self.mark])
    outOfB.mark = DesignMark(mark, channel: 3)
    design.transfers += [intoA, outOfA, DesignTransfer(.intoMemory, 1, b), outOfB]
    let rowOfCores = (0..<side).map { ChannelPlace(core($0, index), .intoMemory, 0) }
    let columnOfCores = (0..<side).map { ChannelPlace(core(index, $0), .intoMemory, 1) }
    design.streams += [
      DesignStream(ChannelPlace(shim, .outOfMemory, 0), [ChannelPlace(memory, .intoMemory, 0)]),
      DesignStream(ChannelPlace(shim, .outOfMemory, 1), [ChannelPlace(memory, .intoMemory, 1)]),
      DesignStream(ChannelPlace(memory, .outOfMemory, 0), rowOfCores),
      DesignStream(ChannelPlace(memory, .outOfMemory, 1), columnOfCores),
      DesignStream(ChannelPlace(memory, .outOfMemory, 3), [ChannelPlace(shim, .intoMemory, 1)]),
    ]
  }

  /// The tiles of C of a column of cores.
  private static func addOutput(_ design: inout Design, column: Int, _ side: Int) {
    let memory = Tile(column, 1)
    // From pairs of row tiles, column tile by column tile, to rows of tiles.
    let tilesOfC = [
      Dimension(32, 1), Dimension(2, columns / 8 * 32), Dimension(columns / 8, 32),
      Dimension(nil, columns / 8 * 64),
    ]
    for row in 0..<side {
      design.transfers.append(
        DesignTransfer(.intoMemory, 2 + row, bufferOfC(column, row), dimensions: tilesOfC)
      )
      design.streams.append(
        DesignStream(
          ChannelPlace(core(column, row), .outOfMemory, 0),
          [ChannelPlace(memory, .intoMemory, 2 + row)]
        )
      )
    }
    var out = DesignTransfer(.outOfMemory, 2, (0..<side).map { bufferOfC(column, $0) })
    out.isPerCall = true
    design.transfers.append(out)
    design.streams.append(
      DesignStream(
        ChannelPlace(memory, .outOfMemory, 2),
        [ChannelPlace(Tile(column, 0), .intoMemory, 0)]
      )
    )
  }

  private static func addCore(_ design: inout Design, _ tile: Tile, _ kernel: String) {
    // The last block of C is followed by loads of what lies behind it: that must not be the end of the memory.
    let c = DesignBuffer(tile, "c", words: tileWords, banks: [0, 1])
    let a = DesignBuffer(tile, "a", words: stepWords, banks: [2, 2])
    let b = DesignBuffer(tile, "b", words: stepWords, banks: [3, 3])
    design.transfers += [
      DesignTransfer(.intoMemory, 0, a), DesignTransfer(.intoMemory, 1, b),
      DesignTransfer(.outOfMemory, 0, c),
    ]
    design.programs.append(
      DesignProgram(
        tile,
        kernel,
        name: "gemm_int8",
        symbols: ["m": rows],
        fills: [c],
        drains: [a, b],
        areas: [parameters(tile), DesignArea(tile, "scratch", words: 128)]
      )
    )
  }

  // MARK: Marks

  /// What a column of the array writes into the machine's memory for each step of each pass that its cores have taken:
  /// "STEP", in the order of memory.
  package static let mark: UInt32 = 0x5045_5453

  // MARK: Calls

  /// Returns the operations of a whole product.
  ///
  /// Argument 0 is A, argument 1 is B as `ProductShape.packed(_:)` has it, argument 2 is C, argument 3 takes marks;
  /// `ProductShape` says how large they are.
  ///
  /// - Parameter shape: The product's shape.
  /// - Returns: The operations.
  /// - Throws: `NPUError` for a shape of another side, or one so large that descriptors cannot hold its walks.
  package func operations(for shape: ProductShape) throws(NPUError) -> [ControlOperation] {
    guard shape.side == side else {
      throw NPUError(.operand, "a shape for \(shape.side) columns; the design has \(side)")
    }
    var operations: [ControlOperation] = []
    for call in shape.calls { operations += try self.operations(for: call, of: shape) }
    return operations
  }

  private func operations(
    for call: ProductCall,
    of shape: ProductShape
  ) throws(NPUError) -> [ControlOperation] {
    var operations: [ControlOperation] = []
    for column in 0..<side {
      for row in 0..<side {
        let tile = Self.core(column, row)
        let word = compiled.areas[Self.parameters(tile)] ?? 0
        operations.append(
          .write(address: tile.address(4 * UInt32(word)), value: UInt32(call.steps))
        )
      }
    }
    // Products begin once all of A and B is on its way, so that comes first. Then marks: the lock that counts those
    // that have not left holds 63. C is there only when a pass is over.
    var (inputs, outputs, marks): ([CallStep], [CallStep], [CallStep]) = ([], [], [])
    for column in 0..<side {
      inputs += self.inputs(call, column, shape)
      for (index, part) in call.parts(of: column).enumerated() {
        outputs += [
          .task(outputTask(call, column, part, isSecond: index > 0)),
          .transfer(output(call, column, part, shape)),
        ]
      }
      marks.append(
        .transfer(
          HostTransfer(
            .intoMemory,
            column: column,
            channel: 1,
            argument: 3,
            offset: Self.wordBytes * column * call.steps * call.passes.count,
            words: call.steps * call.passes.count
          )
        )
      )
    }
    return operations + (try HostCall.operations(for: inputs + marks + outputs))
  }

  /// A goes into the memory tile once, step by step as tiles, and out of it once a pass.
  private func tasks(_ call: ProductCall, _ index: Int) -> [TileTask] {
    let buffer = Self.bufferOfA(index)
    let lock = compiled.locks[buffer]?.full ?? 0
    let base = compiled.addresses[buffer]?[0] ?? 0
    let free = compiled.freeDescriptors[buffer.tile] ?? []
    let into = BufferDescriptor(
      base: base,
      length: call.steps * Self.stepWords,
      dimensions: [
        Dimension(2, 1), Dimension(Self.depth / 8, 16), Dimension(8, 2),
        Dimension(nil, Self.depth / 8 * 16),
      ],
      release: LockUse(lock, call.passes.count)
    )
    let out = BufferDescriptor(
      base: base,
      length: call.steps * Self.stepWords,
      acquire: LockUse(lock, -1)
    )
    return [
      TileTask(ChannelPlace(buffer.tile, .intoMemory, 0), [(free[0], into)]),
      TileTask(
        ChannelPlace(buffer.tile, .outOfMemory, 0),
        [(free[1], out)],
        repeats: call.passes.count
      ),
    ]
  }

  private func inputs(
    _ call: ProductCall,
    _ index: Int,
    _ shape: ProductShape
  ) -> [CallStep] {
    let a = HostTransfer(
      .outOfMemory,
      column: index,
      channel: 0,
      argument: 0,
      offset: call.window(of: index) * shape.pitchOfA + call.firstStep * Self.depth,
      words: call.steps * Self.stepWords,
      dimensions: [
        Dimension(Self.depth / 4, 1), Dimension(Self.rows, shape.pitchOfA / 4),
        Dimension(nil, Self.depth / 4),
      ]
    )
    let b = HostTransfer(
      .outOfMemory,
      column: index,
      channel: 1,
      argument: 1,
      offset: shape.offsetOfB(call, column: index),
      words: call.passes.count * call.steps * Self.stepWords
    )
    return tasks(call, index).map(CallStep.task) + [.transfer(a), .transfer(b)]
  }

  /// The rows of all cores of a column, one after the other, once a pass of the part.
  private func outputTask(
    _ call: ProductCall,
    _ column: Int,
    _ part: ProductCall.Part,
    isSecond: Bool
  ) -> TileTask {
    let memory = Tile(column, 1)
    let free = compiled.freeDescriptors[memory] ?? []
    let first = 2 + (isSecond ? side : 0)
    let descriptors = (0..<side).map { row in
      let buffer = Self.bufferOfC(column, row)
      let locks = compiled.locks[buffer] ?? (0, 0)
      let rows = call.rows(of: row)
      let tiles = rows.offset / 4 * Self.columns / 8
      let descriptor = BufferDescriptor(
        base: (compiled.addresses[buffer]?[0] ?? 0) + tiles * 32,
        length: rows.count * part.columns,
        dimensions: [
          Dimension(8, 1), Dimension(part.columns / 8, 32), Dimension(4, 8),
          Dimension(nil, 4 * Self.columns),
        ],
        acquire: LockUse(locks.full, -1),
        release: LockUse(locks.empty, 1)
      )
      return (index: free[first + row], value: descriptor)
    }
    return TileTask(
      ChannelPlace(memory, .outOfMemory, 2),
      descriptors,
      repeats: part.passes.count
    )
  }

  private func output(
    _ call: ProductCall,
    _ column: Int,
    _ part: ProductCall.Part,
    _ shape: ProductShape
  ) -> HostTransfer {
    let rows = (0..<side).reduce(0) { $0 + call.rows(of: $1).count }
    let words = rows * part.columns * part.passes.count
    guard !part.isUnused else {
      let offset = shape.markWords + column * shape.unusedWords
      return HostTransfer(
        .intoMemory,
        column: column,
        argument: 3,
        offset: Self.wordBytes * offset,
        words: words
      )
    }
    let first = (part.passes.lowerBound * side + column) * Self.columns
    return HostTransfer(
      .intoMemory,
      column: column,
      argument: 2,
      offset: Self.wordBytes * (shape.offsetOfC(call) + first),
      words: words,
      dimensions: [
        Dimension(part.columns, 1), Dimension(rows, shape.pitchOfC),
        Dimension(nil, side * Self.columns),
      ]
    )
  }
}
