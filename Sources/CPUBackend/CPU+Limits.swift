// Measures the limits of this machine's cores and memory, with which the kernels are compared.

internal import CPUKernels
package import Compute

extension CPU {
  /// Measures the limits with all threads of this backend: for each, the best of five runs.
  ///
  /// Takes about a second and half a gigabyte of memory.
  ///
  /// - Throws: `ComputeError` with code `memory` if there is no memory.
  package func measureLimits() throws(ComputeError) -> MachineLimits {
    let byteCount = 1 << 29
    let memory = try MappedMemory(byteCount: byteCount, purpose: "the bandwidth test")
    memory.preferHugePages()
    unsafe memory.base.initializeMemory(as: UInt8.self, repeating: 1, count: byteCount)
    let sinks = UnsafeMutablePointer<UInt32>.allocate(
      capacity: Int(CPU_SINK_STRIDE) * pool.threadCount
    )
    defer { unsafe sinks.deallocate() }
    let read = unsafe cpu_read_args(
      memory: UnsafePointer(memory.base.assumingMemoryBound(to: UInt8.self)),
      bytes: Int64(byteCount),
      sinks: sinks
    )
    let peak = unsafe cpu_peak_args(rounds: 200_000, sinks: sinks)
    let table = unsafe kernels.pointee
    let rounds = Double(pool.threadCount) * 200_000
    return unsafe MachineLimits(
      bytesPerSecond: best(table.read_memory, read, Double(byteCount)),
      integerOperationsPerSecond: best(
        table.multiply_integers,
        peak,
        rounds * Double(table.integer_operations)
      ),
      floatOperationsPerSecond: best(
        table.multiply_floats,
        peak,
        rounds * Double(table.float_operations)
      )
    )
  }

  /// Returns the rate of a kernel that does `work` operations in a run.
  private func best<Arguments>(
    _ kernel: cpu_kernel?,
    _ arguments: Arguments,
    _ work: Double
  ) -> Double {
    var shortest = Duration.seconds(3600)
    for _ in 0..<5 {
      let began = ContinuousClock.now
      unsafe pool.run(kernel, arguments)
      shortest = min(shortest, .now - began)
    }
    return work / (shortest / .seconds(1))
  }
}
