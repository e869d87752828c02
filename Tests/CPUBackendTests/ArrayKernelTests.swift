// Products as an array of cores does them, against the same in plain Swift: rows and weights that are rotated and
// rounded to int8, exact sums, their check.

import BackendConformance
import CPUBackend
import CPUKernels
import TestSupport
import Testing

private let seed = testSeed(default: 47)

/// A product of some shape, its values, and what the kernels make of them.
private struct ArrayProduct {
  let rows: Int
  let depth: Int
  let columns: Int
  var side = 4
  /// Steps of 64 of each part of the depth.
  let steps: [Int64]
  /// Row by row, `depth` values each.
  var input: [Float]
  /// Column by column, `depth` values each.
  var weights: [Float]
  var threads: Int32 = 1

  var quants: [Int8] = []
  var rowScales: [Float] = []
  var packed: [Int8] = []
  var columnScales: [Float] = []
  var checks: [Int32] = []
  var sums: [Int32] = []

  init(rows: Int, depth: Int, columns: Int, parts: Int = 1, generator: inout Generator) {
    self.rows = rows
    self.depth = depth
    self.columns = columns
    let all = (depth + 63) / 64
    steps = (0..<parts).map { Int64(all * ($0 + 1) / parts - all * $0 / parts) }
    input = (0..<rows * depth).map { _ in generator.uniform() }
    weights = (0..<columns * depth).map { _ in generator.uniform() }
  }

  var pitch: Int { Int(steps.reduce(0, +)) * 64 }
  var passes: Int { ((columns + 63) / 64 + side - 1) / side }
  /// Columns of sums.
  var width: Int { (columns + 7) / 8 * 8 }

  // MARK: The same in plain Swift

  /// A row whose blocks are multiplied by a normalised Hadamard matrix.
  ///
  /// The additions are in the order of the kernels, so the bits are the same.
  static func rotated(_ values: ArraySlice<Float>) -> [Float] {
    var x = Array(values)
    var length = 1
    while length < 256 && x.count.isMultiple(of: 2 * length) { length *= 2 }
    var half = 1
    while half < length {
      for low in x.indices where low & half == 0 {
        (x[low], x[low + half]) = (x[low] + x[low + half], x[low] - x[low + half])
      }
      half *= 2
    }
    let factor = 1 / Float(length).squareRoot()
    return x.map { $0 * factor }
  }

  /// One row's rotated values as int8, and their scale.
  static func quantised(_ values: ArraySlice<Float>) -> (quants: [Int8], scale: Float) {
    rounded(rotated(values))
  }

  /// Values as int8, and their scale.
  static func rounded(_ values: [Float]) -> (quants: [Int8], scale: Float) {
    let largest = values.reduce(Float(0)) { max($0, abs($1)) }
    return (
      values.map { Int8(($0 * (127 / largest)).rounded(.toNearestOrEven)) },
      largest / 127
    )
  }

  func inputRow(_ row: Int) -> ArraySlice<Float> { input[row * depth..<(row + 1) * depth] }
  func weightsOf(_ column: Int) -> ArraySlice<Float> {
    weights[column * depth..<(column + 1) * depth]
  }

  /// Where the value of a column at `k` of the depth is packed.
  func place(_ column: Int, _ k: Int) -> Int {
    var (part, step, before) = (0, k / 64, 0)
    while step >= Int(steps[part]) {
      step -= Int(steps[part])
      before += Int(steps[part]) * passes * side
      part += 1
    }
    let strip = column / 64 % side * passes + column / 64 / side
    let inStep = column % 64 / 16 * 1024 + k % 64 / 8 * 128
    let inPair = column % 16 / 8 * 64 + k % 8 * 8 + column % 8
    return (before + strip * Int(steps[part]) + step) * 4096 + inStep + inPair
  }

  /// The exact sums of the quants, those of each part behind each other.
  func exactSums() -> [Int32] {
    let weights = (0..<columns).map { Self.quantised(weightsOf($0)).quants }
    var sums: [Int32] = Array(repeating: 0, count: steps.count * rows * width)
    var first = 0
    for part in steps.indices {
      let end = min(depth, first + Int(steps[part]) * 64)
      for row in 0..<rows {
        for column in 0..<columns {
          var sum: Int32 = 0
          for k in first..<end { sum += Int32(quants[row * pitch + k]) * Int32(weights[column][k]) }
          sums[(part * rows + row) * width + column] = sum
        }
      }
      first = end
    }
    return sums
  }

