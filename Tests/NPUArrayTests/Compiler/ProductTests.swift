// Products of bytes, from rows in the machine's memory to rows in the machine's memory, on one core and on sixteen.

import Foundation
import TestSupport
import Testing

@testable import NPUArray

/// Random matrices of a product's shape, where an array can get at them.
struct ProductData {
  let shape: ProductShape
  let a: [Int8]
  let b: [Int8]
  /// What the array has written before is still there.
  var arguments: [HostBuffer]

  init(_ shape: ProductShape, seed: UInt64) throws {
    self.shape = shape
    var random = SeededRandom(seed)
    func bytes(_ count: Int) -> [Int8] {
      // Eight a number: there are millions.
      (0..<(count + 7) / 8).flatMap { _ in
        let value = random.next()
        return (0..<8).map { Int8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
      }.dropLast((8 - count % 8) % 8)
    }
    a = bytes(shape.rows * shape.depth)
    b = bytes(shape.depth * shape.columns)
    // What lies behind the rows of A must not matter.
    var words = [UInt32](repeating: 0x7F80_7F80, count: shape.wordsOfA)
    for row in 0..<shape.rows {
      for step in 0..<shape.depth {
        let place = row * shape.pitchOfA + step
        let shift = UInt32(place % 4 * 8)
        let byte = UInt32(UInt8(bitPattern: a[row * shape.depth + step]))
        words[place / 4] = words[place / 4] & ~(0xFF << shift) | byte << shift
      }
    }
    arguments = [
      HostBuffer(words), HostBuffer(try shape.packed(b)), HostBuffer(count: shape.wordsOfC),
      HostBuffer(count: shape.wordsOfMarks),
    ]
  }

  /// Rows of C that are not A times B, by a product of both sides with random numbers.
  ///
  /// Sums wrap at 64 bits; that a wrong row passes is as likely as to guess such a number.
  func wrongRows() -> [Int] {
    var random = SeededRandom(99)
    let factors = (0..<shape.columns).map { _ in Int(truncatingIfNeeded: random.next()) }
    var inner = [Int](repeating: 0, count: shape.depth)
    for step in 0..<shape.depth {
      for column in 0..<shape.columns {
        inner[step] &+= Int(b[step * shape.columns + column]) &* factors[column]
      }
    }
    return (0..<shape.rows).filter { row in
      var want = 0
      for step in 0..<shape.depth { want &+= Int(a[row * shape.depth + step]) &* inner[step] }
      var got = 0
      for column in 0..<shape.columns {
        got &+= Int(shape.element(row, column, in: arguments[2].words)) &* factors[column]
      }
      return got != want
    }
  }

  var marks: Int { arguments[3].words.prefix(shape.markWords).count { $0 == MatrixProduct.mark } }
}

@Suite struct `Products of bytes` {
  /// Rows, depth, columns.
  typealias Size = (Int, Int, Int)

  /// Compiling takes longer than a small product.
  private static let products: [Int: MatrixProduct] = {
    var products: [Int: MatrixProduct] = [:]
    for side in 1...4 {
      products[side] = try? MatrixProduct(side: side, kernel: NPUKernels.source("gemm_int8"))
    }
    return products
  }()

  /// Runs products one after the other on one configuration, and returns what each took.
  @discardableResult
  private func check(_ sizes: [Size], side: Int = 4) throws -> [CallReport] {
    let product = try #require(Self.products[side])
    let array = SimulatedArray()
    try array.configure(product.image)
    #expect(throws: NPUError.self, "configured already") { try array.configure(product.image) }
    return try sizes.map { rows, depth, columns in
      let shape = try ProductShape(rows: rows, depth: depth, columns: columns, side: side)
      var data = try ProductData(shape, seed: UInt64(rows + depth + columns))
      let code = ControlCode.words(of: try product.operations(for: shape))
      let report = try array.call(code, &data.arguments)
      let wrong = data.wrongRows()
      #expect(wrong.isEmpty, "\(rows) x \(depth) x \(columns): rows \(wrong.prefix(5))")
      #expect(data.marks == data.shape.markWords || shape.calls.count > 1)
      return report
    }
  }

