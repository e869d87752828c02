// Buffers of an NPU: pages that it shares with the process, and pieces of its heap.
//
// The NPU is not coherent with the processor's caches: what the process has written is there for it after
// `write(to:)`, and what it has written is there for the process after `read(from:)`.

internal import CAMDXDNA
internal import Glibc

/// The one large buffer in which configurations and control code lie.
@safe final class NPUHeap {
  let kernel: any KernelInterface
  let node: CInt
  let handle: UInt32
  let base: UnsafeMutableRawPointer
  let address: UInt64

  /// What the driver has for this device: no less and no more.
  static let byteCount = 64 << 20

  init(_ kernel: any KernelInterface, _ node: CInt) throws(NPUDriverError) {
    self.kernel = kernel
    self.node = node
    handle = try NPUBuffer.create(
      kernel,
      node,
      type: UInt32(AMDXDNA_BO_HEAP),
      byteCount: Self.byteCount
    )
    do throws(NPUDriverError) {
      let info = try NPUBuffer.info(kernel, node, handle)
      // The firmware takes the address for the heap's, and wants it aligned so.
      unsafe base = try NPUBuffer.map(
        kernel,
        node,
        info.map_offset,
        byteCount: Self.byteCount,
        alignment: Self.byteCount
      )
      address = info.xdna_addr
    } catch {
      NPUBuffer.close(kernel, node, handle)
      throw error
    }
  }

  deinit {
    unsafe kernel.unmap(node, base, byteCount: Self.byteCount)
    NPUBuffer.close(kernel, node, handle)
  }
}

