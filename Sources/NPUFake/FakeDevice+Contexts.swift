// Contexts: made, configured, destroyed.

internal import CAMDXDNA
internal import Glibc
internal import NPUArray

/// A context: its units, its array, and the commands that have been submitted and have not ended.
final class FakeContext {
  let handle: UInt32
  let columns: Int
  /// Where its own buffers are in the heap.
  let places: [Int]
  /// The configurations of its units, once it is configured.
  var units: [FakeBuffer] = []
  /// The array, and the unit that it is configured for.
  var array: (unit: Int, array: SimulatedArray)?
  /// Why its array does nothing any more.
  var breakdown: String?
  var jobs: [FakeJob] = []
  /// How many commands have been submitted: the next one's number.
  var submitted: UInt64 = 0

  init(handle: UInt32, columns: Int, places: [Int]) {
    self.handle = handle
    self.columns = columns
    self.places = places
  }

  /// Own buffers, and bytes of each.
  static let bufferCount = 4
  static let bufferBytes = 4096
  static let mostOfDevice = 6
  static let mostUnits = 32
}

extension FakeDevice {
  /// CREATE_HWCTX.
  func create(
    _ client: FakeClient,
    _ value: inout amdxdna_create_hwctx,
    _ memory: any CallerMemory
  ) throws(FakeErrno) {
    try requireZeros(value.ext, value.ext_flags)
    try requireZeros(UInt64(value.umq_bo), UInt64(value.log_buf_bo), UInt64(value.mem_size))
    _ = try memory.bytes(value.qos_p, MemoryLayout<amdxdna_qos>.size)
    // What a firmware that no longer answers ends in.
    if hasFailed, faults.has(.wedge) { throw FakeErrno(ETIME) }
    try faults.count((.contextBusy, EBUSY), (.contextInvalid, EINVAL))
    guard let heap = client.heap else { throw FakeErrno(ENOENT) }
    guard value.num_tiles.isMultiple(of: 4), (1...4).contains(value.num_tiles / 4) else {
      throw FakeErrno(EINVAL)
    }
    // The firmware is told where the heap is in this process.
    let isMapped = client.mappings.contains {
      $0.offset == UInt64(heap.offset) && $0.count >= UInt64(FakeClient.heapBytes)
        && $0.address.isMultiple(of: UInt64(FakeClient.heapBytes))
    }
    guard isMapped else {
      statistics.note("the heap is not mapped at a multiple of 64 MiB")
      throw FakeErrno(EINVAL)
    }
    guard clients.values.reduce(0, { $0 + $1.contexts.count }) < FakeContext.mostOfDevice else {
      throw FakeErrno(EBUSY)
    }
    var places: [Int] = []
    do throws(FakeErrno) {
      for _ in 0..<FakeContext.bufferCount {
        places.append(try client.takeGranules(for: FakeContext.bufferBytes))
      }
    } catch {
      for place in places { client.releaseGranules(place, FakeContext.bufferBytes) }
      throw error
    }
    let (handle, timeline) = client.nextContext()
    let context = FakeContext(
      handle: handle,
      columns: Int(value.num_tiles) / 4,
      places: places
    )
    client.contexts[handle] = context
    client.timelines[timeline] = context
    statistics.contexts += 1
    (value.handle, value.syncobj_handle, value.umq_doorbell) = (handle, timeline, 0)
  }

  /// CONFIG_HWCTX.
  func configure(
    _ client: FakeClient,
    _ value: amdxdna_config_hwctx,
    _ memory: any CallerMemory
  ) throws(FakeErrno) {
    try requireZeros(UInt64(value.pad))
    // 1 and 2 give a context a buffer for debugging, and take it away.
    guard value.param_type == AMDXDNA_CONFIG_CU else {
      throw FakeErrno(value.param_type <= 2 ? EOPNOTSUPP : EINVAL)
    }
    guard value.param_val_size <= 4096 else { throw FakeErrno(E2BIG) }
    let bytes = try memory.bytes(value.param_val, Int(value.param_val_size))
    let context = try client.context(value.handle)
    let headerSize = MemoryLayout<amdxdna_config_cu>.size
    let unitSize = MemoryLayout<amdxdna_cu>.size
    guard context.units.isEmpty, bytes.count >= headerSize else { throw FakeErrno(EINVAL) }
    let header = structure(bytes, over: amdxdna_config_cu())
    let count = Int(header.num_cus)
    guard header.pad == (0, 0, 0), (1...FakeContext.mostUnits).contains(count),
      bytes.count >= headerSize + count * unitSize
    else { throw FakeErrno(EINVAL) }
    var units: [FakeBuffer] = []
    for index in 0..<count {
      let place = headerSize + index * unitSize
      let unit = structure(Array(bytes[place..<place + unitSize]), over: amdxdna_cu())
      let buffer = try client.buffer(unit.cu_bo)
      guard unit.pad == (0, 0, 0), buffer.type == AMDXDNA_BO_DEVICE else {
        throw FakeErrno(EINVAL)
      }
      units.append(buffer)
    }
    context.units = units
  }

  /// DESTROY_HWCTX.
  ///
  /// Commands that nobody has waited for are aborted.
  func destroy(_ client: FakeClient, _ value: amdxdna_destroy_hwctx) throws(FakeErrno) {
    try requireZeros(UInt64(value.pad))
    let context = try client.context(value.handle)
    client.contexts.removeValue(forKey: value.handle)
    for job in context.jobs { setState(of: job.packet, AMDXDNA_STATE_ABORT) }
    context.jobs = []
    context.array = nil
    for place in context.places { client.releaseGranules(place, FakeContext.bufferBytes) }
  }
}