  // Tails of rows: within a tile of 4, a pair of tiles, what one core has, what all have, and beyond.
  @Test(arguments: [
    [1, 2, 3, 4, 5], [7, 8, 9, 12, 13], [15, 16, 31, 63, 64], [65, 100, 129, 255],
  ])
  func `any number of rows`(_ rows: [Int]) throws {
    try check(rows.map { ($0, 64, 256) })
  }

  @Test func `more rows than the cores hold`() throws {
    try check([(256, 64, 64), (257, 64, 64), (300, 128, 64), (511, 64, 64), (512, 64, 128)])
  }

  // Tails of depth: within a word, a step of 8, a step of 64, and several parts.
  @Test(arguments: [[1, 3, 4, 7], [8, 9, 63, 65], [127, 200, 333]])
  func `any depth`(_ depths: [Int]) throws {
    try check(depths.map { (20, $0, 64) })
  }

  // Tails of columns: within a tile of 8, a strip of 64, a pass of 256; columns of cores that have none.
  @Test(arguments: [[1, 7, 8, 9], [33, 63, 65, 100], [128, 200, 255, 257], [320, 448, 500]])
  func `any number of columns`(_ columns: [Int]) throws {
    try check(columns.map { (10, 64, $0) })
  }

  // What layers of Gemma 3n E2B and Gemma 4 E2B have: hidden 2048 and 1536, feed-forward 8192, 6144 and 12288, keys and
  // values of 256 and 512, queries of 2048 and 4096, per-layer inputs of 256, the low-rank layers of 64.
  @Test(arguments: [
    (16, 2048, 64), (1, 64, 2048), (5, 2048, 256), (100, 256, 2048), (33, 1536, 256),
    (64, 256, 1536), (9, 1536, 512),
  ])
  func `the depths and columns of layers`(_ rows: Int, _ depth: Int, _ columns: Int) throws {
    try check([(rows, depth, columns)])
  }

  @Test(arguments: [(3, 8192, 64), (2, 6144, 64), (2, 12288, 64), (4, 64, 8192), (4, 64, 6144)])
  func `the largest depths and columns of layers`(
    _ rows: Int,
    _ depth: Int,
    _ columns: Int
  ) throws {
    try check([(rows, depth, columns)])
  }

  @Test(arguments: [1, 2, 3]) func `fewer cores`(_ side: Int) throws {
    try check([(8, 64, 64), (64 * side + 3, 130, 64 * side + 9), (1, 64, 5)], side: side)
  }

  @Test func `a shape says how it is made of calls`() throws {
    let shape = try ProductShape(rows: 600, depth: 13_000, columns: 20_000)
    let steps = shape.calls.map(\.steps)
    #expect(shape.depthParts == 3 && steps.allSatisfy { $0 <= MatrixProduct.mostSteps })
    #expect(shape.calls.allSatisfy { $0.passes.count <= MatrixProduct.mostPasses })
    #expect(shape.calls.count == 3 * 3 * 2)
    // All rows are stored once by each call of a part.
    for call in shape.calls {
      #expect((0..<4).reduce(0) { $0 + call.rows(of: $1).count } == call.rows.count)
      for row in 0..<4 {
        let (offset, count) = call.rows(of: row)
        #expect(offset >= 0 && offset.isMultiple(of: 4) && offset + count <= MatrixProduct.rows)
      }
    }
    #expect(throws: NPUError.self) { try ProductShape(rows: 0, depth: 64, columns: 64) }
    #expect(throws: NPUError.self) { try ProductShape(rows: 8, depth: .max, columns: 64) }
    for side in [-1, 0, 5] {
      #expect(throws: NPUError.self) { try MatrixProduct(side: side, kernel: "done") }
    }
    #expect(throws: NPUError.self) { try shape.packed([1, 2, 3]) }
    let other = try ProductShape(rows: 8, depth: 64, columns: 64, side: 2)
    let product = try #require(Self.products[4])
    #expect(throws: NPUError.self) { try product.operations(for: other) }
  }

