// A compiled program, and how a step of it runs: the host writes rows and looked-up rows, the device runs
// the recorded commands, the host reads the outputs.

internal import CVulkan
internal import Compute
internal import Glibc

/// A program's dispatches with their memory.
///
/// It is used by one thread at a time; weights and caches may be shared with the next executable.
@safe final class VulkanExecutable: Executable {
  let program: Program
  let limits: ExecutableLimits
  let device: VulkanDevice
  let weights: VulkanWeights
  let storages: [any CacheStorage]
  private let host: HostWork
  let recorder: Recorder
  private let upload: DeviceBuffer
  private let working: DeviceBuffer?
  private let download: DeviceBuffer
  /// Where each buffer of the program is.
  private let places: [Place]
  /// Where each output of the program is copied to for the host.
  private let targets: [Int]
  private let timeline: VkSemaphore
  /// What the timeline will have reached when all is done that was submitted, and what it has reached.
  private var submitted: UInt64 = 0
  private var ended: UInt64 = 0
  /// What the last step asked of the device.
  private(set) var lastCounts = StepCounts(submits: 0, dispatches: 0, barriers: 0, weightBytes: 0)
  /// The measured rate of the device, in multiplications a second, as `Dispatch.rowCost` counts them.
  private var rate: Double
  /// The number of tokens that all embeddings of the program have; nil without an embedding.
  private let vocabularySize: Int?

  /// A submit should not take longer: drivers reset devices after a few seconds, and a desktop on the
  /// same device stands still meanwhile.
  var submitSeconds = 0.25
  /// The rate of a slow device, until it was measured.
  private static let assumedRate = 2e9

  init(_ lowering: DispatchLowering, on device: VulkanDevice) throws(ComputeError) {
    var lowering = lowering
    program = lowering.program
    limits = lowering.limits
    weights = lowering.weights
    storages = lowering.caches
    self.device = device
    host = lowering.host
    rate = Self.assumedRate
    // All buffers, because a program may hand on one that no op of its own touches.
    var places: [Place] = []
    for index in program.buffers.indices {
      places.append(try lowering.memory.wholeBuffer(BufferID(index: index)).place)
    }
    self.places = places
    var end = 0
    targets = program.outputs.map { id in
      defer { end += places[id.index].bytes.count }
      return end
    }
    let sizes = lowering.memory.byteCounts
    upload = try DeviceBuffer(sizes[.upload] ?? 4, .upload, on: device, purpose: "inputs")
    download = try DeviceBuffer(max(end, 4), .download, on: device, purpose: "outputs")
    working = try sizes[.working].map { (size) throws(ComputeError) in
      try DeviceBuffer(size, .device, on: device, purpose: "activations")
    }
    let constants = try DeviceBuffer(
      sizes[.constants] ?? 4,
      .device,
      on: device,
      purpose: "constants"
    )
    try device.write(lowering.memory.constants, to: constants, at: 0)
    var memory: [Area: DeviceBuffer] = [.upload: upload, .constants: constants]
    memory[.working] = working
    recorder = try Recorder(
      lowering.dispatches,
      phases: lowering.phases,
      memory: memory,
      on: device
    )
    var timeline: VkSemaphore?
    try check(unsafe cvk_create_timeline(device.handle, &timeline), "vkCreateSemaphore")
    guard let timeline = unsafe timeline else { preconditionFailure("no semaphore") }
    unsafe self.timeline = timeline
    vocabularySize = program.embeddedTokenCount
  }

  deinit {
    // After a failed wait the device may still be at work with what is freed now.
    if ended < submitted { unsafe cvk_wait_idle(device.handle) }
    unsafe cvk_destroy_timeline(device.handle, timeline)
  }

  var footprint: Footprint {
    Footprint(
      mappedWeightBytes: weights.mappedByteCount,
      ownedWeightBytes: weights.packedByteCount,
      sharedWeightBytes: weights.sharedByteCount
    )
  }

  func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]] {
    try batch.validate(vocabularySize: vocabularySize)
    guard !batch.rows.isEmpty else { return program.outputs.map { _ in [] } }
    write(batch, inputs)
    let counts = RowCounts(all: batch.rows.count, wanted: batch.wantedRows.count)
    let recording = try unsafe recorder.recording(
      counts,
      costLimit: Int(rate * submitSeconds),
      copies: copies(batch)
    )
    try submit(recording)
    return read(batch)
  }

  /// Submits commands one after another, and returns when all have ended.
  func submit(_ parts: [VkCommandBuffer]) throws(ComputeError) {
    for index in unsafe parts.indices {
      submitted += 1
      try unsafe device.submit(parts[index], timeline, submitted)
    }
    try unsafe device.wait(timeline, submitted)
    ended = submitted
  }

  private func submit(_ recording: Recording) throws(ComputeError) {
    let began = ContinuousClock.now
    try unsafe submit(recording.parts)
    let seconds = (ContinuousClock.now - began) / .seconds(1)
    // Small steps say more of the driver than of the device.
    if recording.cost > 1_000_000, seconds > 0 {
      rate = max(Self.assumedRate, 0.5 * rate + 0.5 * Double(recording.cost) / seconds)
    }
    lastCounts = StepCounts(
      submits: recording.submitCount,
      dispatches: recording.dispatchCount,
      barriers: recording.barrierCount,
      weightBytes: recording.weightByteCount
    )
  }
}

