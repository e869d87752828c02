// Products that take the time that the array is projected to take, and compute nothing: for profiles of a device that is not
// there.

internal import CPUBackend
internal import Compute
internal import Glibc
internal import NPUArray
internal import Platform

/// Memory of the process.
@safe private final class ProjectedMemory: ProductMemory {
  // Allocated once, and freed by nobody else.
  nonisolated(unsafe) let base: UnsafeMutableRawPointer
  let byteCount: Int

  init(byteCount: Int) throws(ComputeError) {
    var address: UnsafeMutableRawPointer?
    guard unsafe posix_memalign(&address, 4096, max(byteCount, 1)) == 0,
      let address = unsafe address
    else { throw ComputeError(.memory, "no \(byteCount) bytes for a projected product") }
    unsafe base = unsafe address
    self.byteCount = byteCount
    unsafe memset(base, 0, byteCount)
  }

  deinit { unsafe free(base) }
}

/// The array, as far as its time goes.
final class ProjectedProducts: ArrayProducts {
  let shapes: ProductShapes
  /// Of the array, in Hz.
  private let clock: Double
  private let done = Lock(NPUStatistics())

  var statistics: NPUStatistics { done.withLock { $0 } }

  /// What a dispatch costs beside its products: published are 37 us in a batch and 75 to 85 us alone.
  private static let dispatchSeconds = 80e-6

  init(_ settings: NPUSettings, threads: Int, clock: Double) {
    shapes = ProductShapes(settings, threads: threads)
    self.clock = clock
  }

  var checksSums: Bool { false }

  func allocate(_ byteCount: Int, purpose: String) throws(ComputeError) -> any ProductMemory {
    try ProjectedMemory(byteCount: byteCount)
  }

  func finish(_ weight: any ProductMemory) {}

  func run(_ products: [DeviceProduct]) throws(ComputeError) {
    var seconds = Self.dispatchSeconds
    for product in products {
      let shape = try shapes.shape(of: product)
      seconds += ProductTime.seconds(of: shape, clock: clock)
      done.withLock { $0.add(shape, rows: product.rowCount) }
    }
    done.withLock {
      $0.dispatches += 1
      $0.projectedSeconds += seconds
    }
    let end = ContinuousClock.now + .seconds(seconds)
    // Sleeping is as precise as the time of a dispatch is known.
    while ContinuousClock.now < end { usleep(20) }
  }

  func lostByWrongSums(of product: DeviceProduct, row: Int) -> ComputeError {
    ComputeError(.device, "projected products are not checked")
  }
}