/// A buffer of the device.
///
/// Who writes or reads it takes care that nobody else does.
@safe package final class NPUBuffer: @unchecked Sendable {
  package enum Kind: Sendable, Hashable {
    /// Pages that the array reads and writes.
    case shared
    /// A piece of the heap: a configuration or control code.
    case device
    /// A command packet.
    case command
  }

  package let device: NPUDevice
  package let kind: Kind
  package let handle: UInt32
  package let byteCount: Int
  /// Where the process sees it.
  package let base: UnsafeMutableRawPointer
  /// Where the device sees it.
  package let address: UInt64

  /// - Parameters:
  ///   - device: The device.
  ///   - kind: What it is for.
  ///   - byteCount: Its size in bytes.
  /// - Throws: `NPUDriverError`, with code `exhausted` if there is no memory.
  package init(
    _ device: NPUDevice,
    _ kind: Kind,
    byteCount: Int
  ) throws(NPUDriverError) {
    self.device = device
    self.kind = kind
    self.byteCount = byteCount
    let type =
      switch kind {
      case .shared: AMDXDNA_BO_SHARED
      case .device: AMDXDNA_BO_DEVICE
      case .command: AMDXDNA_BO_COMMAND
      }
    let (kernel, node) = (device.kernel, device.node)
    handle = try Self.create(kernel, node, type: UInt32(type), byteCount: byteCount)
    do throws(NPUDriverError) {
      let info = try Self.info(kernel, node, handle)
      if kind == .device {
        guard let heap = device.heap, info.xdna_addr >= heap.address,
          info.xdna_addr - heap.address <= UInt64(NPUHeap.byteCount - byteCount)
        else {
          throw NPUDriverError(.refused, "a buffer at \(info.xdna_addr) is not in the heap")
        }
        unsafe base = unsafe heap.base + Int(info.xdna_addr - heap.address)
        address = info.xdna_addr
      } else {
        unsafe base = try Self.map(
          kernel,
          node,
          info.map_offset,
          byteCount: byteCount,
          alignment: Self.alignment
        )
        // With shared virtual addresses, the device sees the pages where the process has mapped them.
        let own = unsafe UInt64(UInt(bitPattern: base))
        address = info.xdna_addr == UInt64.max ? own : info.xdna_addr
      }
    } catch {
      Self.close(kernel, node, handle)
      throw error
    }
  }

  deinit {
    if kind != .device { unsafe device.kernel.unmap(device.node, base, byteCount: byteCount) }
    Self.close(device.kernel, device.node, handle)
  }

  /// Lines of caches, and of pages.
  private static let alignment = 4096

  /// Makes what the process has written visible to the device.
  package func write() throws(NPUDriverError) { try sync(AMDXDNA_TO_DEVICE) }

  /// Makes what the device has written visible to the process.
  package func read() throws(NPUDriverError) { try sync(AMDXDNA_FROM_DEVICE) }

  /// As `write()`, of the first bytes alone.
  package func write(first count: Int) throws(NPUDriverError) {
    try sync(AMDXDNA_TO_DEVICE, count)
  }

  /// As `read()`, of the first bytes alone.
  package func read(first count: Int) throws(NPUDriverError) {
    try sync(AMDXDNA_FROM_DEVICE, count)
  }

  private func sync(_ direction: Int, _ count: Int? = nil) throws(NPUDriverError) {
    var request = amdxdna_sync_bo()
    request.handle = handle
    request.direction = UInt32(direction)
    request.size = UInt64(count ?? byteCount)
    try device.request(AMDXDNA_SYNC_BO, &request, to: "flush a buffer of \(byteCount) bytes")
  }

  /// Lends the words of a buffer of whole words, which stays as long.
  package func withWords<Result>(
    _ body: (UnsafeMutableBufferPointer<UInt32>) throws -> Result
  ) rethrows -> Result {
    // A pointer alone would not keep the buffer, and its pages, from going.
    try withExtendedLifetime(self) {
      try unsafe body(
        UnsafeMutableRawBufferPointer(start: base, count: byteCount).bindMemory(to: UInt32.self)
      )
    }
  }

  /// Fills the first words.
  ///
  /// - Precondition: There are as many.
  package func put(_ words: [UInt32]) {
    unsafe withWords { own in
      precondition(words.count <= own.count, "\(words.count) words for \(own.count)")
      _ = unsafe own.update(fromContentsOf: words)
    }
  }

  /// Makes all words zero.
  package func clear() { unsafe withWords { unsafe $0.update(repeating: 0) } }

  /// A copy of all words.
  package var copy: [UInt32] { unsafe withWords { unsafe Array($0) } }

  /// A word.
  package subscript(index: Int) -> UInt32 { unsafe withWords { unsafe $0[index] } }

  // MARK: Requests

  static func create(
    _ kernel: any KernelInterface,
    _ node: CInt,
    type: UInt32,
    byteCount: Int
  ) throws(NPUDriverError) -> UInt32 {
    var request = amdxdna_create_bo()
    request.size = UInt64(byteCount)
    request.type = type
    let isHeap = type == AMDXDNA_BO_HEAP
    try NPUDevice.request(
      kernel,
      node,
      AMDXDNA_CREATE_BO,
      &request,
      to: "make a \(isHeap ? "heap" : "buffer") of \(byteCount) bytes"
    )
    return request.handle
  }

  static func info(
    _ kernel: any KernelInterface,
    _ node: CInt,
    _ handle: UInt32
  ) throws(NPUDriverError) -> amdxdna_get_bo_info {
    var request = amdxdna_get_bo_info()
    request.handle = handle
    try NPUDevice.request(kernel, node, AMDXDNA_GET_BO_INFO, &request, to: "tell where a buffer is")
    return request
  }

  static func map(
    _ kernel: any KernelInterface,
    _ node: CInt,
    _ offset: UInt64,
    byteCount: Int,
    alignment: Int
  ) throws(NPUDriverError) -> UnsafeMutableRawPointer {
    let (base, error) = unsafe kernel.map(
      node,
      offset: offset,
      byteCount: byteCount,
      alignment: alignment
    )
    guard let base = unsafe base else {
      throw NPUDevice.failure(error, "map a buffer of \(byteCount) bytes")
    }
    return unsafe base
  }

  static func close(_ kernel: any KernelInterface, _ node: CInt, _ handle: UInt32) {
    var request = amdxdna_gem_close()
    request.handle = handle
    // A buffer of a device that is gone is gone as well.
    try? NPUDevice.request(kernel, node, AMDXDNA_GEM_CLOSE, &request, to: "close a buffer")
  }
}
