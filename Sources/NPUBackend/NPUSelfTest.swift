// Tries an NPU step by step, from what cannot hang to what can. Each step needs more than the one before, so the first
// that fails says what does not hold. docs/NPU.md says how its report is read.

package import NPUDriver
internal import NPUArray
internal import NPUKernels

/// A configuration and control code that somebody else has made, known to run.
///
/// Where they do and our own designs do not, the designs are wrong; where they do not, the driver's part is.
package struct ForeignDesign: Sendable {
  /// The words of a PDI.
  package var image: [UInt32]
  /// The words of a TXN.
  package var code: [UInt32]

  package init(image: [UInt32], code: [UInt32]) {
    self.image = image
    self.code = code
  }
}

/// What one step has found.
package struct NPUSelfTestStep: Sendable, Hashable, Encodable {
  package enum Outcome: String, Sendable, Hashable, Encodable {
    case passed, failed, skipped
  }

  package var name: String
  /// What it shows if it passes.
  package var proves: String
  package var outcome: Outcome
  /// What was found, or why it has failed or was skipped.
  package var detail: String
  /// How long its commands took, in microseconds; nil without commands.
  package var microseconds: Double?

  /// Whether it was skipped because nobody has asked for it, and not because one before has failed.
  package var isUnasked: Bool { outcome == .skipped && detail != Self.isBehindFailure }

  fileprivate static let isBehindFailure = "a step before has failed"
}

