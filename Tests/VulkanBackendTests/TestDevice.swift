// The device that the tests use: a GPU if this machine has one, otherwise Mesa's emulation.

import Testing

@testable import VulkanBackend

/// The Vulkan device of the tests.
enum TestDevice {
  /// Its number: of the first GPU, or of the emulation (Debian's package mesa-vulkan-drivers, which
  /// scripts/setup installs).
  static let index: Int? = {
    do {
      let devices = try VulkanInstance.open().devices().filter(\.missing.isEmpty)
      guard let device = devices.first(where: { !$0.isSoftware }) ?? devices.first else {
        print("skipped: this machine has no Vulkan device that can be used")
        return nil
      }
      print("Vulkan tests run on \(device.name)\(device.isSoftware ? " (emulated)" : "")")
      return device.index
    } catch {
      print("skipped: \(error)")
      return nil
    }
  }()

  static var exists: Bool { index != nil }
}

extension Trait where Self == ConditionTrait {
  /// Runs a test only where there is a Vulkan device.
  static var needsVulkan: Self {
    .enabled(if: TestDevice.exists, "this machine has no Vulkan device that can be used")
  }
}
