// The array as what it is for the backend: something that multiplies matrices of bytes.
//
// One context holds the configuration that serves all shapes; control code is made once for each shape and kept. A
// dispatch that fails is done again on a new context, once. If that fails, too, or if sums are wrong, the device is lost
// for this process: it would have to be opened anew, which a worker's next start does.

internal import CPUBackend
internal import Compute
internal import NPUDriver
internal import NPUArray
internal import NPUKernels
internal import Platform

/// Memory that the array and the process share.
@safe final class NPUMemory: ProductMemory {
  let buffer: NPUBuffer

  init(_ buffer: NPUBuffer) { self.buffer = buffer }

  var base: UnsafeMutableRawPointer { unsafe buffer.base }
  var byteCount: Int { buffer.byteCount }
}

/// An open NPU with the configuration for products.
final class NPUEngine: ArrayProducts {
  let device: NPUDevice
  let shapes: ProductShapes
  private let product: MatrixProduct
  private let state: Lock<State>
  private let note: @Sendable (String) -> Void

  private struct State {
    /// nil as soon as the device is lost.
    var context: NPUContext?
    /// Why it is.
    var loss: String?
    var codes: [ProductShape: Code] = [:]
    /// Where the array writes marks of how far it has come.
    var marks: NPUBuffer?
    var statistics = NPUStatistics()
  }

  private struct Code {
    var shape: ProductShape
    var buffer: NPUBuffer
    var byteCount: Int
  }

  private static let columns = 4

  /// Opens the device and configures its array.
  ///
  /// - Parameters:
  ///   - kernel: Whom to ask for it.
  ///   - settings: How it is used; nil for what suits the device.
  ///   - threads: How many threads of the CPU would multiply instead.
  ///   - note: Is told what has gone wrong and was mended.
  /// - Throws: `ComputeError` with code `device` that says what is missing.
  init(
    _ kernel: any KernelInterface,
    _ settings: NPUSettings?,
    threads: Int,
    note: @escaping @Sendable (String) -> Void
  ) throws(ComputeError) {
    self.note = note
    do throws(NPUDriverError) { device = try NPUDevice(kernel) } catch {
      throw Self.computeError(error)
    }
    let settings = settings ?? (device.info.isEmulated ? .emulated : NPUSettings())
    shapes = ProductShapes(settings, threads: threads)
    do throws(NPUError) {
      product = try MatrixProduct(
        side: settings.side,
        kernel: unsafe String(cString: npu_gemm_int8())
      )
    } catch {
      throw ComputeError(.device, "the array's program is wrong: \(error)")
    }
    do throws(NPUDriverError) {
      let context = try NPUContext(device, columns: Self.columns, image: product.image)
      state = Lock(State(context: context))
    } catch {
      throw Self.computeError(error)
    }
    try multiplyOnce()
    state.withLock { $0.statistics = NPUStatistics() }
  }

  /// Multiplies small matrices of ones, and looks at the sums.
  ///
  /// A device that cannot even do this is one that cannot be opened: its layers go to others before a step has failed.
  func multiplyOnce() throws(ComputeError) {
    let (rows, size) = (leastSize, leastSize)
    let layout = try shapes.layout(depth: size, outputs: size)
    let sumRows = try sumRows(for: rows)
    let purpose = "a matrix of ones"
    let input = try allocate(inputRows(for: rows) * size, purpose: purpose)
    let weight = try allocate(layout.weightBytes, purpose: purpose)
    let sums = try allocate(4 * sumRows * layout.outputs, purpose: purpose)
    for memory in [input, weight] {
      let bytes = unsafe memory.base.assumingMemoryBound(to: Int8.self)
      unsafe bytes.update(repeating: 1, count: memory.byteCount)
    }
    try finish(weight)
    let product = DeviceProduct(
      name: purpose,
      depth: size,
      outputs: size,
      rowCount: rows,
      input: input,
      weight: weight,
      sums: sums,
      sumRows: sumRows
    )
    try run([product])
    let numbers = unsafe sums.base.assumingMemoryBound(to: Int32.self)
    let isRight = (0..<rows * size).allSatisfy { unsafe numbers[$0] == Int32(size) }
    withExtendedLifetime([input, weight, sums]) {}
    guard isRight else { throw lostByWrongSums(of: product, row: 0) }
  }

  private var leastSize: Int { MatrixProduct.depth }

  var statistics: NPUStatistics { state.withLock { $0.statistics } }

  static func computeError(_ error: NPUDriverError) -> ComputeError {
    // What a device that is not there would need is a longer story.
    let advice =
      error.code == .absent ? "; `trestle doctor` says more, --emulate simulates one" : ""
    return ComputeError(
      error.code == .exhausted ? .memory : .device,
      "\(error.message)\(advice)",
      context: "npu"
    )
  }

  var checksSums: Bool { true }

  // MARK: Memory

  func allocate(
    _ byteCount: Int,
    purpose: String
  ) throws(ComputeError) -> any ProductMemory {
    do throws(NPUDriverError) {
      return NPUMemory(try NPUBuffer(device, .shared, byteCount: Self.wholePages(byteCount)))
    } catch {
      throw ComputeError(
        error.code == .exhausted ? .memory : .device,
        "npu: no memory for \(purpose): \(error.message)"
      )
    }
  }

  private static func wholePages(_ byteCount: Int) -> Int {
    (max(byteCount, 1) + 4095) / 4096 * 4096
  }

  func finish(_ weight: any ProductMemory) throws(ComputeError) {
    guard let memory = weight as? NPUMemory else { preconditionFailure("memory of another device") }
    do throws(NPUDriverError) { try memory.buffer.write() } catch { throw Self.computeError(error) }
  }

