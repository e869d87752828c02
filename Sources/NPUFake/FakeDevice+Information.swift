// What the kernel says of itself and of the device: a processor of the kind "Phoenix", so far as its users have
// published what theirs answers.

internal import CAMDXDNA
internal import Glibc

extension FakeDevice {
  /// VERSION: lengths are always told, and texts as far as there is room for them.
  func version(
    _ value: inout amdxdna_drm_version,
    _ memory: any CallerMemory
  ) throws(FakeErrno) {
    try faults.count((.versionInvalid, EINVAL))
    (value.major, value.minor, value.patch) = (1, 0, 0)
    let name = faults.has(.driverName) ? "another_driver" : "amdxdna_accel_driver"
    value.name_len = try put(name, value.name, value.name_len, memory)
    value.date_len = try put("20240124", value.date, value.date_len, memory)
    // The driver's own word is "AMD XDNA DRM implementation"; nobody shall take this for silicon.
    value.desc_len = try put("emulated by Trestle", value.desc, value.desc_len, memory)
  }

  private func put(
    _ text: String,
    _ address: UInt64,
    _ room: UInt64,
    _ memory: any CallerMemory
  ) throws(FakeErrno) -> UInt64 {
    if address != 0 { try memory.put(address, Array(text.utf8.prefix(Int(clamping: room)))) }
    return UInt64(text.utf8.count)
  }

  /// GET_INFO: as many bytes are copied as the caller has room for, and it is told how many.
  func information(
    _ value: inout amdxdna_get_info,
    _ memory: any CallerMemory
  ) throws(FakeErrno) {
    try faults.count((.infoAbsent, EOPNOTSUPP))
    let isShort = faults.hitsNext(.infoShort)
    var answer = try answer(to: Int(value.param))
    if isShort { answer.removeLast(answer.count / 2) }
    let count = min(Int(value.buffer_size), answer.count)
    try memory.put(value.buffer, Array(answer.prefix(count)))
    value.buffer_size = UInt32(count)
  }

  private func answer(to question: Int) throws(FakeErrno) -> [UInt8] {
    switch question {
    case AMDXDNA_INFO_AIE_METADATA: bytes(of: metadata)
    case AMDXDNA_INFO_AIE_VERSION: bytes(of: amdxdna_version(major: 1, minor: 1))
    case AMDXDNA_INFO_CLOCKS:
      bytes(of: clock("MP-NPU Clock", 847)) + bytes(of: clock("H Clock", 1600))
    case AMDXDNA_INFO_FIRMWARE:
      bytes(of: amdxdna_firmware(major: 1, minor: 5, patch: 5, build: 391))
    case AMDXDNA_INFO_POWER_MODE: bytes(of: amdxdna_power_mode())
    // Sensors, too, which this kind of processor does not have.
    default: throw FakeErrno(EOPNOTSUPP)
    }
  }

  private var metadata: amdxdna_metadata {
    var metadata = amdxdna_metadata()
    metadata.col_size = 7168
    (metadata.cols, metadata.rows) = (5, 6)
    (metadata.major, metadata.minor) = (1, 1)
    metadata.core = tile(rows: 4, from: 2, channels: 2, locks: 16)
    metadata.mem = tile(rows: 1, from: 1, channels: 6, locks: 64)
    metadata.shim = tile(rows: 1, from: 0, channels: 2, locks: 16)
    return metadata
  }

  private func tile(
    rows: UInt16,
    from first: UInt16,
    channels: UInt16,
    locks: UInt16
  ) -> amdxdna_tile_metadata {
    amdxdna_tile_metadata(
      row_count: rows,
      row_start: first,
      dma_channel_count: channels,
      lock_count: locks,
      event_reg_count: 8,
      pad: (0, 0, 0)
    )
  }

  private func clock(_ name: String, _ megahertz: UInt32) -> amdxdna_clock {
    var clock = structure(Array(name.utf8), over: amdxdna_clock())
    clock.freq_mhz = megahertz
    return clock
  }
}
