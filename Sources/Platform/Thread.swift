// A thread that is started once, and joined or left to itself.

internal import Glibc

/// A POSIX thread running a closure.
///
/// One that nobody joins goes on when this value is gone; what it holds is freed at its end.
package final class Thread {
  private var handle = pthread_t()
  /// Whether the system keeps the thread's remains for somebody to join it.
  private var isJoinable = false

  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  /// Starts the thread.
  ///
  /// - Throws: `PlatformError` if the system has no thread left.
  package init(_ body: @escaping @Sendable () -> Void) throws(PlatformError) {
    let box = unsafe Unmanaged.passRetained(Body(body))
    let status = unsafe pthread_create(
      &handle,
      nil,
      { argument in
        if let argument = unsafe argument {
          unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
        }
        return nil
      },
      box.toOpaque()
    )
    guard status == 0 else {
      unsafe box.release()
      throw PlatformError(errorNumber: status, "cannot start a thread")
    }
    isJoinable = true
  }

  deinit {
    if isJoinable { pthread_detach(handle) }
  }

  /// Waits until the closure has returned.
  package func join() {
    isJoinable = false
    pthread_join(handle, nil)
  }
}
