// The thread pool, through its C interface.

import CPUKernels
import Testing

/// A counter for each thread, a cache line apart; threads write only their own.
@safe private final class Tally {
  static let stride = 16
  let counts: UnsafeMutablePointer<Int64>

  init() {
    unsafe counts = .allocate(capacity: 64 * Self.stride)
    unsafe counts.initialize(repeating: 0, count: 64 * Self.stride)
  }

  deinit { unsafe counts.deallocate() }

  func count(of thread: Int) -> Int64 { unsafe counts[thread * Self.stride] }
  var failures: Int64 { unsafe counts[63 * Self.stride] }
}

/// Counts one more for its thread.
private let countOne: cpu_kernel = { args, _, thread, _ in
  let counts = unsafe UnsafeMutablePointer(
    mutating: args?.assumingMemoryBound(to: Int64.self)
  )
  unsafe counts?[Int(thread) * Tally.stride] += 1
}

/// Notes a failure if some thread has not counted as often as this one, behind a barrier.
private let compareCounts: cpu_kernel = { args, _, thread, threads in
  guard
    let counts = unsafe UnsafeMutablePointer(mutating: args?.assumingMemoryBound(to: Int64.self))
  else { return }
  let own = unsafe counts[Int(thread) * Tally.stride]
  for other in 0..<Int(threads) where unsafe counts[other * Tally.stride] != own {
    unsafe counts[63 * Tally.stride] = 1
  }
}

@Suite struct `Thread pool` {
  /// Runs `steps` jobs of `pairs` counting calls, each checked behind a barrier.
  private func run(threads: Int32, steps: Int, pairs: Int) -> Tally {
    let tally = Tally()
    guard let pool = unsafe cpu_pool_create(threads, nil) else {
      Issue.record("no pool of \(threads) threads")
      return tally
    }
    defer { unsafe cpu_pool_destroy(pool) }
    var calls: [cpu_call] = unsafe []
    for _ in 0..<pairs {
      unsafe calls.append(cpu_call(run: countOne, args: tally.counts, waits: true))
      unsafe calls.append(cpu_call(run: compareCounts, args: tally.counts, waits: true))
    }
    var step = unsafe cpu_step()
    for _ in 0..<steps { unsafe cpu_pool_run(pool, calls, Int64(calls.count), &step) }
    return tally
  }

  @Test(arguments: [Int32(1), 2, 3, 8, 32])
  func `every thread does every call, and none passes a barrier early`(_ threads: Int32) {
    // With 32 threads on a few cores each barrier puts most of them to sleep.
    let steps = threads > 4 ? 20 : 300
    let tally = run(threads: threads, steps: steps, pairs: 10)
    for thread in 0..<Int(threads) {
      #expect(tally.count(of: thread) == Int64(steps * 10), "thread \(thread)")
    }
    #expect(tally.failures == 0)
  }

  @Test func `many tiny steps on more threads than cores finish soon`() {
    let clock = ContinuousClock()
    let began = clock.now
    let tally = run(threads: 8, steps: 500, pairs: 1)
    #expect(tally.count(of: 7) == 500)
    // 1500 barriers; a pool that spins through its time slices takes seconds for a hundred.
    #expect(clock.now - began < .seconds(30))
  }

  @Test func `pools are made and ended without a job`() {
    for threads in Int32(1)...6 {
      let pool = unsafe cpu_pool_create(threads, nil)
      #expect(unsafe pool != nil)
      if let pool = unsafe pool { unsafe cpu_pool_destroy(pool) }
    }
  }

  @Test func `no pool has no threads`() {
    #expect(unsafe cpu_pool_create(0, nil) == nil)
  }
}
