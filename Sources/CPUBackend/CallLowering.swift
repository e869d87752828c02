// Lowers a program's ops to a list of kernel calls. The single ops are lowered in
// CallLowering+Attention.swift, CallLowering+Dense.swift and CallLowering+Streams.swift.

internal import CPUKernels
internal import Compute

/// The op that a call belongs to and what the call writes, to locate wrong results.
struct CallTrace {
  var op: Int
  var writes: [Region]
}

/// Where the sums of a product's input are written to.
@safe struct InputObserver {
  var weight: WeightRef
  var sums: UnsafeMutableBufferPointer<Float>
  var rows: RowSet
}

/// The state of lowering one program.
@safe struct CallLowering {
  let program: Program
  let kernels: UnsafePointer<cpu_kernels>
  let weights: CPUWeights
  let memory: ExecutableMemory
  /// The memory of each cache of the program.
  let caches: [CPUCache]
  let limits: ExecutableLimits
  private var emitted: [Emitted] = []
  /// The index of the op that is being lowered.
  private var op = 0
  /// The scratch bytes that a thread needs for the largest of the calls.
  var scratchByteCount = 0
  private var phases = PhasePlanner()
  /// Planes whose int8 copy is current.
  private var quantised: Set<Region> = []
  /// Planes whose copy for a device is current.
  var quantisedRows: Set<Region> = []
  /// What each product's input is observed into.
  private(set) var observers: [InputObserver] = []
  /// The memory of products for a device; nil without one.
  let deviceOperands: DeviceOperands?

  init(
    program: Program,
    kernels: UnsafePointer<cpu_kernels>,
    weights: CPUWeights,
    caches: [CPUCache],
    limits: ExecutableLimits,
    device: (any ProductDevice)?
  ) throws(ComputeError) {
    self.program = program
    unsafe self.kernels = unsafe kernels
    self.weights = weights
    self.limits = limits
    memory = ExecutableMemory(program: program, limits: limits)
    self.caches = caches
    var operands: DeviceOperands?
    if let device { operands = try DeviceOperands(device, maxRows: limits.maxRows) }
    deviceOperands = operands
  }

  /// Lowers all ops, and packs their weights on the way.
  mutating func lower(progress: (Double) -> Void) throws(ComputeError) {
    for (index, op) in program.ops.enumerated() {
      self.op = index
      try lower(op)
      progress(Double(index + 1) / Double(program.ops.count))
    }
  }

  private mutating func lower(_ op: Op) throws(ComputeError) {
    switch op {
    case .embed(let op): try lower(op)
    case .expandStreams(let op): try lower(op)
    case .perLayerInputs(let op): try lower(op)
    case .altupPredict(let op): try lower(op)
    case .norm(let op): try lower(op)
    case .laurel(let op): try lower(op)
    case .projectKV(let op): try lower(op)
    case .appendKV(let op): try lower(op)
    case .projectQueries(let op): try lower(op)
    case .attend(let op): try lower(op)
    case .matmul(let op): try lower(op)
    case .addNormed(let op): try lower(op)
    case .feedForward(let op): try lower(op)
    case .altupCorrect(let op): try lower(op)
    case .injectPerLayerInput(let op): try lower(op)
    case .keepWanted(let op): try lower(op)
    case .mergeStreams(let op): try lower(op)
    case .logits(let op): try lower(op)
    }
  }

  /// The number of barriers between calls, at which all threads wait for each other.
  var waitCount: Int { max(Set(emitted.map(\.phase)).count - 1, 0) }

  /// A call that has been emitted.
  @safe private struct Emitted {
    var phase: Int
    var call: cpu_call
    var trace: CallTrace
    var product: PlannedProduct?
  }

  /// The indices of the emitted calls in execution order.
  private var order: [Int] {
    // Calls of the same phase keep the order in which they were emitted, but those for a device come last: it gets
    // all of them at once.
    func key(_ index: Int) -> (Int, Int, Int) {
      (emitted[index].phase, emitted[index].product == nil ? 0 : 1, index)
    }
    return emitted.indices.sorted { key($0) < key($1) }
  }

  /// The products for a device, with the index of their call in execution order.
  var products: [(call: Int, product: PlannedProduct)] {
    order.enumerated().compactMap { index, place in
      emitted[place].product.map { (index, $0) }
    }
  }

  /// The trace of each call, in execution order.
  var traces: [CallTrace] { order.map { emitted[$0].trace } }

