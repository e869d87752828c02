// Products of matrices of signed bytes over a square of cores: C = A * B.
//
// Core (column, row) computes one tile of C. All cores of a row get the same rows of A, all of a column the same
// columns of B. The rows of A for row r come by the shim and the memory tile of column r. Memory tiles turn rows into
// the tiles that the cores want, and the tiles of C into rows; the four tiles of a column leave by its shim.

/// A product of m x k by k x n bytes on each of some cores, over `steps` of k.
package struct MatrixProduct: Sendable, Hashable {
  /// Of one core: a multiple of 8.
  package var m: Int
  /// Of one core: a multiple of 16.
  package var n: Int
  /// Of one step: a multiple of 8, at least 24.
  package var k: Int
  /// How many steps make a tile of C.
  package var steps: Int
  /// Rows and columns of cores: 1 to 4.
  package var side: Int

  package init(m: Int = 64, n: Int = 64, k: Int = 64, steps: Int, side: Int = 4) {
    self.m = m
    self.n = n
    self.k = k
    self.steps = steps
    self.side = side
  }

  /// Rows of A and C, columns of B and C, and what is summed over.
  package var shape: (m: Int, n: Int, k: Int) { (m * side, n * side, k * steps) }

  // MARK: The array

  private func place(_ tile: Tile, _ direction: Direction, _ channel: Int) -> ChannelPlace {
    ChannelPlace(tile: tile, direction: direction, channel: channel)
  }

  private func core(_ column: Int, _ row: Int) -> Tile { Tile(column, row + 2) }

  /// Returns what the array does.
  ///
  /// - Parameter kernel: The source of the cores' program, `gemm_int8.aie2s`.
  /// - Returns: The design.
  package func design(kernel: String) -> Design {
    var design = Design()
    for index in 0..<side {
      addInputs(&design, index)
      addOutput(&design, column: index)
      for row in 0..<side { addCore(&design, core(index, row), kernel) }
    }
    return design
  }

  /// The rows of A for one row of cores, and the columns of B for one column, both by one memory tile.
  private func addInputs(_ design: inout Design, _ index: Int) {
    let (shim, memory) = (Tile(index, 0), Tile(index, 1))
    let a = DesignBuffer(memory, "a", words: m * k / 4)
    let b = DesignBuffer(memory, "b", words: k * n / 4)
    let tilesOfA = [
      Dimension(2, 1), Dimension(4, k / 4), Dimension(k / 8, 2), Dimension(nil, k),
    ]
    let tilesOfB = [
      Dimension(2, 1), Dimension(8, n / 4), Dimension(n / 8, 2), Dimension(nil, 2 * n),
    ]
    design.transfers += [
      DesignTransfer(.intoMemory, 0, a), DesignTransfer(.outOfMemory, 0, a, dimensions: tilesOfA),
      DesignTransfer(.intoMemory, 1, b), DesignTransfer(.outOfMemory, 1, b, dimensions: tilesOfB),
    ]
    let rowOfCores = (0..<side).map { place(core($0, index), .intoMemory, 0) }
    let columnOfCores = (0..<side).map { place(core(index, $0), .intoMemory, 1) }
    design.streams += [
      DesignStream(place(shim, .outOfMemory, 0), [place(memory, .intoMemory, 0)]),
      DesignStream(place(shim, .outOfMemory, 1), [place(memory, .intoMemory, 1)]),
      DesignStream(place(memory, .outOfMemory, 0), rowOfCores),
      DesignStream(place(memory, .outOfMemory, 1), columnOfCores),
    ]
  }

  /// The tiles of C of a column of cores, one below the other.
  private func addOutput(_ design: inout Design, column: Int) {
    let memory = Tile(column, 1)
    let tiles = (0..<side).map { DesignBuffer(memory, "c\($0)", words: m * n) }
    let rows = [Dimension(8, 1), Dimension(n / 8, 32), Dimension(4, 8), Dimension(nil, 4 * n)]
    for (row, tile) in tiles.enumerated() {
      design.transfers.append(DesignTransfer(.intoMemory, 2 + row, tile))
      design.streams.append(
        DesignStream(
          place(core(column, row), .outOfMemory, 0),
          [place(memory, .intoMemory, 2 + row)]
        )
      )
    }
    design.transfers.append(DesignTransfer(.outOfMemory, 2, tiles, dimensions: rows))
    design.streams.append(
      DesignStream(place(memory, .outOfMemory, 2), [place(Tile(column, 0), .intoMemory, 0)])
    )
  }

  private func addCore(_ design: inout Design, _ tile: Tile, _ kernel: String) {
    let a = DesignBuffer(tile, "a", words: m * k / 4)
    let b = DesignBuffer(tile, "b", words: k * n / 4)
    let c = DesignBuffer(tile, "c", words: m * n, copies: 1)
    design.transfers += [
      DesignTransfer(.intoMemory, 0, a), DesignTransfer(.intoMemory, 1, b),
      DesignTransfer(.outOfMemory, 0, c),
    ]
    design.programs.append(
      DesignProgram(
        tile,
        kernel,
        name: "gemm_int8",
        symbols: ["m": m, "n": n, "k": k, "k_steps": steps],
        fills: [c],
        drains: [a, b]
      )
    )
  }

  // MARK: Calls

  /// One block of C, of the design's shape, as part of larger matrices.
  ///
  /// Argument 0 is A, row by row; argument 1 is B, row by row; argument 2 is C, row by row, with 32 bits each.
  ///
  /// - Parameters:
  ///   - row: The first row of the block in A and C.
  ///   - column: The first column of the block in B and C.
  ///   - columns: The columns of B and C.
  /// - Returns: The operations of the call.
  /// - Throws: `NPUError` if a walk does not fit a descriptor.
  package func call(row: Int, column: Int, columns: Int) throws(NPUError) -> [ControlOperation] {
    var transfers: [HostTransfer] = []
    let depth = k * steps
    for index in 0..<side {
      transfers += [
        HostTransfer(
          .outOfMemory,
          column: index,
          channel: 0,
          argument: 0,
          offset: (row + index * m) * depth,
          words: m * k / 4,
          dimensions: [Dimension(k / 4, 1), Dimension(nil, depth / 4)],
          iteration: Iteration(steps, k / 4)
        ),
        HostTransfer(
          .outOfMemory,
          column: index,
          channel: 1,
          argument: 1,
          offset: column + index * n,
          words: k * n / 4,
          dimensions: [Dimension(n / 4, 1), Dimension(nil, columns / 4)],
          iteration: Iteration(steps, k * columns / 4)
        ),
        HostTransfer(
          .intoMemory,
          column: index,
          channel: 0,
          argument: 2,
          offset: 4 * (row * columns + column + index * n),
          words: side * m * n,
          dimensions: [Dimension(n, 1), Dimension(nil, columns)]
        ),
      ]
    }
    return try HostCall.operations(for: transfers)
  }
}
