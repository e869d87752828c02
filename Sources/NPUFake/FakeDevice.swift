// What the kernel knows: who has opened the node, their buffers, mappings and contexts. Which request goes where.

internal import CAMDXDNA
internal import Glibc

/// A buffer: its pages, and what the device sees.
final class FakeBuffer {
  let handle: UInt32
  let type: Int
  /// Whole pages, in bytes.
  let size: Int
  /// Where its pages are in the file.
  let offset: Int
  /// Of a buffer in the heap: bytes from the heap's beginning.
  let place: Int?
  /// What the device sees, renewed by SYNC_BO alone.
  var copy: [UInt32]

  init(handle: UInt32, type: Int, size: Int, offset: Int, place: Int? = nil) {
    self.handle = handle
    self.type = type
    self.size = size
    self.offset = offset
    self.place = place
    // Not what the pages hold, so that a forgotten SYNC_BO shows.
    copy = type == AMDXDNA_BO_HEAP ? [] : Array(repeating: 0xA5A5_A5A5, count: size / 4)
  }
}

/// Pages that a caller has mapped.
struct FakeMapping {
  var address: UInt64
  var count: UInt64
  /// In the file.
  var offset: UInt64
}

/// Somebody who has opened the node.
final class FakeClient {
  var buffers: [UInt32: FakeBuffer] = [:]
  var mappings: [FakeMapping] = []
  var contexts: [UInt32: FakeContext] = [:]
  /// By the handle of a context's timeline, which outlives the context.
  var timelines: [UInt32: FakeContext] = [:]
  var heap: FakeBuffer?
  /// Which granules of the heap are taken.
  var granules = [Bool](repeating: false, count: heapBytes / granuleBytes)
  private var lastBuffer: UInt32 = 0
  private var lastContext: UInt32 = 0
  private var lastTimeline: UInt32 = 0

  static let heapBytes = 64 << 20
  static let granuleBytes = 32 << 10
  /// Where the heap is for the device.
  static let heapAddress: UInt64 = 0x400_0000

  func nextBuffer() -> UInt32 {
    lastBuffer += 1
    return lastBuffer
  }

  func nextContext() -> (handle: UInt32, timeline: UInt32) {
    lastContext += 1
    lastTimeline += 1
    return (lastContext, lastTimeline)
  }

  func buffer(_ handle: UInt32) throws(FakeErrno) -> FakeBuffer {
    guard let buffer = buffers[handle] else { throw FakeErrno(ENOENT) }
    return buffer
  }

  /// As the driver does, for a context that there is not.
  func context(_ handle: UInt32) throws(FakeErrno) -> FakeContext {
    guard let context = contexts[handle] else { throw FakeErrno(EINVAL) }
    return context
  }

  /// Where a buffer's first page is mapped.
  func address(of buffer: FakeBuffer) -> UInt64? {
    let offset = UInt64(buffer.offset)
    return mappings.last { $0.offset <= offset && offset - $0.offset < $0.count }
      .map { $0.address + (offset - $0.offset) }
  }

  /// What the device finds at an address: the heap's buffers, and what this process has mapped.
  func find(_ address: UInt64) -> (buffer: FakeBuffer, offset: Int)? {
    let heapEnd = Self.heapAddress + UInt64(Self.heapBytes)
    if (Self.heapAddress..<heapEnd).contains(address) {
      let place = Int(address - Self.heapAddress)
      for buffer in buffers.values {
        guard let own = buffer.place, (own..<own + buffer.size).contains(place) else { continue }
        return (buffer, place - own)
      }
      return nil
    }
    for mapping in mappings.reversed()
    where address >= mapping.address && address - mapping.address < mapping.count {
      let offset = Int(mapping.offset + (address - mapping.address))
      for buffer in buffers.values where buffer.type == AMDXDNA_BO_SHARED {
        guard (buffer.offset..<buffer.offset + buffer.size).contains(offset) else { continue }
        return (buffer, offset - buffer.offset)
      }
    }
    return nil
  }

  /// Takes granules of the heap that follow each other, and returns where they begin.
  func takeGranules(for count: Int) throws(FakeErrno) -> Int {
    let needed = (count + Self.granuleBytes - 1) / Self.granuleBytes
    var free = 0
    for (index, isTaken) in granules.enumerated() {
      free = isTaken ? 0 : free + 1
      guard free == needed else { continue }
      let first = index + 1 - needed
      for granule in first...index { granules[granule] = true }
      return first * Self.granuleBytes
    }
    throw FakeErrno(ENOMEM)
  }