  /// The calls in execution order, phase by phase.
  var calls: [cpu_call] {
    var last = 0
    return unsafe order.map { index in
      let emitted = emitted[index]
      defer { last = emitted.phase }
      var call = unsafe emitted.call
      unsafe call.waits = emitted.phase != last
      return unsafe call
    }
  }

  // MARK: Emitting calls

  /// Adds a call; `PhasePlanner.phase` explains the regions that it reads and writes.
  mutating func emit<Arguments: BitwiseCopyable>(
    _ kernel: cpu_kernel?,
    _ arguments: Arguments,
    reads: [Region] = [],
    wholeReads: [Region] = [],
    writes: [Region],
    split: Split,
    product: PlannedProduct? = nil
  ) {
    let phase = phases.phase(reads: reads, wholeReads: wholeReads, writes: writes, split: split)
    for region in writes where region.view == .values {
      quantised.remove(region)
      quantisedRows.remove(region)
    }
    let call = unsafe cpu_call(run: kernel, args: memory.keep(arguments), waits: false)
    unsafe emitted.append(
      Emitted(
        phase: phase,
        call: call,
        trace: CallTrace(op: op, writes: writes),
        product: product
      )
    )
  }

  /// Adds the product of a weight and a plane.
  ///
  /// If the weight needs the plane's int8 copy and that is not current, the call that makes it is added first. Large
  /// products of all rows are a device's, if there is one. Of a product that is repeated, the input is observed already.
  mutating func emitProduct(
    _ weight: WeightRef,
    _ input: RowPlane,
    into output: RowPlane,
    softcap: Float = 0,
    isRepeated: Bool = false
  ) throws(ComputeError) {
    if program.observesInputs, !isRepeated { emitObserve(weight, input) }
    if softcap == 0, try emitDeviceProduct(weight, input, into: output) { return }
    var source = input.region
    var copy = unsafe cpu_quantised()
    let matrix = unsafe try weights.packed(weight)
    if weight.type.isQuantised {
      unsafe copy = unsafe try emitQuantise(input)
      source = input.region.quantised
      scratchByteCount = max(scratchByteCount, Int(cpu_matmul_scratch(Int64(weight.columns))))
    }
    let arguments = unsafe cpu_matmul_args(
      weight: matrix,
      input: input.operand,
      quantised: copy,
      output: output.operand,
      softcap: softcap
    )
    unsafe emit(
      cpu_matmul(kernels, weight.type.identifier),
      arguments,
      wholeReads: [source],
      writes: [output.region],
      split: .columns(output.width)
    )
  }

  /// Adds the call that sums up the squares of a product's input.
  private mutating func emitObserve(_ weight: WeightRef, _ input: RowPlane) {
    let sums = unsafe memory.keepSums(input.width)
    unsafe observers.append(
      InputObserver(weight: weight, sums: sums, rows: input.rows)
    )
    unsafe emit(
      kernels.pointee.observe,
      cpu_observe_args(input: input.operand, sums: sums.baseAddress),
      reads: [input.region],
      writes: [],
      split: .columns(input.width)
    )
  }

  /// Returns a plane's int8 copy, and adds the call that makes it unless it is current.
  ///
  /// Each thread rounds the values that it has computed itself, so no thread waits for another.
  mutating func emitQuantise(_ input: RowPlane) throws(ComputeError) -> cpu_quantised {
    let copy = unsafe try memory.quantised(input)
    guard quantised.insert(input.region).inserted else { return unsafe copy }
    var kernel = unsafe kernels.pointee.quantise
    var split = Split.rows(input.rows)
    var parts = 1
    switch phases.splitOfWriter(of: input.region) {
    case .columns(input.width):
      unsafe kernel = unsafe kernels.pointee.quantise_columns
      split = .columns(input.width)
    case .heads(input.rows, let count) where input.width.isMultiple(of: Int(CPU_BLOCK) * count):
      parts = count
      split = .heads(input.rows, count: count)
    default: break
    }
    unsafe emit(
      kernel,
      cpu_quantise_args(input: input.operand, parts: Int64(parts), output: copy),
      reads: [input.region],
      writes: [input.region.quantised],
      split: split
    )
    return unsafe copy
  }

  /// Returns all planes of a buffer.
  func planes(_ id: BufferID) throws(ComputeError) -> [RowPlane] {
    var planes: [RowPlane] = []
    for index in 0..<program[id].planes { planes.append(try memory.plane(Plane(id, index))) }
    return planes
  }
}