  // MARK: The kernels

  private func run<Arguments>(_ kernel: cpu_kernel, _ arguments: Arguments) {
    var step = unsafe cpu_step()
    unsafe step.counts = (Int32(rows), Int32(rows))
    // A row for each thread, of whole vectors.
    let scratchByteCount = (depth + 15) / 16 * 64
    unsafe step.scratch_bytes = Int64(scratchByteCount)
    var scratch: [UInt8] = Array(repeating: 99, count: scratchByteCount * Int(threads))
    unsafe scratch.withUnsafeMutableBufferPointer { scratch in
      unsafe step.scratch = scratch.baseAddress
      unsafe withUnsafePointer(to: arguments) { arguments in
        for thread in 0..<threads {
          unsafe kernel(UnsafeRawPointer(arguments), &step, thread, threads)
        }
      }
    }
  }

  mutating func quantise(_ kernels: cpu_kernels) {
    var input = input
    var quants: [Int8] = Array(repeating: 99, count: rows * pitch)
    var rowScales: [Float] = Array(repeating: -1, count: rows)
    unsafe input.withUnsafeMutableBufferPointer { input in
      unsafe quants.withUnsafeMutableBufferPointer { quants in
        unsafe rowScales.withUnsafeMutableBufferPointer { scales in
          let plane = unsafe cpu_plane(
            base: input.baseAddress,
            width: Int64(depth),
            plane: 0,
            row_set: 0
          )
          let output = unsafe cpu_row_quants(
            quants: quants.baseAddress,
            scales: scales.baseAddress,
            pitch: Int64(pitch)
          )
          unsafe run(
            kernels.quantise_rows,
            cpu_quantise_rows_args(input: plane, output: output)
          )
        }
      }
    }
    self.quants = quants
    self.rowScales = rowScales
  }

  mutating func pack(_ kernels: cpu_kernels) {
    var packed: [Int8] = Array(repeating: 99, count: passes * side * pitch * 64)
    var columnScales: [Float] = Array(repeating: -1, count: columns)
    var checks: [Int32] = Array(repeating: 0, count: depth)
    var args = unsafe cpu_pack_array_args()
    unsafe args.passes = Int64(passes)
    unsafe args.side = Int64(side)
    unsafe args.part_count = Int64(steps.count)
    unsafe weights.withUnsafeBytes { weights in
      unsafe packed.withUnsafeMutableBufferPointer { packed in
        unsafe columnScales.withUnsafeMutableBufferPointer { scales in
          unsafe checks.withUnsafeMutableBufferPointer { checks in
            unsafe steps.withUnsafeBufferPointer { steps in
              unsafe args.source = unsafe cpu_matrix(
                bytes: weights.bindMemory(to: UInt8.self).baseAddress,
                rows: Int64(columns),
                columns: Int64(depth),
                row_bytes: Int64(depth * 4),
                type: CPU_f32
              )
              unsafe args.packed = packed.baseAddress
              unsafe args.part_steps = steps.baseAddress
              unsafe args.scales = scales.baseAddress
              unsafe args.checks = checks.baseAddress
              unsafe run(kernels.pack_array, args)
            }
          }
        }
      }
    }
    self.packed = packed
    self.columnScales = columnScales
    self.checks = checks
  }

  mutating func multiply(_ kernels: cpu_kernels) {
    var quants = quants
    var sums: [Int32] = Array(repeating: 99, count: steps.count * rows * width)
    var args = unsafe cpu_multiply_array_args()
    unsafe args.sums_pitch = Int64(width)
    unsafe args.sums_part = Int64(rows * width)
    unsafe quants.withUnsafeMutableBufferPointer { quants in
      unsafe packed.withUnsafeBufferPointer { packed in
        unsafe sums.withUnsafeMutableBufferPointer { sums in
          unsafe steps.withUnsafeBufferPointer { steps in
            unsafe args.weight = unsafe cpu_array_weight(
              packed: packed.baseAddress,
              columns: Int64(columns),
              passes: Int64(passes),
              side: Int64(side),
              part_count: Int64(steps.count),
              part_steps: steps.baseAddress
            )
            unsafe args.input.quants = quants.baseAddress
            unsafe args.input.pitch = Int64(pitch)
            unsafe args.sums = sums.baseAddress
            unsafe run(kernels.multiply_array, args)
          }
        }
      }
    }
    self.sums = sums
  }

