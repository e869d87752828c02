// The Vulkan loader and the devices that its drivers have on this machine.

internal import CVulkan
package import Compute
internal import Glibc
internal import Synchronization

/// Vulkan on this machine.
// @safe, Sendable: an instance may be used by all threads (CVulkan.h), and is closed by the last of them.
@safe package final class VulkanInstance: Sendable {
  nonisolated(unsafe) let handle: OpaquePointer

  private static let opened = Mutex<VulkanInstance?>(nil)

  /// Returns the instance of this process; it is opened the first time.
  ///
  /// With `TRESTLE_VULKAN_VALIDATION=1` in the environment, the validation layer checks all calls,
  /// synchronization and accesses of shaders.
  ///
  /// - Throws: `ComputeError` with code `device` that says what is missing, if there is no Vulkan.
  package static func open() throws(ComputeError) -> VulkanInstance {
    let known = opened.withLock { $0 }
    if let known { return known }
    let wish = unsafe getenv("TRESTLE_VULKAN_VALIDATION").map { unsafe String(cString: $0) }
    let new = try VulkanInstance(isValidated: wish == "1")
    return opened.withLock { opened in
      // Two threads may have opened one at once; the second is closed again.
      let chosen = opened ?? new
      opened = chosen
      return chosen
    }
  }

  /// Opens another instance, with or without the validation layer.
  init(isValidated: Bool) throws(ComputeError) {
    var handle: OpaquePointer?
    var result: Int32 = 0
    let found = unsafe cvk_open(isValidated, &handle, &result)
    guard found == CVK_OPENED, let handle = unsafe handle else {
      throw ComputeError(.device, Self.reason(found, result))
    }
    unsafe self.handle = handle
  }

  deinit { unsafe cvk_close(handle) }

  /// Why there is no Vulkan, and what to do.
  private static func reason(_ found: cvk_opened, _ result: Int32) -> String {
    switch found {
    case CVK_NO_LOADER:
      "this machine has no Vulkan: libvulkan.so.1 is not installed "
        + "(Debian, Ubuntu: apt-get install libvulkan1 mesa-vulkan-drivers)"
    case CVK_NO_DRIVER:
      "Vulkan has no driver here (Debian, Ubuntu: apt-get install mesa-vulkan-drivers)\(choice)"
    case CVK_TOO_OLD: "the Vulkan loader is older than 1.2; update libvulkan1"
    default: "Vulkan cannot be opened: \(text(of: result))\(choice)"
    }
  }

  /// The variable by which a user has chosen drivers; empty without one.
  private static var choice: String {
    for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
      if let value = unsafe getenv(name) {
        return "; \(name) is set to \(unsafe String(cString: value)), unset it or correct it"
      }
    }
    return ""
  }

  /// How many warnings and errors the validation layer has reported.
  package var validationMessageCount: UInt64 { unsafe cvk_validation_messages(handle) }

  /// Returns all devices, in the loader's order.
  ///
  /// - Throws: `ComputeError` with code `device` if the drivers fail.
  package func devices() throws(ComputeError) -> [VulkanDeviceInfo] {
    var count: UInt32 = 0
    try check(unsafe cvk_device_count(handle, &count), "vkEnumeratePhysicalDevices")
    var devices: [VulkanDeviceInfo] = []
    for index in 0..<count {
      var description = cvk_description()
      try check(
        unsafe cvk_describe(handle, index, &description),
        "vkGetPhysicalDeviceProperties2"
      )
      devices.append(VulkanDeviceInfo(index: Int(index), description))
    }
    return devices
  }

  /// Returns the device with a number, or the best one: the first that is no emulation.
  ///
  /// - Parameters:
  ///   - index: Its number; nil for the best.
  ///   - isToCompute: Whether it needs all that the backend does; false to compile for it alone.
  /// - Returns: The device.
  /// - Throws: `ComputeError` with code `device` if there is none, or it lacks something.
  package func device(
    _ index: Int?,
    isToCompute: Bool = true
  ) throws(ComputeError) -> VulkanDeviceInfo {
    let devices = try devices()
    guard !devices.isEmpty else {
      throw ComputeError(.device, Self.reason(CVK_NO_DRIVER, 0))
    }
    let list = devices.map { device in
      "vulkan:\(device.index) (\(device.name)\(device.isSoftware ? ", emulated" : ""))"
    }.joined(separator: ", ")
    let chosen: VulkanDeviceInfo
    if let index {
      guard devices.indices.contains(index) else {
        throw ComputeError(.device, "there is no Vulkan device \(index); this machine has \(list)")
      }
      chosen = devices[index]
    } else {
      guard let first = devices.first(where: { !$0.isSoftware && $0.missing.isEmpty }) else {
        throw ComputeError(
          .device,
          "there is no GPU that can be used; name one of the others by its number: \(list)"
        )
      }
      chosen = first
    }
    guard chosen.missing.isEmpty || !isToCompute else {
      throw ComputeError(
        .device,
        "\(chosen.name) lacks \(chosen.missing.joined(separator: ", ")); a newer driver may have it"
      )
    }
    return chosen
  }
}

/// Returns the name of a VkResult.
func text(of result: Int32) -> String { unsafe String(cString: cvk_result_name(result)) }

/// Throws what a Vulkan call has returned, unless it succeeded.
///
/// - Throws: `ComputeError` with code `memory` if memory is exhausted, otherwise `device`.
func check(_ result: Int32, _ call: String) throws(ComputeError) {
  guard result != VK_SUCCESS.rawValue else { return }
  let isMemory =
    result == VK_ERROR_OUT_OF_DEVICE_MEMORY.rawValue
    || result == VK_ERROR_OUT_OF_HOST_MEMORY.rawValue
  let what = result == VK_ERROR_DEVICE_LOST.rawValue ? "the device was lost" : "the call failed"
  throw ComputeError(
    isMemory ? .memory : .device,
    isMemory ? "the device has no memory left" : what,
    context: "\(call): \(text(of: result))"
  )
}
