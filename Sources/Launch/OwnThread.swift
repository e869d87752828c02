// Runs work on a thread that exists only for it.

internal import Platform

/// Runs work on a thread of its own and waits for it.
///
/// A pinned backend pins the thread that runs it. Child processes that this thread started later
/// would inherit the pinning, so the main thread must not be pinned.
func onThreadOfItsOwn<Result: Sendable>(
  _ work: @escaping @Sendable () throws -> Result
) throws -> Result {
  let outcome = Lock<Swift.Result<Result, any Error>?>(nil)
  let thread = try Platform.Thread {
    let result = Swift.Result { try work() }
    outcome.withLock { $0 = result }
  }
  thread.join()
  guard let result = outcome.withLock({ $0 }) else {
    preconditionFailure("a thread has ended without a result")
  }
  return try result.get()
}