  // MARK: Products

  func run(_ products: [DeviceProduct]) throws(ComputeError) {
    try state.withLock { state throws(ComputeError) in
      if let loss = state.loss { throw Self.lost(loss) }
      for first in stride(from: 0, to: products.count, by: NPUContext.mostCommands) {
        let part = Array(products[first..<min(first + NPUContext.mostCommands, products.count)])
        do throws(NPUDriverError) {
          try run(part, &state)
        } catch {
          throw lose(error.message, &state)
        }
      }
    }
  }

  func lostByWrongSums(of product: DeviceProduct, row: Int) -> ComputeError {
    state.withLock { state in
      lose("row \(row) of its product with \(product.name) is wrong", &state)
    }
  }

  /// Notes that the device cannot be used any more, and returns the error for the step.
  private func lose(_ reason: String, _ state: inout State) -> ComputeError {
    state.context = nil
    state.codes = [:]
    if state.loss == nil { state.loss = reason }
    return Self.lost(reason)
  }

  private static func lost(_ reason: String) -> ComputeError {
    ComputeError(.device, "the NPU is lost: \(reason)")
  }

  /// Multiplies in one chain of commands.
  private func run(
    _ products: [DeviceProduct],
    _ state: inout State
  ) throws(NPUDriverError) {
    var codes: [Code] = []
    for product in products { codes.append(try code(for: product, &state)) }
    let marks = try marks(codes.map(\.shape.wordsOfMarks).max() ?? 1, &state)
    var commands: [NPUCommand] = []
    var written: Set<ObjectIdentifier> = []
    for (product, code) in zip(products, codes) {
      let (input, weight, sums) = Self.buffers(of: product)
      let inputBytes = product.rowCount * code.shape.pitchOfA
      if written.insert(ObjectIdentifier(input)).inserted { try input.write(first: inputBytes) }
      commands.append(
        NPUCommand(
          code: code.buffer,
          codeBytes: code.byteCount,
          arguments: [input, weight, sums, marks]
        )
      )
    }
    try dispatch(commands, marks, &state)
    state.statistics.dispatches += 1
    for (product, code) in zip(products, codes) {
      state.statistics.add(code.shape, rows: product.rowCount)
    }
    for (product, code) in zip(products, codes) {
      try Self.buffers(of: product).sums.read(first: 4 * code.shape.wordsOfC)
    }
  }

  private static func buffers(
    of product: DeviceProduct
  ) -> (input: NPUBuffer, weight: NPUBuffer, sums: NPUBuffer) {
    guard let input = product.input as? NPUMemory, let weight = product.weight as? NPUMemory,
      let sums = product.sums as? NPUMemory
    else { preconditionFailure("memory of another device") }
    return (input.buffer, weight.buffer, sums.buffer)
  }

  /// Runs commands; if they fail, once more on a new context.
  private func dispatch(
    _ commands: [NPUCommand],
    _ marks: NPUBuffer,
    _ state: inout State
  ) throws(NPUDriverError) {
    do throws(NPUDriverError) {
      try run(commands, marks, &state)
    } catch  where error.code == .timeout || error.code == .failed {
      note("npu: \(error.message); \(progress(marks)); the array is configured anew")
      state.statistics.retries += 1
      // The old context goes before there is room for a new one.
      state.context = nil
      do throws(NPUDriverError) {
        state.context = try NPUContext(device, columns: Self.columns, image: product.image)
      } catch let second {
        throw NPUDriverError(
          .lost,
          "\(error.message), and then \(second.message); after this only a reboot may help"
        )
      }
      try run(commands, marks, &state)
    }
  }

  private func run(
    _ commands: [NPUCommand],
    _ marks: NPUBuffer,
    _ state: inout State
  ) throws(NPUDriverError) {
    guard let context = state.context else { throw NPUDriverError(.lost, "it has no context") }
    marks.clear()
    try marks.write()
    try context.run(commands, patience: shapes.settings.patience)
  }

  /// How far the array has come, by the marks that it writes.
  private func progress(_ marks: NPUBuffer) -> String {
    do throws(NPUDriverError) { try marks.read() } catch { return "its marks cannot be read" }
    let count = marks.copy.count { $0 == MatrixProduct.mark }
    return "it has marked \(count) steps of its last product"
  }

  // MARK: Control code

  private func code(
    for product: DeviceProduct,
    _ state: inout State
  ) throws(NPUDriverError) -> Code {
    let shape: ProductShape
    let words: [UInt32]
    do {
      shape = try shapes.shape(of: product)
      if let known = state.codes[shape] { return known }
      words = ControlCode.words(of: try self.product.operations(for: shape))
    } catch {
      throw NPUDriverError(.unsupported, "\(error)")
    }
    let buffer: NPUBuffer
    do throws(NPUDriverError) {
      buffer = try NPUBuffer(device, .device, byteCount: 4 * words.count)
    } catch  where error.code == .exhausted {
      // The heap is full of code for other shapes, which can be made again.
      state.codes = [:]
      buffer = try NPUBuffer(device, .device, byteCount: 4 * words.count)
    }
    buffer.put(words)
    try buffer.write()
    let code = Code(shape: shape, buffer: buffer, byteCount: 4 * words.count)
    state.codes[shape] = code
    return code
  }

  private func marks(_ words: Int, _ state: inout State) throws(NPUDriverError) -> NPUBuffer {
    let byteCount = Self.wholePages(4 * words)
    if let known = state.marks, known.byteCount >= byteCount { return known }
    let buffer = try NPUBuffer(device, .shared, byteCount: byteCount)
    state.marks = buffer
    return buffer
  }
}
