// Compiled pipelines between runs. Some drivers keep them on their own, some take seconds to compile them at
// every start. Nothing depends on what is kept: what cannot be used is compiled again.

internal import VulkanKernels

/// Where compiled pipelines are kept.
package struct PipelineStore: Sendable {
  /// Returns what was stored under a name; nil if there is nothing that can be read.
  let load: @Sendable (_ name: String) -> [UInt8]?
  /// Stores bytes under a name, in the place of what was there.
  let store: @Sendable (_ name: String, _ bytes: [UInt8]) -> Void

  package init(
    load: @escaping @Sendable (_ name: String) -> [UInt8]?,
    store: @escaping @Sendable (_ name: String, _ bytes: [UInt8]) -> Void
  ) {
    self.load = load
    self.store = store
  }
}

/// The pipelines of one device, with one version of its driver and of the shaders.
struct KeptPipelines: Sendable {
  private let store: PipelineStore
  private let name: String

  init(_ store: PipelineStore, for info: VulkanDeviceInfo) {
    self.store = store
    let digits = [Self.hash(info.identity), vulkan_shaders_hash()].map(Self.hexadecimal)
    name = "vulkan-" + digits.joined(separator: "-")
  }

  /// Returns the pipelines of an earlier run; nil if there are none, or they are damaged.
  func load() -> [UInt8]? {
    guard let bytes = store.load(name), bytes.count > Self.checksumLength else { return nil }
    let data = Array(bytes.dropFirst(Self.checksumLength))
    // A driver may trust what it is given, whatever has become of it.
    return bytes.starts(with: Self.checksum(of: data)) ? data : nil
  }

  func save(_ data: [UInt8]) { store.store(name, Self.checksum(of: data) + data) }

  private static let checksumLength = 16

  private static func checksum(of data: [UInt8]) -> [UInt8] {
    Array(hexadecimal(hash(data)).utf8)
  }

  private static func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// FNV-1a (Fowler, Noll, Vo), which finds damage, not forgery.
  private static func hash(_ bytes: [UInt8]) -> UInt64 {
    bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
  }
}
