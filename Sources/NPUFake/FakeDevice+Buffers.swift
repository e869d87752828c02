// Buffers: made, described, synchronised, freed.

internal import CAMDXDNA
internal import Glibc

extension FakeDevice {
  /// CREATE_BO.
  func create(_ client: FakeClient, _ value: inout amdxdna_create_bo) throws(FakeErrno) {
    try requireZeros(value.flags, value.vaddr)
    // More than any machine has: it must not overflow here.
    guard value.size > 0, value.size <= 1 << 40 else { throw FakeErrno(EINVAL) }
    let size = SharedPages.rounded(Int(value.size))
    let type = Int(value.type)
    let buffer: FakeBuffer
    switch type {
    case AMDXDNA_BO_SHARED, AMDXDNA_BO_COMMAND:
      if type == AMDXDNA_BO_SHARED { try faults.count((.sharedMemory, ENOMEM)) }
      buffer = FakeBuffer(
        handle: client.nextBuffer(),
        type: type,
        size: size,
        offset: try pages.take(size)
      )
    case AMDXDNA_BO_HEAP:
      try faults.count((.heapMemory, ENOMEM))
      guard value.size == FakeClient.heapBytes else { throw FakeErrno(EINVAL) }
      guard client.heap == nil else { throw FakeErrno(EBUSY) }
      buffer = FakeBuffer(
        handle: client.nextBuffer(),
        type: type,
        size: size,
        offset: try pages.take(size)
      )
      client.heap = buffer
    case AMDXDNA_BO_DEVICE:
      try faults.count((.deviceAgain, EAGAIN))
      guard let heap = client.heap else { throw FakeErrno(EAGAIN) }
      let place = try client.takeGranules(for: size)
      buffer = FakeBuffer(
        handle: client.nextBuffer(),
        type: type,
        size: size,
        offset: heap.offset + place,
        place: place
      )
    default: throw FakeErrno(EINVAL)
    }
    client.buffers[buffer.handle] = buffer
    value.handle = buffer.handle
  }

  /// GET_BO_INFO.
  func describe(_ client: FakeClient, _ value: inout amdxdna_get_bo_info) throws(FakeErrno) {
    try requireZeros(value.ext, value.ext_flags, UInt64(value.pad))
    let buffer = try client.buffer(value.handle)
    value.map_offset = buffer.place == nil ? UInt64(buffer.offset) : .max
    value.vaddr = client.address(of: buffer) ?? 0
    switch buffer.type {
    case AMDXDNA_BO_HEAP: value.xdna_addr = FakeClient.heapAddress
    case AMDXDNA_BO_DEVICE: value.xdna_addr = FakeClient.heapAddress + UInt64(buffer.place ?? 0)
    default: value.xdna_addr = .max
    }
  }

  /// SYNC_BO.
  ///
  /// Caches have lines of 64 bytes, so whole lines come along.
  func sync(_ client: FakeClient, _ value: amdxdna_sync_bo) throws(FakeErrno) {
    let buffer = try client.buffer(value.handle)
    let direction = Int(value.direction)
    let (end, overflows) = value.offset.addingReportingOverflow(value.size)
    guard direction == AMDXDNA_TO_DEVICE || direction == AMDXDNA_FROM_DEVICE, !overflows,
      value.offset <= UInt64(buffer.size)
    else { throw FakeErrno(EINVAL) }
    let (first, last) = (Int(value.offset), min(Int(clamping: end), buffer.size))
    if direction == AMDXDNA_TO_DEVICE {
      statistics.bytesToDevice += last - first
    } else {
      statistics.bytesFromDevice += last - first
    }
    guard last > first else { return }
    if buffer.type == AMDXDNA_BO_HEAP {
      for inner in client.buffers.values {
        guard let place = inner.place else { continue }
        let own = max(0, first - place)..<max(0, min(last - place, inner.size))
        if first < place + inner.size, last > place { move(inner, own, direction) }
      }
    } else {
      move(buffer, first..<last, direction)
    }
  }

  /// Moves bytes between a buffer's pages and what the device sees.
  private func move(_ buffer: FakeBuffer, _ bytes: Range<Int>, _ direction: Int) {
    let words = (bytes.lowerBound & ~63) / 4..<min((bytes.upperBound + 63) & ~63, buffer.size) / 4
    if direction == AMDXDNA_TO_DEVICE {
      pages.read(buffer.offset, into: &buffer.copy, words)
    } else {
      pages.write(buffer.offset, buffer.copy, words)
    }
  }

  /// GEM_CLOSE.
  func free(_ client: FakeClient, _ value: amdxdna_gem_close) throws(FakeErrno) {
    try requireZeros(UInt64(value.pad))
    // The kernel's DRM says EINVAL here, and ENOENT elsewhere.
    guard let buffer = client.buffers.removeValue(forKey: value.handle) else {
      throw FakeErrno(EINVAL)
    }
    if let place = buffer.place {
      client.releaseGranules(place, buffer.size)
    } else if buffer.type != AMDXDNA_BO_HEAP, client.address(of: buffer) == nil {
      // Pages that are still mapped stay, as the mapping holds them.
      pages.release(buffer.offset, buffer.size)
    }
  }

  /// Forgets a mapping, and gives back its pages if it was the last that held them.
  func unmapped(_ number: Int, at address: UInt64) {
    guard let client = clients[number],
      let index = client.mappings.lastIndex(where: { $0.address == address })
    else { return }
    let mapping = client.mappings.remove(at: index)
    let offset = Int(mapping.offset)
    let owners = Array(client.buffers.values) + [client.heap].compactMap { $0 }
    let isOwned = owners.contains { ($0.offset..<$0.offset + $0.size).contains(offset) }
    let isMapped = client.mappings.contains { $0.offset == mapping.offset }
    if !isOwned, !isMapped { pages.release(offset, Int(mapping.count)) }
  }
}
