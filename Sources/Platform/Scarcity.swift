// Temporary shortages of the system's resources: descriptors, threads, memory. A shortage is
// nobody's fault and passes, so the caller waits and retries; it counts against no peer and no
// worker.

internal import CLinux
internal import Glibc

/// An error that may be a temporary shortage of the system.
package protocol ScarcityError: Error {
  /// Whether the error is a shortage, rather than a fault.
  var isScarcity: Bool { get }
}

/// Resources of the system that may run short for a while.
package enum Scarcity {
  /// The most descriptors a process asks for: sixteen times the connections that are accepted.
  private static let mostDescriptors: CInt = 1 << 16

  /// Whether an error number means that a resource is short now and may be available later.
  ///
  /// This holds for calls that do not block; from others EAGAIN means only "not now".
  package static func isMeant(by code: CInt) -> Bool {
    [EMFILE, ENFILE, EAGAIN, ENOMEM, ENOBUFS].contains(code)
  }

  /// Raises the soft limit of open descriptors as far as the system allows.
  ///
  /// The usual soft limit is for programs that use select(2), which none of ours does.
  @discardableResult package static func raiseDescriptorLimit() -> Int {
    Int(clinux_raise_descriptor_limit(mostDescriptors))
  }

  /// Throws unless the process can get `count` more descriptors and `threads` more threads.
  ///
  /// Some libraries abort the process when they get none, so this is checked before they are
  /// called.
  ///
  /// - Throws: `PlatformError` that says how many are available.
  package static func check(descriptors count: Int, threads: Int) throws(PlatformError) {
    var probes: [CInt] = []
    defer { for probe in probes { close(probe) } }
    while probes.count < count {
      let probe = clinux_eventfd()
      guard probe >= 0 else {
        throw PlatformError(
          isMeant(by: errno) ? .scarce : .system,
          "needs \(count) descriptors beside those that are open and gets \(probes.count) "
            + "(\(systemMessage(errno))); the limit is \(raiseDescriptorLimit()), "
            + "see `ulimit -n`"
        )
      }
      probes.append(probe)
    }
    // Not of `Void`: the thread sanitizer takes a value without a size for its neighbour in memory.
    let gate = Lock(false)
    var failure: PlatformError?
    var started: [Thread] = []
    gate.withLock { _ in
      do throws(PlatformError) {
        // All threads exist at once, because they wait at the gate.
        for _ in 0..<threads { started.append(try Thread { gate.withLock { _ in } }) }
      } catch {
        failure = error
      }
    }
    for thread in started { thread.join() }
    if let failure { throw failure }
  }

  /// Runs `body`, and retries it while it fails because of a shortage.
  ///
  /// - Parameters:
  ///   - patience: How long to retry.
  ///   - onWait: Receives the first error that is waited out.
  ///   - body: The operation. Only errors that are a shortage are retried.
  /// - Returns: What the body returns.
  /// - Throws: What the body throws.
  package static func waitOut<Value, Failure: ScarcityError>(
    atMost patience: Duration = .seconds(10),
    onWait: (Failure) -> Void = { _ in },
    _ body: () throws(Failure) -> Value
  ) throws(Failure) -> Value {
    let deadline = ContinuousClock.now + patience
    var pause = Duration.milliseconds(10)
    while true {
      do throws(Failure) { return try body() } catch {
        guard error.isScarcity, ContinuousClock.now < deadline else { throw error }
        if pause == .milliseconds(10) { onWait(error) }
        usleep(UInt32(pause.wholeMilliseconds) * 1000)
        pause = min(pause * 2, .milliseconds(500))
      }
    }
  }
}
