// A context: columns of the array with a configuration, and a queue of commands for it.

internal import CAMDXDNA
internal import Glibc

/// The array with one configuration, for commands of one thread at a time.
@safe package final class NPUContext {
  package let device: NPUDevice
  private let handle: UInt32
  private let timeline: UInt32
  /// The configurations, which must stay where they are.
  private let images: [NPUBuffer]
  /// Packets for chains of commands, which are used again and again; the first is the chain's own.
  private var packets: [NPUBuffer] = []
  /// How many commands and chains have been sent.
  package private(set) var commandCount = 0
  package private(set) var dispatchCount = 0

  /// Rows of cores, as the driver counts tiles.
  private static let coreRows = 4
  /// What the firmware takes for a command at most; our control code has some hundred.
  private static let mostOperations: UInt32 = 2048
  private static let packetBytes = 4096
  /// Commands of one chain: their packets have 4 KiB together.
  package static let mostCommands = AMDXDNA_CHAIN_BYTES / 128

  /// Configures the array.
  ///
  /// - Parameters:
  ///   - device: The device.
  ///   - columns: Of the array, 1 to 4.
  ///   - image: The words of a PDI.
  /// - Throws: `NPUDriverError`; a context that cannot be made on a device that had one often needs a reboot.
  package init(
    _ device: NPUDevice,
    columns: Int,
    image: [UInt32]
  ) throws(NPUDriverError) {
    self.device = device
    let buffer = try NPUBuffer(device, .device, byteCount: 4 * image.count)
    buffer.put(image)
    try buffer.write()
    images = [buffer]
    var request = amdxdna_create_hwctx()
    request.max_opc = Self.mostOperations
    request.num_tiles = UInt32(columns * Self.coreRows)
    var quality = amdxdna_qos()
    var failure: NPUDriverError?
    unsafe withUnsafeMutablePointer(to: &quality) { quality in
      request.qos_p = UInt64(UInt(bitPattern: quality))
      do throws(NPUDriverError) {
        try device.request(
          AMDXDNA_CREATE_HWCTX,
          &request,
          to: "make a context of \(columns) columns"
        )
      } catch { failure = error }
    }
    if let failure { throw failure }
    handle = request.handle
    timeline = request.syncobj_handle
    try configure(buffer)
  }

  deinit {
    var request = amdxdna_destroy_hwctx()
    request.handle = handle
    // What a lost device does not take does not matter any more.
    try? device.request(AMDXDNA_DESTROY_HWCTX, &request, to: "end a context")
    var object = amdxdna_syncobj_destroy()
    object.handle = timeline
    try? device.request(AMDXDNA_SYNCOBJ_DESTROY, &object, to: "end a timeline")
  }

  private func configure(_ image: NPUBuffer) throws(NPUDriverError) {
    var units = UnitList()
    units.list.num_cus = 1
    units.unit.cu_bo = image.handle
    var failure: NPUDriverError?
    unsafe withUnsafeMutableBytes(of: &units) { bytes in
      var request = amdxdna_config_hwctx()
      request.handle = handle
      request.param_type = UInt32(AMDXDNA_CONFIG_CU)
      request.param_val = UInt64(UInt(bitPattern: bytes.baseAddress))
      request.param_val_size = UInt32(bytes.count)
      do throws(NPUDriverError) {
        try device.request(AMDXDNA_CONFIG_HWCTX, &request, to: "configure the array")
      } catch { failure = error }
    }
    if let failure { throw failure }
  }

  /// A list with one unit, as the driver reads it.
  private struct UnitList: BitwiseCopyable {
    var list = amdxdna_config_cu()
    var unit = amdxdna_cu()
  }

  // MARK: Commands

  /// Runs commands, one after the other, and waits for their end.
  ///
  /// - Parameters:
  ///   - commands: The commands: one, or up to `mostCommands` as a chain.
  ///   - patience: How long to wait for all of them.
  /// - Throws: `NPUDriverError` with code `timeout` or `failed` that has the state and the packet's words; `lost` if
  ///   the device is gone.
  package func run(_ commands: [NPUCommand], patience: Duration) throws(NPUDriverError) {
    precondition((1...Self.mostCommands).contains(commands.count), "\(commands.count) commands")
    while packets.count < commands.count + 1 {
      packets.append(try NPUBuffer(device, .command, byteCount: Self.packetBytes))
    }
    let own = Array(packets[1...commands.count])
    for (packet, command) in zip(own, commands) {
      packet.put(command.words(unit: 0))
    }
    var packet = own[0]
    if commands.count > 1 {
      packet = packets[0]
      packet.put(CommandPacket.chain(own))
    }
    let buffers = commands.flatMap { [$0.code] + $0.arguments } + own
    let point = try submit(packet, Set(buffers.map(\.handle)).sorted())
    commandCount += commands.count
    dispatchCount += 1
    try wait(for: point, patience, packet, own)
    let state = state(of: packet)
    guard state == .completed else { throw failure(state, packet, own) }
  }

  private func submit(_ packet: NPUBuffer, _ handles: [UInt32]) throws(NPUDriverError) -> UInt64 {
    var request = amdxdna_exec_cmd()
    request.hwctx = handle
    request.type = UInt32(AMDXDNA_SUBMIT_EXEC_BUF)
    request.cmd_handles = UInt64(packet.handle)
    request.cmd_count = 1
    request.arg_count = UInt32(handles.count)
    // A queue that is full for a moment is tried again, for a second altogether.
    for pause in [1, 10, 100, 900] + [0] {
      let error = unsafe handles.withUnsafeBufferPointer { handles in
        request.args = UInt64(UInt(bitPattern: handles.baseAddress))
        return unsafe withUnsafeMutablePointer(to: &request) { pointer in
          unsafe device.kernel.request(
            device.node,
            AMDXDNA_EXEC_CMD,
            UnsafeMutableRawPointer(pointer)
          )
        }
      }
      switch error {
      case 0: return request.seq
      case EAGAIN where pause > 0: usleep(UInt32(pause) * 1000)
      default: throw NPUDevice.failure(error, "take a command")
      }
    }
    throw NPUDevice.failure(EAGAIN, "take a command")
  }

  private func wait(
    for point: UInt64,
    _ patience: Duration,
    _ packet: NPUBuffer,
    _ own: [NPUBuffer]
  ) throws(NPUDriverError) {
    var now = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    let nanoseconds = Int64(patience / .nanoseconds(1))
    var (object, point) = (timeline, point)
    var error: CInt = 0
    unsafe withUnsafeMutablePointer(to: &object) { object in
      unsafe withUnsafeMutablePointer(to: &point) { point in
        var request = amdxdna_timeline_wait()
        request.handles = UInt64(UInt(bitPattern: object))
        request.points = UInt64(UInt(bitPattern: point))
        request.count_handles = 1
        request.flags = UInt32(AMDXDNA_WAIT_FOR_SUBMIT)
        request.timeout_nsec = Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec) + nanoseconds
        error = unsafe withUnsafeMutablePointer(to: &request) { pointer in
          unsafe device.kernel.request(
            device.node,
            AMDXDNA_SYNCOBJ_TIMELINE_WAIT,
            UnsafeMutableRawPointer(pointer)
          )
        }
      }
    }
    switch error {
    case 0: return
    case ETIME, ETIMEDOUT:
      throw NPUDriverError(
        .timeout,
        "a command has not ended within \(patience): \(describe(state(of: packet), packet, own))"
      )
    default: throw NPUDevice.failure(error, "wait for a command")
    }
  }

  private func state(of packet: NPUBuffer) -> CommandState {
    CommandState(value: packet[0] & UInt32(AMDXDNA_STATE_MASK))
  }

  private func failure(
    _ state: CommandState,
    _ packet: NPUBuffer,
    _ own: [NPUBuffer]
  ) -> NPUDriverError {
    NPUDriverError(.failed, "a command has ended as \(describe(state, packet, own))")
  }

  /// The state, and the words that the driver has left in the packet, as they are.
  private func describe(_ state: CommandState, _ packet: NPUBuffer, _ own: [NPUBuffer]) -> String {
    let payload = (1..<9).map { "0x" + String(own[0][$0], radix: 16) }
    guard own.count > 1 else { return "\(state); its words: \(payload.joined(separator: " "))" }
    let index = packet[3]
    return "\(state), of \(own.count) at \(index); words of the first: "
      + payload.joined(separator: " ")
  }
}
