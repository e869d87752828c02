// Work on all CPUs.

internal import Dispatch
internal import Platform

/// Calls `body` with each index, on several threads if there are to be any.
func concurrently(_ count: Int, threads: Int, _ body: @Sendable (Int) -> Void) {
  guard threads > 1, count > 1 else { return (0..<count).forEach(body) }
  let share = (count + threads - 1) / threads
  DispatchQueue.concurrentPerform(iterations: min(threads, count)) { thread in
    for index in (thread * share)..<max(thread * share, min((thread + 1) * share, count)) {
      body(index)
    }
  }
}

/// Returns what `body` gives for each index, in order, computed on several threads if there are to be any.
///
/// - Throws: What `body` throws at the first index at which it does.
func concurrentMap<Output: Sendable>(
  _ count: Int,
  threads: Int,
  _ body: @Sendable (Int) throws -> Output
) throws -> [Output] {
  let results = Lock<[Result<Output, any Error>?]>(Array(repeating: nil, count: count))
  concurrently(count, threads: threads) { index in
    let result = Result { try body(index) }
    results.withLock { $0[index] = result }
  }
  return try results.withLock { $0 }.compactMap { try $0?.get() }
}
