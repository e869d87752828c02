// A thread that is started once and joined once.

internal import Glibc

/// A POSIX thread running a closure.
package final class Thread {
  private var handle = pthread_t()

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
  }

  /// Waits until the closure has returned.
  package func join() {
    pthread_join(handle, nil)
  }
}
