// What a Vulkan device is and has, before it is opened.

internal import CVulkan
package import Compute

/// A physical device, as its driver describes it.
package struct VulkanDeviceInfo: Sendable {
  /// Its number in the loader's order.
  package let index: Int
  package let name: String
  /// The driver's name and version.
  package let driver: String
  /// Whether the host's processor emulates it.
  package let isSoftware: Bool
  /// Whether it shares the host's memory.
  package let isUnified: Bool
  /// Whether products of packed int8 are instructions of the device, not sequences of others.
  package let hasFastIntegerDot: Bool
  /// Whether the driver tells of registers and instructions of compiled shaders.
  package let hasStatistics: Bool
  package let subgroupSize: Int
  /// The most bytes that one binding may have.
  package let maxRangeBytes: Int
  package let maxAllocationBytes: Int
  let maxGroupSize: Int
  let maxSharedBytes: Int
  /// The bytes that identify the device and the version of its driver.
  let identity: [UInt8]
  package let heaps: [Heap]
  /// What the backend needs and the device has not; empty if it can be used.
  package let missing: [String]

  /// A part of the memory that the device can use.
  package struct Heap: Sendable {
    package let byteCount: UInt64
    /// What this process may use, as the driver estimates it.
    package let budgetBytes: UInt64
    package let isDeviceLocal: Bool
  }

  init(index: Int, _ description: cvk_description) {
    var description = description
    self.index = index
    name = Self.text(&description.name)
    driver = Self.text(&description.driver)
    isSoftware = description.is_software
    isUnified = description.is_integrated || description.is_software
    hasFastIntegerDot = description.integer_dot_accelerated
    hasStatistics = description.executable_properties
    subgroupSize = Int(description.subgroup_size)
    // A range of 4 GiB - 1 is not a whole number of elements.
    maxRangeBytes = Int(description.max_range_bytes) & ~255
    maxAllocationBytes = Int(clamping: description.max_allocation_bytes)
    maxGroupSize = Int(min(description.max_invocations, description.max_group_size))
    maxSharedBytes = Int(description.max_shared_bytes)
    let numbers = [description.vendor, description.device, description.driver_version]
    identity =
      numbers.flatMap { number in (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }
      + Self.bytes(&description.pipeline_cache_uuid)
    heaps = Self.heaps(&description)
    missing = Self.missing(description)
  }

  private static func bytes<Tuple>(_ tuple: inout Tuple) -> [UInt8] {
    unsafe withUnsafeBytes(of: &tuple) { unsafe Array($0) }
  }

  private static func text<Tuple>(_ tuple: inout Tuple) -> String {
    unsafe withUnsafeBytes(of: &tuple) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }

  private static func heaps(_ description: inout cvk_description) -> [Heap] {
    let count = Int(description.heap_count)
    func values<Tuple, Value>(_ tuple: inout Tuple, _ type: Value.Type) -> [Value] {
      unsafe withUnsafeBytes(of: &tuple) { unsafe Array($0.bindMemory(to: type).prefix(count)) }
    }
    let sizes = values(&description.heap_bytes, UInt64.self)
    let budgets = values(&description.heap_budgets, UInt64.self)
    let flags = values(&description.heap_flags, UInt32.self)
    return (0..<count).map { heap in
      Heap(
        byteCount: sizes[heap],
        budgetBytes: budgets[heap],
        isDeviceLocal: flags[heap] & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT.rawValue != 0
      )
    }
  }

  private static func missing(_ description: cvk_description) -> [String] {
    let needs: [(Bool, String)] = [
      (description.api_version >= 1 << 22 | 2 << 12, "Vulkan 1.2"),
      (description.has_compute, "a queue that computes"),
      (description.timeline_semaphores, "timeline semaphores"),
      (description.integer_dot, "integer dot products (VK_KHR_shader_integer_dot_product)"),
      (description.subgroup_arithmetic, "arithmetic of subgroups in compute shaders"),
      (description.subgroup_size >= 4, "subgroups of four lanes or more"),
      (description.max_push_bytes >= UInt32(CVK_PUSH_BYTES), "128 bytes of push constants"),
      // A driver that stands for hardware which is not there can compile, and nothing else.
      (description.heap_count > 0 && description.type_count > 0, "memory"),
    ]
    return needs.filter { !$0.0 }.map(\.1)
  }

  /// The memory that weights, caches and activations may take.
  package var memory: DeviceMemory {
    if isSoftware { return .host() }
    let usable = heaps.filter { $0.isDeviceLocal || isUnified }
    return DeviceMemory(
      byteCount: usable.reduce(0) { $0 + $1.budgetBytes },
      isHostMemory: isUnified,
      isSharedByWorkers: true
    )
  }
}
