// A buffer with memory of its own on a device.

internal import CVulkan
internal import Compute

/// Memory of a device that kernels read and write.
// @safe, @unchecked Sendable: the handles never change; who writes the contents is its owner's matter.
@safe final class DeviceBuffer: @unchecked Sendable {
  /// What a buffer is for, which decides in which memory it is.
  enum Use {
    /// Only the device uses it, apart from transfers.
    case device
    /// The host writes it, the device reads it.
    case upload
    /// The device writes it, the host reads it.
    case download
  }

  let byteCount: Int
  private let device: VulkanDevice
  private var buffer: cvk_buffer

  /// - Throws: `ComputeError` with code `memory`, naming the purpose, if the device has too little.
  init(
    _ byteCount: Int,
    _ use: Use,
    on device: VulkanDevice,
    purpose: @autoclosure () -> String
  ) throws(ComputeError) {
    self.device = device
    self.byteCount = byteCount
    unsafe buffer = unsafe cvk_buffer()
    guard byteCount <= device.info.maxAllocationBytes else {
      throw ComputeError(
        .memory,
        "\(byteCount) bytes for \(purpose()); the device gives \(device.info.maxAllocationBytes) at once"
      )
    }
    let wishes = Self.wishes(use, isUnified: device.info.isUnified)
    let result = unsafe wishes.withUnsafeBufferPointer { wishes in
      unsafe cvk_create_buffer(
        device.handle,
        UInt64(max(byteCount, 4)),
        wishes.baseAddress,
        UInt32(wishes.count),
        &buffer
      )
    }
    do {
      try check(result, "vkAllocateMemory")
    } catch {
      throw ComputeError(
        error.code,
        "no \(byteCount) bytes for \(purpose()): \(error.message)",
        context: error.context
      )
    }
  }

  deinit { unsafe cvk_destroy_buffer(device.handle, &buffer) }

  /// The kinds of memory for a use, the best first.
  private static func wishes(_ use: Use, isUnified: Bool) -> [UInt32] {
    let local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT.rawValue
    let host =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT.rawValue | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT.rawValue
    let cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT.rawValue
    switch use {
    case .device: return isUnified ? [local | host, local, host] : [local, host]
    case .upload: return [local | host, host]
    case .download: return [host | cached, host]
    }
  }

  /// The memory as the host sees it; nil if it does not.
  var mapped: UnsafeMutableRawPointer? { unsafe buffer.mapped }

  /// Whether the host's caches work for it, so that the host may read it.
  var isCached: Bool {
    unsafe buffer.type_flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT.rawValue != 0
  }

  /// The memory as the host sees it.
  ///
  /// - Precondition: The buffer is for uploads or downloads.
  var hostMemory: UnsafeMutableRawPointer {
    guard let mapped = unsafe mapped else {
      preconditionFailure("a buffer of \(byteCount) bytes is not visible to the host")
    }
    return unsafe mapped
  }

  func range(_ bytes: Range<Int>) -> cvk_range {
    unsafe cvk_range(
      buffer: buffer.buffer,
      offset: UInt64(bytes.lowerBound),
      bytes: UInt64(bytes.count)
    )
  }

  /// A copy of bytes of another buffer into this one.
  func copy(from source: DeviceBuffer, at from: Int, to: Int, byteCount: Int) -> cvk_copy {
    unsafe cvk_copy(
      source: source.buffer.buffer,
      target: buffer.buffer,
      source_offset: UInt64(from),
      target_offset: UInt64(to),
      bytes: UInt64(byteCount)
    )
  }
}