/// Runs the steps.
package struct NPUSelfTest {
  private let kernel: any KernelInterface
  private let foreign: ForeignDesign?
  /// How long a command may take.
  private let patience: Duration
  /// Rows, depth and columns of the last product.
  private let largest: (rows: Int, depth: Int, columns: Int)
  private let onStep: (NPUSelfTestStep) throws -> Void

  /// - Parameters:
  ///   - kernel: Whom to ask for the device.
  ///   - foreign: What somebody else has made; nil to skip that step.
  ///   - patience: How long a command may take.
  ///   - largest: Rows, depth and columns of the product that is timed.
  ///   - onStep: Is told what each step has found, as soon as it has.
  package init(
    _ kernel: any KernelInterface,
    foreign: ForeignDesign?,
    patience: Duration = .seconds(5),
    largest: (rows: Int, depth: Int, columns: Int) = (256, 2048, 2048),
    onStep: @escaping (NPUSelfTestStep) throws -> Void = { _ in }
  ) {
    self.kernel = kernel
    self.foreign = foreign
    self.patience = patience
    self.largest = largest
    self.onStep = onStep
  }

  /// Why a step has failed.
  private struct Failure: Error {
    var message: String
  }

  /// What a step has found that has passed.
  private struct Finding {
    var detail: String
    var microseconds: Double?
  }

  /// Runs the steps up to the first that fails; those behind it are skipped.
  ///
  /// - Returns: All steps, and what the driver says of the device if it could be opened.
  /// - Throws: What `onStep` throws.
  package func run() throws -> (steps: [NPUSelfTestStep], info: NPUDeviceInfo?) {
    var steps: [NPUSelfTestStep] = []
    var device: NPUDevice?
    func step(_ name: String, _ proves: String, _ body: () throws -> Finding) throws {
      var step = NPUSelfTestStep(name: name, proves: proves, outcome: .passed, detail: "")
      if steps.contains(where: { $0.outcome == .failed }) {
        step.outcome = .skipped
        step.detail = NPUSelfTestStep.isBehindFailure
      } else {
        do {
          let finding = try body()
          step.detail = finding.detail
          step.microseconds = finding.microseconds
        } catch let error as Skip {
          step.outcome = .skipped
          step.detail = error.reason
        } catch {
          step.outcome = .failed
          step.detail = (error as? Failure)?.message ?? "\(error)"
        }
      }
      steps.append(step)
      try onStep(step)
    }
    try step("open", "a node of the driver, and the right to open it") {
      let opened = try NPUDevice(kernel)
      device = opened
      return Finding(detail: opened.info.node + ", " + opened.info.driver)
    }
    func opened() throws -> NPUDevice {
      guard let device else { throw Failure(message: "the device was not opened") }
      return device
    }
    try step("queries", "driver and firmware answer") { try queries(opened()) }
    try step("foreign design", "driver and firmware run what others have made") {
      try runForeign(opened())
    }
    try step("pass-through", "shims and memory tiles move words, and tokens come") {
      try passThrough(opened())
    }
    try step("copy", "a core runs a program of the assembler's, with locks and channels") {
      try copy(opened())
    }
    try step("block", "one core multiplies one step of 64 exactly") {
      try multiply(opened(), side: 1, (64, 64, 64))
    }
    try step("core", "one core sums over steps, and stores tails") {
      try multiply(opened(), side: 1, (50, 320, 150))
    }
    try step("array", "sixteen cores share rows and columns") {
      try multiply(opened(), side: 4, (256, 256, 512))
    }
    try step("product", "a product of a layer's size, against the CPU") {
      try multiply(opened(), side: 4, largest)
    }
    return (steps, device?.info)
  }

  private struct Skip: Error {
    var reason: String
  }

  private func queries(_ device: NPUDevice) throws -> Finding {
    let info = device.info
    guard let columns = info.columns, let rows = info.rows, let firmware = info.firmware else {
      throw Failure(message: "the driver does not tell the array's size or the firmware's version")
    }
    guard columns >= 4, rows == 6 else {
      throw Failure(message: "an array of \(columns) columns and \(rows) rows; known are 5 and 6")
    }
    return Finding(
      detail: "\(columns) columns, \(rows) rows, firmware \(firmware), "
        + (info.arrayClock.map { "array at \($0) MHz" } ?? "no clock told")
    )
  }

  // MARK: Designs

  private func runForeign(_ device: NPUDevice) throws -> Finding {
    guard let foreign else { throw Skip(reason: "none was given") }
    let operations = try ControlCode.operations(in: foreign.code)
    let arguments = operations.compactMap { operation -> Int? in
      if case .patch(_, let argument, _) = operation { argument } else { nil }
    }
    let count = (arguments.max() ?? -1) + 1
    guard count <= NPUCommand.mostArguments else {
      throw Failure(
        message: "its control code refers to \(count) arguments; a command has "
          + "\(NPUCommand.mostArguments) at most"
      )
    }
    // Whatever it computes is computed from zeros; that it ends is what counts.
    let buffers = try (0..<count).map { _ in
      try NPUBuffer(device, .shared, byteCount: Self.foreignBytes)
    }
    for buffer in buffers {
      buffer.clear()
      try buffer.write()
    }
    let time = try run(device, image: foreign.image, code: foreign.code, buffers)
    return Finding(
      detail: "\(operations.count) operations on \(count) arguments",
      microseconds: time
    )
  }

  private static let foreignBytes = 16 << 20

  private func passThrough(_ device: NPUDevice) throws -> Finding {
    let words = 1024
    let compiled = try BringUp.passThrough(column: 0, words: words).compiled()
    return try move(device, compiled.image, words: words, columns: [0])
  }

  private func copy(_ device: NPUDevice) throws -> Finding {
    let words = 256
    let design = try BringUp.copies(
      column: 0,
      cores: (0..<4).map { Tile($0, 2) },
      words: words,
      kernel: unsafe String(cString: npu_copy())
    )
    return try move(device, design.compiled().image, words: words, columns: Array(0..<4))
  }

  /// Sends words in at column 0, and expects them at each of some columns.
  private func move(
    _ device: NPUDevice,
    _ image: [UInt32],
    words: Int,
    columns: [Int]
  ) throws -> Finding {
    let total = 4 * words
    let transfers =
      [HostTransfer(.outOfMemory, column: 0, argument: 0, words: total)]
      + columns.map {
        HostTransfer(.intoMemory, column: $0, argument: 1 + $0, words: total)
      }
    let input = try NPUBuffer(device, .shared, byteCount: 4 * total)
    let outputs = try (0...(columns.max() ?? 0)).map { _ in
      try NPUBuffer(device, .shared, byteCount: 4 * total)
    }
    let sent = (0..<total).map { UInt32(truncatingIfNeeded: $0 &* 2_654_435_761 &+ 12_345) }
    input.put(sent)
    for buffer in outputs { buffer.clear() }
    for buffer in [input] + outputs { try buffer.write() }
    let code = ControlCode.words(of: try HostCall.operations(for: transfers))
    let time = try run(device, image: image, code: code, [input] + outputs)
    for column in columns {
      try outputs[column].read()
      let received = outputs[column].copy
      let wrong = (0..<total).first { received[$0] != sent[$0] }
      if let wrong {
        throw Failure(
          message: "word \(wrong) of \(total) at column \(column) is "
            + received[wrong].hexadecimal + ", not " + sent[wrong].hexadecimal
        )
      }
    }
    return Finding(
      detail: "\(total) words at \(columns.count) column\(columns.count == 1 ? "" : "s")",
      microseconds: time
    )
  }

  private func multiply(
    _ device: NPUDevice,
    side: Int,
    _ size: (rows: Int, depth: Int, columns: Int)
  ) throws -> Finding {
    let product = try MatrixProduct(side: side, kernel: unsafe String(cString: npu_gemm_int8()))
    let shape = try ProductShape(
      rows: size.rows,
      depth: size.depth,
      columns: size.columns,
      side: side
    )
    var random = UInt64(20_261_130)
    func bytes(_ count: Int) -> [Int8] {
      (0..<count).map { _ in
        random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int8(truncatingIfNeeded: random >> 56)
      }
    }
    let a = bytes(size.rows * size.depth)
    let b = bytes(size.depth * size.columns)
    let inputs = try NPUBuffer(device, .shared, byteCount: 4 * shape.wordsOfA)
    let weights = try NPUBuffer(device, .shared, byteCount: 4 * shape.wordsOfB)
    let sums = try NPUBuffer(device, .shared, byteCount: 4 * shape.wordsOfC)
    let marks = try NPUBuffer(device, .shared, byteCount: 4 * shape.wordsOfMarks)
    let all = [inputs, weights, sums, marks]
    for buffer in all { buffer.clear() }
    var rows = [UInt32](repeating: 0, count: shape.wordsOfA)
    for row in 0..<size.rows {
      for column in 0..<size.depth {
        let place = row * shape.pitchOfA + column
        let byte = UInt8(bitPattern: a[row * size.depth + column])
        rows[place / 4] |= UInt32(byte) << UInt32(place % 4 * 8)
      }
    }
    inputs.put(rows)
    weights.put(try shape.packed(b))
    for buffer in all { try buffer.write() }
    let code = ControlCode.words(of: try product.operations(for: shape))
    let time: Double
    do {
      time = try run(device, image: product.image, code: code, all)
    } catch {
      try? marks.read()
      let count = marks.copy.count { $0 == MatrixProduct.mark }
      throw Failure(message: "\(error); \(count) steps were marked")
    }
    try sums.read()
    let found = sums.copy
    try compare(found, a, b, shape)
    let operations = 2 * Double(size.rows) * Double(size.depth) * Double(size.columns)
    return Finding(
      detail: "\(size.rows) x \(size.depth) x \(size.columns) is exact; "
        + rate(operations, time, isEmulated: device.info.isEmulated),
      microseconds: time
    )
  }

  /// Compares all sums.
  private func compare(
    _ found: [UInt32],
    _ a: [Int8],
    _ b: [Int8],
    _ shape: ProductShape
  ) throws {
    let wide = b.map(Int32.init)
    var sums = [Int32](repeating: 0, count: shape.columns)
    for row in 0..<shape.rows {
      for column in 0..<shape.columns { sums[column] = 0 }
      for k in 0..<shape.depth {
        let left = Int32(a[row * shape.depth + k])
        for column in 0..<shape.columns {
          sums[column] &+= left &* wide[k * shape.columns + column]
        }
      }
      for column in 0..<shape.columns {
        let own = shape.element(row, column, in: found)
        guard own == sums[column] else {
          throw Failure(message: "element (\(row), \(column)) is \(own), not \(sums[column])")
        }
      }
    }
  }

  private func rate(_ operations: Double, _ time: Double, isEmulated: Bool) -> String {
    guard !isEmulated else { return "an emulation's speed says nothing" }
    let rate = operations / time / 1e6
    return "\((rate * 100).rounded() / 100) TOPS with its dispatch"
  }

  // MARK: Commands

  /// Runs control code on a context of its own, and returns how long it took, in microseconds.
  private func run(
    _ device: NPUDevice,
    image: [UInt32],
    code: [UInt32],
    _ arguments: [NPUBuffer]
  ) throws -> Double {
    let buffer = try NPUBuffer(device, .device, byteCount: 4 * code.count)
    buffer.put(code)
    try buffer.write()
    let context = try NPUContext(device, columns: 4, image: image)
    let command = NPUCommand(code: buffer, codeBytes: 4 * code.count, arguments: arguments)
    let began = ContinuousClock.now
    try context.run([command], patience: patience)
    return (ContinuousClock.now - began) / .microseconds(1)
  }
}
