// The Swift owner of the thread pool in kernels/cpu/pool.c.

internal import CPUKernels
internal import Compute
internal import Glibc

/// Threads that run lists of kernel calls together; the caller of `run` is one of them.
// Sendable: the pool never changes after init, and cpu_pool_run serialises its callers.
@safe final class ThreadPool: @unchecked Sendable {
  let threadCount: Int
  private let pool: OpaquePointer

  /// The most threads a pool may have: more than any machine has cores, and few enough to start.
  static let maxThreadCount = 1024

  /// - Parameters:
  ///   - threadCount: How many threads, the caller of `run` included.
  ///   - cpus: The CPU that each thread is pinned to, the caller's first; nil to pin none.
  /// - Throws: `ComputeError` with code `device` if the numbers are invalid or threads cannot be
  ///   started.
  init(threadCount: Int, cpus: [Int]?) throws(ComputeError) {
    guard (1...Self.maxThreadCount).contains(threadCount) else {
      throw ComputeError(
        .device,
        "\(threadCount) threads requested; 1 to \(Self.maxThreadCount) are possible"
      )
    }
    if let cpus {
      guard cpus.count == threadCount else {
        throw ComputeError(
          .device,
          "\(cpus.count) CPUs given for \(threadCount) threads; give one for each"
        )
      }
      // A cpu_set_t holds 1024 CPUs.
      for cpu in cpus where !(0..<1024).contains(cpu) {
        throw ComputeError(.device, "CPU \(cpu) is outside 0...1023")
      }
    }
    let pool =
      if let cpus {
        unsafe cpu_pool_create(Int32(threadCount), cpus.map { Int32($0) })
      } else {
        unsafe cpu_pool_create(Int32(threadCount), nil)
      }
    guard let pool = unsafe pool else {
      throw ComputeError(
        .device,
        "\(threadCount) threads cannot be started: \(unsafe String(cString: strerror(errno)))"
      )
    }
    self.threadCount = threadCount
    unsafe self.pool = unsafe pool
  }

  deinit { unsafe cpu_pool_destroy(pool) }

  /// Runs one kernel that does not depend on rows.
  func run<Arguments>(_ kernel: cpu_kernel?, _ arguments: Arguments) {
    unsafe withUnsafePointer(to: arguments) { pointer in
      let call = unsafe cpu_call(run: kernel, args: pointer, waits: false)
      var step = unsafe cpu_step()
      unsafe withUnsafePointer(to: call) {
        unsafe run(UnsafeBufferPointer(start: $0, count: 1), &step)
      }
    }
  }

  /// Runs the calls in order on all threads, and returns when all calls are done.
  func run(_ calls: UnsafeBufferPointer<cpu_call>, _ step: inout cpu_step) {
    unsafe cpu_pool_run(pool, calls.baseAddress, Int64(calls.count), &step)
  }
}