  /// The outputs, and the row that the check finds wrong, counted from 1.
  func scaled(_ kernels: cpu_kernels, softcap: Float = 0) -> ([Float], Int32) {
    var (quants, rowScales) = (quants, rowScales)
    var output = Array(repeating: Float(-1), count: rows * columns)
    var wrong: Int32 = 0
    var args = unsafe cpu_scale_sums_args()
    unsafe args.sums_pitch = Int64(width)
    unsafe args.sums_part = Int64(rows * width)
    unsafe args.part_count = Int64(steps.count)
    unsafe args.depth = Int64(depth)
    unsafe args.softcap = softcap
    unsafe quants.withUnsafeMutableBufferPointer { quants in
      unsafe rowScales.withUnsafeMutableBufferPointer { rowScales in
        unsafe sums.withUnsafeBufferPointer { sums in
          unsafe columnScales.withUnsafeBufferPointer { scales in
            unsafe checks.withUnsafeBufferPointer { checks in
              unsafe output.withUnsafeMutableBufferPointer { output in
                unsafe withUnsafeMutablePointer(to: &wrong) { wrong in
                  unsafe args.sums = sums.baseAddress
                  unsafe args.input = unsafe cpu_row_quants(
                    quants: quants.baseAddress,
                    scales: rowScales.baseAddress,
                    pitch: Int64(pitch)
                  )
                  unsafe args.scales = scales.baseAddress
                  unsafe args.checks = checks.baseAddress
                  unsafe args.output.base = output.baseAddress
                  unsafe args.output.width = Int64(columns)
                  unsafe args.wrong = unsafe wrong
                  unsafe run(kernels.scale_sums, args)
                }
              }
            }
          }
        }
      }
    }
    return (output, wrong)
  }

  /// Everything up to the sums.
  mutating func compute(_ kernels: cpu_kernels) {
    quantise(kernels)
    pack(kernels)
    multiply(kernels)
  }
}

private func dot(_ a: ArraySlice<Float>, _ b: ArraySlice<Float>) -> Double {
  zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) }
}

private func norm(_ a: ArraySlice<Float>) -> Double { dot(a, a).squareRoot() }

/// The sum of the squares of how far quants are from values.
private func squaredError(of quants: [Int8], _ scale: Float, from values: [Float]) -> Double {
  zip(quants, values).reduce(0) { sum, pair in
    let error = Double(pair.0) * Double(scale) - Double(pair.1)
    return sum + error * error
  }
}

