// A compiled program, and how a step of it runs.

internal import CPUKernels
internal import Compute

/// A program's calls with their memory.
///
/// It is used by one thread at a time; weights and caches may be shared with the next executable.
@safe final class CPUExecutable: Executable {
  let program: Program
  let limits: ExecutableLimits
  let pool: ThreadPool
  let weights: CPUWeights
  let memory: ExecutableMemory
  let storages: [any CacheStorage]
  private let calls: [cpu_call]
  /// The products for a device, and the index of the call of each.
  private let products: [(call: Int, product: PlannedProduct)]
  private let deviceOperands: DeviceOperands?
  private let observers: [InputObserver]
  /// The trace of each call.
  let traces: [CallTrace]
  /// The number of barriers between the calls of a step.
  let waitCount: Int
  private let scratch: MappedMemory
  private let scratchByteCount: Int
  /// The rows of the current step, at most `maxRows`; so are the next two.
  private var rows: [cpu_row]
  private var wantedRows: [cpu_row]
  private var wantedIndices: [Int32]
  /// The number of tokens that all embeddings of the program have; nil without an embedding.
  private let vocabularySize: Int?

  init(_ lowering: CallLowering, pool: ThreadPool) throws(ComputeError) {
    program = lowering.program
    limits = lowering.limits
    weights = lowering.weights
    memory = lowering.memory
    storages = lowering.caches
    unsafe calls = unsafe lowering.calls
    traces = lowering.traces
    products = lowering.products
    deviceOperands = lowering.deviceOperands
    observers = lowering.observers
    waitCount = lowering.waitCount
    self.pool = pool
    // Each thread's scratch starts on a page of its own.
    let page = MappedMemory.pageByteCount
    scratchByteCount = (lowering.scratchByteCount / page + 1) * page
    scratch = try MappedMemory(
      byteCount: try product(scratchByteCount, pool.threadCount, purpose: "scratch"),
      purpose: "scratch"
    )
    rows = []
    wantedRows = []
    wantedIndices = []
    vocabularySize = lowering.program.embeddedTokenCount
  }

  var footprint: Footprint {
    Footprint(
      mappedWeightBytes: weights.mappedByteCount,
      ownedWeightBytes: weights.ownedByteCount,
      sharedWeightBytes: weights.sharedByteCount
    )
  }

  func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]] {
    try batch.validate(vocabularySize: vocabularySize)
    try put(inputs)
    fillRows(batch)
    if let device = deviceOperands?.device, rows.count >= device.leastRows, !products.isEmpty {
      try runCalls(with: device)
    } else {
      unsafe runCalls(0..<calls.count)
    }
    var outputs: [[Float]] = []
    for id in program.outputs {
      outputs.append(try take(id, count: program[id].elementCount(in: batch)))
    }
    return outputs
  }

  var observedInputs: [ObservedInput] {
    observers.map { observer in
      ObservedInput(
        weight: observer.weight,
        sums: unsafe Array(observer.sums),
        rowCount: observer.rows == .all ? rows.count : wantedRows.count
      )
    }
  }

  /// Copies the inputs into their buffers.
  func put(_ inputs: [[Float]]) throws(ComputeError) {
    for (id, input) in zip(program.inputs, inputs) {
      let buffer = try memory.buffer(id)
      unsafe input.withUnsafeBytes { bytes in
        if let source = bytes.baseAddress {
          unsafe buffer.base.copyMemory(from: source, byteCount: bytes.count)
        }
      }
    }
  }

  func fillRows(_ batch: Batch) {
    rows.removeAll(keepingCapacity: true)
    wantedRows.removeAll(keepingCapacity: true)
    wantedIndices.removeAll(keepingCapacity: true)
    for row in batch.rows {
      rows.append(
        cpu_row(slot: Int32(row.slot), position: Int32(row.position), token: row.token)
      )
    }
    for index in batch.wantedRows {
      wantedRows.append(rows[index])
      wantedIndices.append(Int32(index))
    }
  }

  /// Runs all calls, those of products on a device.
  ///
  /// - Throws: `ComputeError` with code `device` if it has failed or was wrong.
  private func runCalls(with device: any ProductDevice) throws(ComputeError) {
    var next = 0
    var first = 0
    while first < products.count {
      // Products of one phase follow each other: the device gets all of them at once.
      var end = first + 1
      while end < products.count, products[end].call == products[end - 1].call + 1,
        unsafe !calls[products[end].call].waits
      {
        end += 1
      }
      runCalls(next..<products[first].call)
      next = products[end - 1].call + 1
      var group: [DeviceProduct] = []
      for planned in products[first..<end] {
        var product = planned.product.product
        product.rowCount = rows.count
        group.append(product)
      }
      try device.run(group)
      first = end
    }
    unsafe runCalls(next..<calls.count)
    guard device.checksSums else { return }
    for (_, planned) in products where unsafe planned.flag.pointee != 0 {
      throw device.lostByWrongSums(of: planned.product, row: unsafe Int(planned.flag.pointee) - 1)
    }
  }

  /// Runs some of the calls.
  func runCalls(_ range: Range<Int>) {
    guard !range.isEmpty else { return }
    unsafe rows.withUnsafeBufferPointer { all in
      unsafe wantedRows.withUnsafeBufferPointer { wanted in
        unsafe wantedIndices.withUnsafeBufferPointer { indices in
          var step = unsafe cpu_step(
            rows: (all.baseAddress, wanted.baseAddress),
            counts: (Int32(all.count), Int32(wanted.count)),
            wanted: indices.baseAddress,
            scratch: scratch.base.assumingMemoryBound(to: UInt8.self),
            scratch_bytes: Int64(scratchByteCount)
          )
          unsafe calls.withUnsafeBufferPointer { calls in
            unsafe pool.run(UnsafeBufferPointer(rebasing: calls[range]), &step)
          }
        }
      }
    }
  }

  /// Returns a copy of an output's buffer.
  func take(_ id: BufferID, count: Int) throws(ComputeError) -> [Float] {
    let buffer = try memory.buffer(id)
    let values = unsafe buffer.base.assumingMemoryBound(to: Float.self)
    return unsafe Array(UnsafeBufferPointer(start: values, count: count))
  }
}
