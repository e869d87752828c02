// An open device: its driver's questions and answers, its heap, and what is made of it.

internal import CAMDXDNA
internal import Glibc

/// An NPU that this process has opened.
///
/// It may be used by any thread; buffers and contexts keep it open.
// @unchecked Sendable: nothing changes after init, and the kernel takes requests of all threads.
@safe package final class NPUDevice: @unchecked Sendable {
  package let info: NPUDeviceInfo
  let kernel: any KernelInterface
  let node: CInt
  /// Where configurations and control code lie.
  ///
  /// It must be there before a context is made, because that tells the firmware where it is.
  private(set) var heap: NPUHeap?

  /// Phoenix and Hawk Point.
  static let vendor = "0x1022"
  static let product = "0x1502"
  static let driverName = "amdxdna_accel_driver"

  /// Returns the node of the first NPU of this machine.
  ///
  /// - Parameter kernel: Whom to ask.
  /// - Returns: Its path.
  /// - Throws: `NPUDriverError` with code `absent` that says what there is instead.
  private static func find(_ kernel: any KernelInterface) throws(NPUDriverError) -> String {
    let nodes = kernel.nodes
    if let node = nodes.first(where: { $0.vendor == vendor && $0.device == product }) {
      return node.path
    }
    guard let other = nodes.first else {
      throw NPUDriverError(.absent, "no NPU: /sys/class/accel has no device")
    }
    let isAMD = other.vendor == vendor
    throw NPUDriverError(
      .absent,
      "no NPU of XDNA1: \(other.path) is \(other.vendor):\(other.device), "
        + (isAMD ? "another AMD NPU" : "another maker's device")
        + "; known is \(vendor):\(product)"
    )
  }

  /// Opens the first NPU of this machine, asks what it is, and makes its heap.
  ///
  /// - Parameter kernel: Whom to ask.
  /// - Throws: `NPUDriverError` that says what is missing.
  package init(_ kernel: any KernelInterface) throws(NPUDriverError) {
    let path = try Self.find(kernel)
    let (node, error) = kernel.open(path)
    guard error == 0 else {
      throw NPUDriverError(
        error == EACCES || error == EPERM ? .permission : .absent,
        "\(path) cannot be opened: \(Self.reason(error))"
      )
    }
    self.kernel = kernel
    self.node = node
    do throws(NPUDriverError) {
      info = try Questions(kernel: kernel, node: node).answers(path)
    } catch {
      kernel.close(node)
      throw error
    }
    heap = try NPUHeap(kernel, node)
  }

  deinit {
    heap = nil
    kernel.close(node)
  }

  /// The text of an error of the kernel.
  static func reason(_ error: CInt) -> String { unsafe String(cString: strerror(error)) }

  /// Does a request.
  ///
  /// - Throws: `NPUDriverError` that says what was to be done and what the kernel has said.
  static func request<Value: BitwiseCopyable>(
    _ kernel: any KernelInterface,
    _ node: CInt,
    _ number: UInt32,
    _ value: inout Value,
    to what: @autoclosure () -> String
  ) throws(NPUDriverError) {
    let error = unsafe withUnsafeMutablePointer(to: &value) { pointer in
      unsafe kernel.request(node, number, UnsafeMutableRawPointer(pointer))
    }
    guard error == 0 else { throw failure(error, what()) }
  }

  static func failure(_ error: CInt, _ what: String) -> NPUDriverError {
    let code: NPUDriverError.Code =
      switch error {
      case ENODEV, EIO: .lost
      case ENOMEM, EAGAIN, ENOSPC: .exhausted
      case ETIME, ETIMEDOUT: .timeout
      case EACCES, EPERM: .permission
      case EOPNOTSUPP, ENOTTY: .unsupported
      default: .refused
      }
    return NPUDriverError(code, "the driver cannot \(what): \(reason(error))")
  }

  func request<Value: BitwiseCopyable>(
    _ number: UInt32,
    _ value: inout Value,
    to what: @autoclosure () -> String
  ) throws(NPUDriverError) {
    try Self.request(kernel, node, number, &value, to: what())
  }
}