  func releaseGranules(_ place: Int, _ count: Int) {
    let first = place / Self.granuleBytes
    let needed = (count + Self.granuleBytes - 1) / Self.granuleBytes
    for granule in first..<first + needed { granules[granule] = false }
  }
}

/// All that is behind the lock of a kernel.
final class FakeDevice {
  var clients: [Int: FakeClient] = [:]
  var pages = SharedPages()
  var faults: FaultPlan
  var statistics = FakeStatistics()
  var isRemoved = false
  /// Whether a command has failed yet.
  var hasFailed = false
  private var lastClient = 0

  init(_ faults: [FakeFault]) {
    self.faults = FaultPlan(faults)
    isRemoved = self.faults.isRemoved(command: 0)
  }

  func open() throws(FakeErrno) -> Int {
    if isRemoved { throw FakeErrno(ENODEV) }
    try faults.count((.openAbsent, ENOENT))
    lastClient += 1
    clients[lastClient] = FakeClient()
    return lastClient
  }

  func close(_ number: Int) {
    guard let client = clients.removeValue(forKey: number) else { return }
    for buffer in client.buffers.values where buffer.place == nil {
      pages.release(buffer.offset, buffer.size)
    }
    // The heap lives as long as its client, whatever has become of its handle.
    if let heap = client.heap { pages.release(heap.offset, heap.size) }
  }

  /// Does a request.
  ///
  /// - Returns: Nothing, or the deadline up to which a wait was for nothing.
  func request(_ number: Int, _ call: FakeCall) throws(FakeErrno) -> Int64? {
    guard call.isOurs else { throw FakeErrno(ENOTTY) }
    guard let client = clients[number] else { throw FakeErrno(EBADF) }
    if isRemoved { throw FakeErrno(ENODEV) }
    switch call.number {
    case AMDXDNA_NUMBER_VERSION:
      try call.answer(amdxdna_drm_version()) { value throws(FakeErrno) in
        try version(&value, call.memory)
      }
    case AMDXDNA_NUMBER_GET_INFO:
      try call.answer(amdxdna_get_info()) { value throws(FakeErrno) in
        try information(&value, call.memory)
      }
    case AMDXDNA_NUMBER_CREATE_BO:
      try call.answer(amdxdna_create_bo()) { value throws(FakeErrno) in try create(client, &value) }
    case AMDXDNA_NUMBER_GET_BO_INFO:
      try call.answer(amdxdna_get_bo_info()) { value throws(FakeErrno) in
        try describe(client, &value)
      }
    case AMDXDNA_NUMBER_SYNC_BO:
      try call.answer(amdxdna_sync_bo()) { value throws(FakeErrno) in try sync(client, value) }
    case AMDXDNA_NUMBER_GEM_CLOSE:
      try call.answer(amdxdna_gem_close()) { value throws(FakeErrno) in try free(client, value) }
    case AMDXDNA_NUMBER_CREATE_HWCTX:
      try call.answer(amdxdna_create_hwctx()) { value throws(FakeErrno) in
        try create(client, &value, call.memory)
      }
    case AMDXDNA_NUMBER_CONFIG_HWCTX:
      try call.answer(amdxdna_config_hwctx()) { value throws(FakeErrno) in
        try configure(client, value, call.memory)
      }
    case AMDXDNA_NUMBER_DESTROY_HWCTX:
      try call.answer(amdxdna_destroy_hwctx()) { value throws(FakeErrno) in
        try destroy(client, value)
      }
    case AMDXDNA_NUMBER_EXEC_CMD:
      try call.answer(amdxdna_exec_cmd()) { value throws(FakeErrno) in
        try submit(client, &value, call.memory)
      }
    case AMDXDNA_NUMBER_SYNCOBJ_TIMELINE_WAIT:
      return try call.answer(amdxdna_timeline_wait()) { value throws(FakeErrno) in
        try wait(client, &value, call.memory)
      }
    case AMDXDNA_NUMBER_SYNCOBJ_DESTROY:
      try call.answer(amdxdna_syncobj_destroy()) { value throws(FakeErrno) in
        guard value.pad == 0, client.timelines.removeValue(forKey: value.handle) != nil else {
          throw FakeErrno(EINVAL)
        }
      }
    default: throw FakeErrno(EINVAL)
    }
    return nil
  }
}

/// Refuses a request one of whose fields must be zero and is not.
func requireZeros(_ fields: UInt64...) throws(FakeErrno) {
  if fields.contains(where: { $0 != 0 }) { throw FakeErrno(EINVAL) }
}
