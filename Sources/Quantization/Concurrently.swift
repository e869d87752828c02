// Work on all CPUs.

internal import Dispatch

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
