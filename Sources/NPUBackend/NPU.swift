// The backend for an NPU: large products on its array, everything else on CPU cores.

internal import CPUBackend
package import Compute
package import NPUDriver

/// Runs programs with an NPU and some CPU cores.
///
/// It is the CPU's backend with another product: weights are rounded to bytes with a scale for each output, activations
/// with a scale for each row, and sums are exact. The array multiplies where a step has many rows and the CPU where it
/// has few, with the same result.
package struct NPU: Backend {
  package let device: DeviceDescription
  private let cpu: CPU
  private let counted: @Sendable () -> NPUStatistics
  private let trial: @Sendable () throws(ComputeError) -> Void

  /// Commands, bytes and what went wrong.
  package var statistics: NPUStatistics { counted() }

  /// - Parameters:
  ///   - kernel: Whom to ask for the device.
  ///   - threads: How many threads of the CPU compute what the array does not.
  ///   - cpus: The CPU that each thread is pinned to; nil for any.
  ///   - cacheType: The type in which keys and values are stored.
  ///   - memoryByteCount: How much of the machine's memory it may use.
  ///   - settings: How the array is used; nil for what suits the device.
  ///   - note: Is told what has gone wrong and was mended.
  /// - Throws: `ComputeError` with code `device` that says what is missing.
  package init(
    _ kernel: any KernelInterface,
    threads: Int,
    pinnedTo cpus: [Int]? = nil,
    cacheType: CacheType? = nil,
    memoryByteCount: UInt64? = nil,
    settings: NPUSettings? = nil,
    note: @escaping @Sendable (String) -> Void
  ) throws(ComputeError) {
    let engine = try NPUEngine(kernel, settings, threads: threads, note: note)
    counted = { engine.statistics }
    trial = { () throws(ComputeError) in try engine.multiplyOnce() }
    cpu = try CPU(
      threads: threads,
      pinnedTo: cpus,
      cacheType: cacheType,
      memoryByteCount: memoryByteCount,
      products: engine
    )
    device = Self.describe(cpu.device, engine.device.info)
  }

  /// Makes a backend that takes as long as an NPU is projected to, and whose results are none.
  ///
  /// The CPU's part is done as always. It is for profiles where the device is not there.
  ///
  /// - Parameters:
  ///   - device: The description of the device.
  ///   - threads: How many threads of the CPU compute what the array does not.
  ///   - cpus: The CPU that each thread is pinned to; nil for any.
  ///   - cacheType: The type in which keys and values are stored.
  ///   - clock: Of the array, in Hz.
  ///   - settings: How the array is used.
  /// - Throws: `ComputeError` if the CPU's threads cannot be started.
  package init(
    projecting device: DeviceDescription,
    threads: Int,
    pinnedTo cpus: [Int]? = nil,
    cacheType: CacheType? = nil,
    clock: Double = 1.6e9,
    settings: NPUSettings = NPUSettings()
  ) throws(ComputeError) {
    self.device = device
    let products = ProjectedProducts(settings, threads: threads, clock: clock)
    counted = { products.statistics }
    trial = {}
    cpu = try CPU(threads: threads, pinnedTo: cpus, cacheType: cacheType, products: products)
  }

  /// Returns the description of such a backend's device, without starting any thread.
  ///
  /// - Throws: `ComputeError` with code `device` that says what is missing.
  package static func describe(
    _ kernel: any KernelInterface,
    threads: Int,
    cacheType: CacheType? = nil,
    memoryByteCount: UInt64? = nil
  ) throws(ComputeError) -> DeviceDescription {
    let info: NPUDeviceInfo
    do throws(NPUDriverError) { info = try NPUDevice(kernel).info } catch {
      throw NPUEngine.computeError(error)
    }
    return describe(
      CPU.describe(threads: threads, cacheType: cacheType, memoryByteCount: memoryByteCount),
      info
    )
  }

  private static func describe(
    _ cpu: DeviceDescription,
    _ info: NPUDeviceInfo
  ) -> DeviceDescription {
    var device = cpu
    device.kind = .npu
    device.name = "npu"
    device.isEmulated = info.isEmulated
    device.preferredRows = preferredRows
    return device
  }

  /// A step of so many rows fills the array: 64 for each of its four rows of cores.
  static let preferredRows = 256

  package func support(for op: Op) -> Support { cpu.support(for: op) }

  /// Multiplies on the array once: small programs are the CPU's.
  package func test() throws(ComputeError) { try trial() }

  package func compile(
    _ program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    sharing previous: (any Executable)?,
    progress: (Double) -> Void
  ) throws -> any Executable {
    try cpu.compile(
      program,
      weights: weights,
      limits: limits,
      sharing: previous,
      progress: progress
    )
  }
}
