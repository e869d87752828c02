// When to try again, and when not.

internal import Glibc

/// Repeats what fails for a reason that may pass.
struct Attempts {
  private let cancellation: Cancellation
  /// How often it has failed since there was progress.
  private var failureCount = 0

  private static let most = 6

  init(_ cancellation: Cancellation) { self.cancellation = cancellation }

  /// Runs work until it succeeds, or fails for another reason than the network, or for the sixth time.
  ///
  /// - Parameters:
  ///   - onRetry: Called after a failure, before it waits.
  ///   - work: What is tried.
  /// - Returns: What it returns.
  /// - Throws: Its last error.
  mutating func run<Output>(
    onRetry: (HubError) -> Void,
    _ work: () throws(HubError) -> Output
  ) throws(HubError) -> Output {
    while true {
      do throws(HubError) { return try work() } catch { try wait(after: error, onRetry) }
    }
  }

  /// Forgets earlier failures, because there was progress.
  mutating func reset() { failureCount = 0 }

  /// Waits before the next attempt: half a second, and twice as long each time, with a random part so that many
  /// clients do not come back at once.
  ///
  /// - Throws: The error if there is to be none, or `HubError.interrupted`.
  mutating func wait(
    after error: HubError,
    _ onRetry: (HubError) -> Void = { _ in }
  ) throws(HubError) {
    guard error.code == .network else { throw error }
    failureCount += 1
    guard failureCount < Self.most else { throw error }
    onRetry(error)
    let backOff = 0.5 * Double(1 << (failureCount - 1)) * Double.random(in: 0.75...1.25)
    let end = ContinuousClock.now + max(.seconds(backOff), error.retryAfter ?? .zero)
    while ContinuousClock.now < end {
      guard !cancellation.isCancelled else {
        throw HubError(.interrupted, "interrupted", context: error.context)
      }
      usleep(20_000)
    }
  }
}
