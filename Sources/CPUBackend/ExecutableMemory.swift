// The memory of one executable: row buffers, scratch, and the arguments of its calls.

internal import CPUKernels
internal import Compute

/// A plane of rows as a kernel operand, and its region for hazards.
@safe struct RowPlane {
  var region: Region
  var operand: cpu_plane
  var rows: RowSet

  var width: Int { unsafe Int(operand.width) }
}

/// Everything that the calls of an executable point to, except weights and caches.
@safe final class ExecutableMemory {
  private let program: Program
  private let limits: ExecutableLimits
  private var buffers: [Int: MappedMemory] = [:]
  private var scratch: [ScratchKey: (index: Int, memory: MappedMemory)] = [:]
  private var quantised: [Region: MappedMemory] = [:]
  private var selected: [Region: MappedMemory] = [:]
  private var rotations: [RotationKey: (index: Int, memory: MappedMemory)] = [:]
  private var arguments: [UnsafeMutableRawPointer] = unsafe []

  struct ScratchKey: Hashable {
    var name: String
    var planes: Int
    var width: Int
    var rows: RowSet
  }

  struct RotationKey: Hashable {
    var rope: Rope
    var headDim: Int
    var rows: RowSet
  }

  init(program: Program, limits: ExecutableLimits) {
    self.program = program
    self.limits = limits
  }

  deinit {
    unsafe arguments.forEach { unsafe $0.deallocate() }
  }

  /// Keeps a value at a fixed address as long as this object lives.
  func keep<Value: BitwiseCopyable>(_ value: Value) -> UnsafeRawPointer {
    let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    unsafe pointer.initialize(to: value)
    unsafe arguments.append(UnsafeMutableRawPointer(pointer))
    return UnsafeRawPointer(pointer)
  }

  /// Keeps values at a fixed address as long as this object lives.
  func keep<Value: BitwiseCopyable>(_ values: [Value]) -> UnsafePointer<Value> {
    let pointer = UnsafeMutablePointer<Value>.allocate(capacity: max(values.count, 1))
    for (index, value) in values.enumerated() {
      unsafe (pointer + index).initialize(to: value)
    }
    unsafe arguments.append(UnsafeMutableRawPointer(pointer))
    return unsafe UnsafePointer(pointer)
  }

  /// Keeps memory for sums, all zero, as long as this object lives.
  func keepSums(_ count: Int) -> UnsafeMutableBufferPointer<Float> {
    let sums = UnsafeMutableBufferPointer<Float>.allocate(capacity: count)
    unsafe sums.initialize(repeating: 0)
    if let base = sums.baseAddress { unsafe arguments.append(UnsafeMutableRawPointer(base)) }
    return unsafe sums
  }

  private func rowMemory(
    planes: Int,
    width: Int,
    name: String
  ) throws(ComputeError)
    -> MappedMemory
  {
    let size = try product(
      planes,
      limits.maxRows,
      width,
      MemoryLayout<Float>.stride,
      purpose: "buffer \(name)"
    )
    return try MappedMemory(byteCount: size, purpose: "buffer \(name)")
  }

  /// Returns a row buffer of the program: [planes, rows, width] f32.
  func buffer(_ id: BufferID) throws(ComputeError) -> MappedMemory {
    if let known = buffers[id.index] { return known }
    let buffer = program[id]
    let memory = try rowMemory(planes: buffer.planes, width: buffer.width, name: buffer.name)
    buffers[id.index] = memory
    return memory
  }

  /// Returns a plane of a row buffer of the program.
  func plane(_ plane: Plane) throws(ComputeError) -> RowPlane {
    let buffer = program[plane.buffer]
    let memory = try self.buffer(plane.buffer)
    return unsafe RowPlane(
      region: Region(plane),
      operand: operand(memory, width: buffer.width, plane: plane.index, rows: buffer.rows),
      rows: buffer.rows
    )
  }

  /// Returns a plane of a buffer that ops reuse, one for each name and shape.
  func scratch(
    _ name: String,
    planes: Int = 1,
    plane: Int = 0,
    width: Int,
    rows: RowSet
  ) throws(ComputeError) -> RowPlane {
    let key = ScratchKey(name: name, planes: planes, width: width, rows: rows)
    if scratch[key] == nil {
      let memory = try rowMemory(planes: planes, width: width, name: name)
      scratch[key] = (scratch.count, memory)
    }
    guard let (index, memory) = scratch[key] else { preconditionFailure("\(key) was just added") }
    return unsafe RowPlane(
      region: Region(space: .scratch, index: index, part: plane),
      operand: operand(memory, width: width, plane: plane, rows: rows),
      rows: rows
    )
  }

  private func operand(
    _ memory: MappedMemory,
    width: Int,
    plane: Int,
    rows: RowSet
  ) -> cpu_plane {
    unsafe cpu_plane(
      base: memory.base.assumingMemoryBound(to: Float.self),
      width: Int64(width),
      plane: Int32(plane),
      row_set: rows.identifier
    )
  }

  /// Returns the memory of a plane's int8 copy.
  func quantised(_ plane: RowPlane) throws(ComputeError) -> cpu_quantised {
    let (rows, width) = (Int64(limits.maxRows), Int64(plane.width))
    if quantised[plane.region] == nil {
      quantised[plane.region] = try operandMemory(
        cpu_quantised_bytes(rows, width),
        purpose: "int8 activations"
      )
    }
    guard let memory = quantised[plane.region] else {
      preconditionFailure("\(plane.region) was just added")
    }
    return unsafe cpu_quantised_at(memory.base, rows, width)
  }

  /// Returns the memory of the lists of a plane's columns that are not zero.
  func selected(of plane: RowPlane) throws(ComputeError) -> cpu_selected {
    let (rows, width) = (Int64(limits.maxRows), Int64(plane.width))
    if selected[plane.region] == nil {
      selected[plane.region] = try operandMemory(
        cpu_selected_bytes(rows, width),
        purpose: "selected columns"
      )
    }
    guard let memory = selected[plane.region] else {
      preconditionFailure("\(plane.region) was just added")
    }
    return unsafe cpu_selected_at(memory.base, rows, width)
  }

  /// Returns the memory of the rotations of each row, and whether it is new and must be filled.
  func rotations(
    _ key: RotationKey
  ) throws(ComputeError) -> (region: Region, operand: cpu_rotations, isNew: Bool) {
    let (rows, half) = (Int64(limits.maxRows), Int64(key.headDim / 2))
    let isNew = rotations[key] == nil
    if isNew {
      let memory = try operandMemory(cpu_rotations_bytes(rows, half), purpose: "rotations")
      rotations[key] = (rotations.count, memory)
    }
    guard let (index, memory) = rotations[key] else {
      preconditionFailure("\(key) was just added")
    }
    return unsafe (
      Region(space: .rotations, index: index), cpu_rotations_at(memory.base, rows, half), isNew
    )
  }

  /// Returns memory of a size that C has computed; a negative size means that it has overflowed.
  private func operandMemory(
    _ byteCount: Int64,
    purpose: String
  ) throws(ComputeError) -> MappedMemory {
    guard byteCount >= 0 else {
      throw ComputeError(.memory, "the size of \(purpose) overflows: \(limits.maxRows) rows")
    }
    return try MappedMemory(byteCount: Int(byteCount), purpose: purpose)
  }
}

extension RowSet {
  var identifier: Int32 {
    switch self {
    case .all: Int32(CPU_ROWS_ALL)
    case .wanted: Int32(CPU_ROWS_WANTED)
    }
  }
}