/// What a driver is asked before anything else.
private struct Questions {
  let kernel: any KernelInterface
  let node: CInt

  func answers(_ path: String) throws(NPUDriverError) -> NPUDeviceInfo {
    let driver = try driver()
    guard driver.name == NPUDevice.driverName else {
      throw NPUDriverError(
        .unsupported,
        "\(path) has the driver \"\(driver.name)\", not \(NPUDevice.driverName)"
      )
    }
    var info = NPUDeviceInfo(
      node: path,
      driver: "\(driver.name) \(driver.version), \(driver.text)",
      isEmulated: driver.text.contains("emulated")
    )
    // A question that a driver does not know is one without an answer.
    if let firmware = answer(AMDXDNA_INFO_FIRMWARE, amdxdna_firmware()) {
      info.firmware =
        "\(firmware.major).\(firmware.minor).\(firmware.patch).\(firmware.build)"
    }
    if let version = answer(AMDXDNA_INFO_AIE_VERSION, amdxdna_version()) {
      info.arrayVersion = "\(version.major).\(version.minor)"
    }
    if let metadata = answer(AMDXDNA_INFO_AIE_METADATA, amdxdna_metadata()) {
      info.columns = Int(metadata.cols)
      info.rows = Int(metadata.rows)
    }
    if let clocks = answer(AMDXDNA_INFO_CLOCKS, amdxdna_clocks()) {
      info.arrayClock = Int(clocks.h.freq_mhz)
      info.controllerClock = Int(clocks.mp_npu.freq_mhz)
    }
    if let mode = answer(AMDXDNA_INFO_POWER_MODE, amdxdna_power_mode()) {
      info.powerMode = Int(mode.power_mode)
    }
    return info
  }

  /// Returns an answer; nil if the driver does not know the question, or answers with less.
  private func answer<Value: BitwiseCopyable>(
    _ question: some BinaryInteger,
    _ empty: Value
  ) -> Value? {
    var value = empty
    let isAnswered = unsafe withUnsafeMutableBytes(of: &value) { bytes -> Bool in
      var query = amdxdna_get_info()
      query.param = UInt32(question)
      query.buffer_size = UInt32(bytes.count)
      query.buffer = UInt64(UInt(bitPattern: bytes.baseAddress))
      do throws(NPUDriverError) {
        try NPUDevice.request(kernel, node, AMDXDNA_GET_INFO, &query, to: "answer")
      } catch { return false }
      return Int(query.buffer_size) >= bytes.count
    }
    return isAnswered ? value : nil
  }

  private func driver() throws(NPUDriverError) -> (name: String, version: String, text: String) {
    var name = [UInt8](repeating: 0, count: 128)
    var text = [UInt8](repeating: 0, count: 256)
    var version = amdxdna_drm_version()
    version.name_len = UInt64(name.count)
    version.desc_len = UInt64(text.count)
    var failure: NPUDriverError?
    unsafe name.withUnsafeMutableBytes { name in
      unsafe text.withUnsafeMutableBytes { text in
        version.name = UInt64(UInt(bitPattern: name.baseAddress))
        version.desc = UInt64(UInt(bitPattern: text.baseAddress))
        do throws(NPUDriverError) {
          try NPUDevice.request(kernel, node, AMDXDNA_VERSION, &version, to: "say which it is")
        } catch { failure = error }
      }
    }
    if let failure { throw failure }
    return (
      string(name, version.name_len), "\(version.major).\(version.minor).\(version.patch)",
      string(text, version.desc_len)
    )
  }

  /// The lengths are those of the whole texts, also where only a part has had room.
  private func string(_ bytes: [UInt8], _ count: UInt64) -> String {
    String(decoding: bytes.prefix(Int(clamping: count)), as: UTF8.self)
  }
}
