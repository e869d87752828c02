// Lowers a program's ops to calls of kernels. The single ops are lowered in DispatchLowering+Attention.swift,
// DispatchLowering+Dense.swift and DispatchLowering+Streams.swift.

internal import Compute

/// The state of lowering one program.
struct DispatchLowering {
  let program: Program
  let limits: ExecutableLimits
  let weights: VulkanWeights
  let caches: [VulkanCache]
  let info: VulkanDeviceInfo
  let tuning: Tuning
  var memory: StepMemory
  var host: HostWork
  private(set) var dispatches: [Dispatch] = []
  /// The phase of each dispatch: those of one phase may run at the same time.
  private(set) var phases: [Int] = []
  private var planner = PhasePlanner()
  /// The index of the op that is being lowered.
  private var op = 0
  /// Planes whose int8 copy is current.
  private var quantised: Set<Region> = []
  private var gains: [GainKey: Place] = [:]
  var rotations: [RotationKey: (place: Place, region: Region)] = [:]
  /// What kernels bind in the place of an operand that an op has not.
  private let nothing: Place

  private struct GainKey: Hashable {
    var weight: WeightRef
    var offset: Float
  }

  struct RotationKey: Hashable {
    var rope: Rope
    var headDim: Int
    var rows: RowSet
  }

  init(
    program: Program,
    limits: ExecutableLimits,
    weights: VulkanWeights,
    caches: [VulkanCache],
    device: VulkanDevice
  ) throws(ComputeError) {
    self.program = program
    self.limits = limits
    self.weights = weights
    self.caches = caches
    info = device.info
    tuning = device.tuning
    var memory = StepMemory(
      program: program,
      limits: limits,
      maxRangeBytes: device.info.maxRangeBytes
    )
    // Four int32 a row.
    host = HostWork(
      rows: try memory.place(.upload, byteCount: 2 * limits.maxRows * 16, purpose: "rows")
    )
    nothing = try memory.constants([0])
    self.memory = memory
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

  // MARK: Emitting dispatches

  /// Adds a call of a kernel.
  ///
  /// `push` are the push constants after the number of rows; `reads` and `writes` are what any of its
  /// lanes reads and writes. The others are those of `Dispatch`.
  mutating func emit(
    _ shader: String,
    constants: [UInt32] = [],
    bindings: [Binding],
    push: [Push],
    rows: RowSet,
    rowRange: Range<Int>? = nil,
    shape: Dispatch.Shape,
    reads: [Region],
    writes: [Region],
    rowCost: Int = 0
  ) {
    for region in writes where region.view == .values { quantised.remove(region) }
    dispatches.append(
      Dispatch(
        op: op,
        shader: shader,
        constants: constants,
        bindings: bindings,
        push: [0] + push.map(\.bits),
        rows: rows,
        rowRange: rowRange ?? 0..<limits.maxRows,
        shape: shape,
        reads: reads,
        writes: writes,
        rowCost: rowCost
      )
    )
    // No workgroup knows what another has done before a barrier.
    phases.append(planner.phase(wholeReads: reads, writes: writes, split: .other))
  }

  /// A push constant.
  enum Push {
    case count(Int)
    case number(Float)

    var bits: UInt32 {
      switch self {
      case .count(let value): UInt32(value)
      case .number(let value): value.bitPattern
      }
    }
  }

  /// Returns the int8 copy of a plane, and adds the call that makes it unless it is current.
  private mutating func emitQuantise(_ input: RowPlane) throws(ComputeError) -> QuantisedPlane {
    let copy = try memory.quantised(input)
    guard quantised.insert(input.region).inserted else { return copy }
    emit(
      "quantise",
      bindings: [input.binding, .place(copy.quants), .place(copy.scales)],
      push: [.count(input.width / 32)],
      rows: input.rows,
      shape: .columns(input.width / 32, planes: 1),
      reads: [input.region],
      writes: [copy.region]
    )
    return copy
  }

  /// Adds the product of a weight and a plane, multiplied by a gate if there is one.
  ///
  /// The weight may be in parts, and an output too large for one binding is written in several.
  mutating func emitProduct(
    _ weight: WeightRef,
    _ input: RowPlane,
    into output: RowPlane,
    softcap: Float = 0,
    gate: RowPlane? = nil,
    layout: PackedLayout = .byRows
  ) throws(ComputeError) {
    let packed = try weights.packed(weight, layout)
    var operands = [input.binding]
    var source = input.region
    var constants: [UInt32] = [gate == nil ? 0 : 1]
    if weight.type.isQuantised {
      let copy = try emitQuantise(input)
      operands = [.place(copy.quants), .place(copy.scales)]
      source = copy.region
    } else {
      constants.append(weight.columns.isMultiple(of: 8) ? 1 : 0)
    }
    let strides = layout.strides(weight)
    for part in packed.parts {
      emit(
        Self.shader(of: weight.type, layout),
        constants: constants,
        bindings: [.buffer(part.buffer)] + operands + [output.binding, gate?.binding ?? missing],
        push: [
          .count(part.rows.count), .count(weight.columns), .count(strides.tile),
          .count(strides.chunk), .count(output.width), .count(part.rows.lowerBound),
          .number(softcap),
        ],
        rows: input.rows,
        shape: .product(weightRows: part.rows.count, layout),
        reads: [source] + (gate.map { [$0.region] } ?? []),
        writes: [output.region],
        rowCost: part.rows.count * weight.columns
      )
    }
  }

  /// The kernel of products.
  static func shader(of type: TensorType, _ layout: PackedLayout = .byRows) -> String {
    let variant =
      switch layout {
      case .byRows: type.isQuantised ? "i8" : "f32"
      case .byColumns: "columns"
      }
    return "matmul_\(type.rawValue)_\(variant)"
  }

  // MARK: Constants

  /// Returns the gain of a norm, or something in its place, and whether there is one.
  mutating func gain(
    _ norm: NormParameters
  ) throws(ComputeError) -> (binding: Binding, exists: UInt32) {
    guard let weight = norm.weight else { return (.place(nothing), 0) }
    return (.place(try constants(weight, plus: norm.gainOffset)), 1)
  }

  /// Returns all values of a small weight as f32.
  mutating func constants(
    _ weight: WeightRef,
    plus offset: Float = 0
  ) throws(ComputeError) -> Place {
    let key = GainKey(weight: weight, offset: offset)
    if let known = gains[key] { return known }
    let new = try memory.constants(weights.values(weight, plus: offset))
    gains[key] = new
    return new
  }

  /// What stands in the place of an operand that there is not.
  var missing: Binding { .place(nothing) }
}