// MARK: - What the host writes and reads

extension VulkanExecutable {
  func write(_ batch: Batch, _ inputs: [[Float]]) {
    writeRows(batch)
    for (index, input) in inputs.enumerated() {
      let buffer = program[program.inputs[index]]
      let rows = batch.count(of: buffer.rows)
      let place = places[program.inputs[index].index]
      for plane in 0..<buffer.planes {
        let first = plane * rows * buffer.width
        write(
          input[first..<(first + rows * buffer.width)],
          at: place.bytes.lowerBound + plane * limits.maxRows * buffer.width * 4
        )
      }
    }
    for lookup in host.lookups { write(lookup, batch) }
    for rotations in host.rotations { write(rotations, batch) }
    for groups in host.attention { write(groups, batch) }
  }

  /// Writes values to the memory of uploads.
  private func write<Value: BitwiseCopyable>(_ values: ArraySlice<Value>, at offset: Int) {
    unsafe values.withUnsafeBytes { bytes in
      guard let source = bytes.baseAddress else { return }
      unsafe (upload.hostMemory + offset).copyMemory(from: source, byteCount: bytes.count)
    }
  }

  private func writeRows(_ batch: Batch) {
    for rows in [RowSet.all, .wanted] {
      var places: [Int32] = []
      batch.forEach(in: rows) { index, row in
        let number = rows == .all ? index : batch.wantedRows[index]
        places += [Int32(row.slot), Int32(row.position), Int32(number), row.token]
      }
      let base = rows == .all ? 0 : limits.maxRows * 16
      write(places[...], at: host.rows.bytes.lowerBound + base)
    }
  }

  private func write(_ lookup: HostWork.Lookup, _ batch: Batch) {
    batch.forEach(in: lookup.rows) { index, row in
      // A token beyond a table of per-layer inputs has the values of its row 0.
      let known = Int(row.token) < lookup.table.rows.count
      let values = weights.row(
        of: lookup.table,
        known ? Int(row.token) : 0,
        columns: lookup.columns
      )
      let scaled = lookup.scale == 1 ? values : values.map { $0 * lookup.scale }
      write(scaled[...], at: lookup.place.bytes.lowerBound + 4 * index * lookup.columns.count)
    }
  }

  /// Writes angles, computed in f64: at position 32768 an f32 angle would be off by 2e-3.
  private func write(_ rotations: HostWork.Rotations, _ batch: Batch) {
    let pairs = rotations.frequencies.count
    batch.forEach(in: rotations.rows) { index, row in
      var values: [Float] = []
      values.reserveCapacity(2 * pairs)
      for frequency in rotations.frequencies {
        let angle = Double(row.position) * rotations.positionScale * frequency
        values.append(Float(Glibc.cos(angle)))
        values.append(Float(Glibc.sin(angle)))
      }
      write(values[...], at: rotations.place.bytes.lowerBound + 8 * index * pairs)
    }
  }

  private func write(_ groups: HostWork.AttentionGroups, _ batch: Batch) {
    var count = 0
    var segments = 1
    batch.forEach(in: groups.rows) { index, row in
      guard groups.rowRange.contains(index) else { return }
      count += 1
      let first = max(0, row.position + 1 - groups.window)
      let size = Tuning.attentionSegment
      segments = max(segments, row.position / size - first / size + 1)
    }
    let sizes = [Int32(count), Int32(groups.headGroups), Int32(segments)]
    write(sizes[...], at: groups.place.bytes.lowerBound)
  }

  /// The copies of a step's outputs to memory that the host reads.
  private func copies(_ batch: Batch) -> [cvk_copy] {
    var copies: [cvk_copy] = unsafe []
    for (id, target) in zip(program.outputs, targets) {
      let byteCount = batch.count(of: program[id].rows) * program[id].width * 4
      guard byteCount > 0 else { continue }
      for plane in 0..<program[id].planes {
        let (source, offset) = memory(of: Plane(id, plane))
        unsafe copies.append(
          download.copy(
            from: source,
            at: offset,
            to: target + plane * byteCount,
            byteCount: byteCount
          )
        )
      }
    }
    return unsafe copies
  }

  /// Returns where a plane of the program's buffers is.
  private func memory(of plane: Plane) -> (buffer: DeviceBuffer, offset: Int) {
    let place = places[plane.buffer.index]
    let buffer = place.area == .upload ? upload : working
    guard let buffer else { preconditionFailure("no memory for \(place)") }
    let stride = limits.maxRows * program[plane.buffer].width * 4
    return (buffer, place.bytes.lowerBound + plane.index * stride)
  }

  /// Returns the values of a plane of the program's buffers after a step.
  func values(_ plane: Plane, _ batch: Batch) throws(ComputeError) -> [Float] {
    let (buffer, offset) = memory(of: plane)
    let count = batch.count(of: program[plane.buffer].rows) * program[plane.buffer].width
    return try device.read(Float.self, from: buffer, at: offset, count: count)
  }

  private func read(_ batch: Batch) -> [[Float]] {
    zip(program.outputs, targets).map { id, target in
      let start = unsafe (download.hostMemory + target).assumingMemoryBound(to: Float.self)
      return unsafe Array(
        UnsafeBufferPointer(start: start, count: program[id].elementCount(in: batch))
      )
    }
  }
}