@Suite(.seeded(default: 47)) struct `Kernels of products as an array does them` {
  private func kernels(_ set: InstructionSet) throws -> cpu_kernels {
    unsafe try kernelTable(of: set).pointee
  }

  /// Products of many shapes, with and without whole tiles, strips and vectors.
  private func products(_ name: String) -> [ArrayProduct] {
    var generator = Generator(seed: seed, name: name)
    return [1, 2, 3, 5, 8, 17, 31].enumerated().flatMap { index, rows in
      [(1, 1), (7, 65), (64, 64), (130, 200), (300, 129), (9, 768)].map { columns, depth in
        var product = ArrayProduct(
          rows: rows,
          depth: depth,
          columns: columns,
          parts: depth > 128 ? 1 + index % 3 : 1,
          generator: &generator
        )
        product.threads = Int32(1 + index % 3)
        return product
      }
    }
  }

  @Test(arguments: instructionSets)
  func `rows and weights round to the nearest step of their scale`(
    _ set: InstructionSet
  ) throws {
    let kernels = try kernels(set)
    for var product in products("rounding") {
      product.quantise(kernels)
      product.pack(kernels)
      for row in 0..<product.rows {
        let (quants, scale) = ArrayProduct.quantised(product.inputRow(row))
        let first = row * product.pitch
        #expect(Array(product.quants[first..<first + product.depth]) == quants)
        let beyond = product.quants[first + product.depth..<first + product.pitch]
        #expect(beyond.allSatisfy { $0 == 99 })
        #expect(product.rowScales[row] == scale)
      }
      var packed: [Int8] = Array(repeating: 0, count: product.packed.count)
      var checks: [Int32] = Array(repeating: 0, count: product.depth)
      for column in 0..<product.columns {
        let (quants, scale) = ArrayProduct.quantised(product.weightsOf(column))
        #expect(product.columnScales[column] == scale)
        for (k, quant) in quants.enumerated() {
          packed[product.place(column, k)] = quant
          checks[k] += Int32(quant)
        }
      }
      #expect(product.packed == packed)
      #expect(product.checks == checks)
    }
  }

  @Test(arguments: [1, 7, 8, 24, 40, 96, 640, 2048])
  func `rows of any width have the same bytes with every instruction set`(_ width: Int) throws {
    var generator = Generator(seed: seed, name: "widths \(width)")
    var product = ArrayProduct(rows: 5, depth: width, columns: 9, generator: &generator)
    for index in product.input.indices {
      product.input[index] *= [1e-3, 1, 1e3][index % 3]
    }
    product.threads = 2
    for set in instructionSets {
      let kernels = try kernels(set)
      product.quantise(kernels)
      product.pack(kernels)
      for row in 0..<product.rows {
        let (quants, scale) = ArrayProduct.quantised(product.inputRow(row))
        let first = row * product.pitch
        #expect(Array(product.quants[first..<first + width]) == quants, "\(set)")
        #expect(product.rowScales[row] == scale, "\(set)")
      }
      for column in 0..<product.columns {
        let (quants, scale) = ArrayProduct.quantised(product.weightsOf(column))
        let packed = (0..<width).map { product.packed[product.place(column, $0)] }
        #expect(packed == quants, "\(set)")
        #expect(product.columnScales[column] == scale, "\(set)")
      }
    }
  }

  @Test(arguments: [1, 7, 8, 24, 40, 96, 640, 2048])
  func `rotated rows have the dot product of the rows`(_ width: Int) {
    var generator = Generator(seed: seed, name: "dots \(width)")
    let product = ArrayProduct(rows: 4, depth: width, columns: 4, generator: &generator)
    for index in 0..<4 {
      let (x, w) = (product.inputRow(index), product.weightsOf(index))
      let got = dot(ArrayProduct.rotated(x)[...], ArrayProduct.rotated(w)[...])
      // Eight additions and a product are rounded on each side, and so is the factor.
      let bound = 20 * 0x1p-24 * norm(x) * norm(w)
      #expect(abs(got - dot(x, w)) <= bound)
    }
  }

  @Test(arguments: instructionSets)
  func `outputs are the product of the rows, but for rounding to steps`(
    _ set: InstructionSet
  ) throws {
    let kernels = try kernels(set)
    for var product in products("outputs") where product.rows <= 5 {
      product.compute(kernels)
      let (output, _) = product.scaled(kernels)
      let most = Double(product.depth).squareRoot() / 2
      let xNorms = (0..<product.rows).map { norm(product.inputRow($0)) }
      let wNorms = (0..<product.columns).map { norm(product.weightsOf($0)) }
      for (index, value) in output.enumerated() {
        let (row, column) = (index / product.columns, index % product.columns)
        let want = dot(product.inputRow(row), product.weightsOf(column))
        // Half a step for each value is the most that rounding moves a row.
        let xError = most * Double(product.rowScales[row])
        let wError = most * Double(product.columnScales[column])
        let (xNorm, wNorm) = (xNorms[row], wNorms[column])
        let bound = xNorm * wError + wNorm * xError + xError * wError + 1e-5 * xNorm * wNorm
        #expect(abs(Double(value) - want) <= bound)
      }
    }
  }

  @Test(arguments: instructionSets)
  func `an outlier leaves the other values of its row their steps`(_ set: InstructionSet) throws {
    let kernels = try kernels(set)
    var generator = Generator(seed: seed, name: "outlier")
    var product = ArrayProduct(rows: 2, depth: 2048, columns: 1, generator: &generator)
    product.input[700] = 1000
    product.input[2048 + 2047] = -1000
    product.quantise(kernels)
    for row in 0..<2 {
      let values = Array(product.inputRow(row))
      let first = row * product.pitch
      let quants = Array(product.quants[first..<first + product.depth])
      let rotated = squaredError(
        of: quants,
        product.rowScales[row],
        from: ArrayProduct.rotated(values[...])
      )
      // Without the rotation a step is 1000 / 127, and all other values become 0. With it, a step
      // is about 1000 / √256 / 127 = 0.5. To rotate back would not change the error's length.
      let (plainQuants, plainScale) = ArrayProduct.rounded(values)
      let plain = squaredError(of: plainQuants, plainScale, from: values)
      #expect(plain > 10 * rotated, "\(plain) without the rotation, \(rotated) with it")
    }
  }

  @Test(arguments: instructionSets)
  func `sums are exact, and outputs are the scaled sums`(_ set: InstructionSet) throws {
    let kernels = try kernels(set)
    for var product in products("sums") {
      product.compute(kernels)
      let (output, wrong) = product.scaled(kernels)
      #expect(wrong == 0)
      let sums = product.exactSums()
      #expect(product.sums == sums)
      let want = (0..<product.rows * product.columns).map { index in
        let (row, column) = (index / product.columns, index % product.columns)
        let total = product.steps.indices.reduce(Int32(0)) {
          $0 + sums[($1 * product.rows + row) * product.width + column]
        }
        return Float(total) * (product.rowScales[row] * product.columnScales[column])
      }
      #expect(output == want)
    }
  }

  @Test(arguments: instructionSets)
  func `sums of the most extreme bytes are exact over a depth of several parts`(
    _ set: InstructionSet
  ) throws {
    let kernels = try kernels(set)
    var generator = Generator(seed: seed, name: "extremes")
    for (quant, weight) in [(-128, -128), (-128, 127), (127, -128), (127, 127)] as [(Int8, Int8)] {
      var product = ArrayProduct(
        rows: 3,
        depth: 6400,
        columns: 9,
        parts: 2,
        generator: &generator
      )
      product.quants = Array(repeating: quant, count: product.rows * product.pitch)
      product.packed = Array(repeating: weight, count: product.passes * 4 * product.pitch * 64)
      product.multiply(kernels)
      #expect(product.sums.allSatisfy { $0 == 3200 * Int32(quant) * Int32(weight) })
    }
  }

  @Test(arguments: instructionSets)
  func `a flipped bit in any sum is found in its row`(_ set: InstructionSet) throws {
    let kernels = try kernels(set)
    var generator = Generator(seed: seed, name: "flips")
    var product = ArrayProduct(
      rows: 3,
      depth: 200,
      columns: 21,
      parts: 2,
      generator: &generator
    )
    product.compute(kernels)
    for index in product.sums.indices {
      product.sums[index] ^= 1 << Int32(index % 32)
      let (_, wrong) = product.scaled(kernels)
      #expect(Int(wrong) == index / product.width % product.rows + 1)
      product.sums[index] ^= 1 << Int32(index % 32)
    }
    #expect(product.scaled(kernels).1 == 0)
  }

  @Test(arguments: instructionSets, [Float.nan, -.nan, .infinity, -.infinity])
  func `a row or column with a value that is no number has outputs that are none`(
    _ set: InstructionSet,
    _ value: Float
  ) throws {
    let kernels = try kernels(set)
    var generator = Generator(seed: seed, name: "numbers")
    // Blocks of one value, three blocks of 32, one block of 256.
    for depth in [77, 96, 256] {
      var product = ArrayProduct(rows: 3, depth: depth, columns: 20, generator: &generator)
      product.input[depth + 70] = value
      product.weights[6 * depth + 5] = value
      product.weights.replaceSubrange(4 * depth..<5 * depth, with: repeatElement(0, count: depth))
      product.compute(kernels)
      for softcap: Float in [0, 30] {
        let (output, wrong) = product.scaled(kernels, softcap: softcap)
        #expect(wrong == 0)
        for (index, value) in output.enumerated() {
          #expect(index / 20 == 1 || index % 20 == 6 ? value.isNaN : value.isFinite)
        }
      }
    }
  }

  @Test(arguments: instructionSets)
  func `a softcap limits outputs and keeps small ones`(_ set: InstructionSet) throws {
    let kernels = try kernels(set)
    var generator = Generator(seed: seed, name: "softcap")
    var product = ArrayProduct(rows: 2, depth: 300, columns: 40, generator: &generator)
    product.compute(kernels)
    let (plain, _) = product.scaled(kernels)
    let (capped, _) = product.scaled(kernels, softcap: 5)
    for (value, got) in zip(plain, capped) {
      #expect(abs(got) <= 5 && abs(got) <= abs(value) * 1.00001)
      #expect(abs(got - value) <= abs(value * value * value) / 75 + 1e-5)
    }
  }
}