  @Test func `most cycles are products where a product is large`() throws {
    // This is a small one: what the controller needs at the beginning counts twice as much as in a model's layer.
    let report = try #require(try check([(256, 2048, 1024)]).first)
    let activity = report.activity
    #expect(activity.products == 256 * 2048 * 1024 / 256)
    let all =
      activity.products + activity.others + activity.lockStalls + activity.bankStalls
      + activity.waits
    // Sixteen cores; a quantum more or less.
    #expect(abs(all - 16 * report.cycles) <= 16 * 64)
    #expect(Double(activity.products) / Double(all) > 0.4)
    #expect(report.wordsWritten == 256 * 1024 + 4 * 32 * 4)
  }

  // It takes four minutes: set the variable to see it.
  @Test(
    .enabled(
      if: ProcessInfo.processInfo.environment["TRESTLE_NPU_LARGE"] != nil,
      "TRESTLE_NPU_LARGE is not set"
    )
  )
  func `products of models' layers are exact, and their cycles are told`() throws {
    let product = try #require(Self.products[4])
    let sizes: [(String, Size)] = [
      ("of the usual size", (512, 2048, 2048)), ("3n E2B, attention", (256, 2048, 3072)),
      ("3n E2B, output", (256, 2048, 2048)), ("3n E2B, gate and up", (256, 2048, 16384)),
      ("3n E2B, down", (256, 8192, 2048)), ("4 E2B, attention", (256, 1536, 2560)),
      ("4 E2B, output", (256, 2048, 1536)), ("4 E2B, gate and up", (256, 1536, 12288)),
      ("4 E2B, down", (256, 6144, 1536)), ("128 rows", (128, 2048, 2048)),
      ("one row", (1, 2048, 2048)),
    ]
    print("all projected: simulated cycles, at 1.0 and 1.6 GHz with 26 GB/s to memory")
    for (name, size) in sizes {
      let shape = try ProductShape(rows: size.0, depth: size.1, columns: size.2)
      var data = try ProductData(shape, seed: 5)
      let code = ControlCode.words(of: try product.operations(for: shape))
      for gigahertz in [1.0, 1.6] {
        let array = SimulatedArray(timing: SimulatedTiming(clock: gigahertz * 1e9))
        try array.configure(product.image)
        let began = ContinuousClock.now
        let report = try array.call(code, &data.arguments)
        let seconds = ContinuousClock.now - began
        #expect(data.wrongRows().isEmpty)
        print(line(name, size, gigahertz, report), "simulated in \(seconds)")
      }
    }
  }

  /// What a report says of a product, as a line of a table.
  private func line(
    _ name: String,
    _ size: Size,
    _ gigahertz: Double,
    _ report: CallReport
  )
    -> String
  {
    let all = Double(16 * report.cycles)
    func percent(_ part: Int) -> String { String(format: "%.1f %%", 100 * Double(part) / all) }
    let products = Double(size.0) * Double(size.1) * Double(size.2)
    let milliseconds = Double(report.cycles) / gigahertz / 1e6
    let useful = String(format: "%.1f %%", 100 * products / 256 / all)
    let activity = report.activity
    return """
      | \(name) | \(size.0) x \(size.1) x \(size.2) | \(gigahertz) | \(report.cycles) | \
      \(String(format: "%.2f", milliseconds)) | \
      \(String(format: "%.2f", 2 * products / milliseconds / 1e9)) | \(useful) | \
      \(percent(activity.products)) | \(percent(activity.others)) | \
      \(percent(activity.lockStalls)) | \(percent(activity.bankStalls)) | \
      \(percent(activity.waits)) |
      """
  }
}
