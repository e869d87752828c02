// What the system lacks for now: descriptors, threads, memory. Its lack is nobody's fault and passes, so
// it is waited for; no peer and no worker is judged by it.

internal import CLinux
internal import Glibc

/// An error that may say that the system lacks something for now.
package protocol ScarcityError: Error {
  /// Whether it says so, rather than that something is wrong.
  var isScarcity: Bool { get }
}

/// Resources of the system that may be wanting for a while.
package enum Scarcity {
  /// The most descriptors a process asks for: sixteen times the connections that are taken.
  private static let mostDescriptors: CInt = 1 << 16

  /// Whether an error number says that something is wanting which may be there later.
  ///
  /// Of calls that do not block; of others EAGAIN says nothing more than "not now".
  package static func isMeant(by code: CInt) -> Bool {
    [EMFILE, ENFILE, EAGAIN, ENOMEM, ENOBUFS].contains(code)
  }

  /// Raises the number of descriptors that may be open to what the system allows.
  ///
  /// The usual soft limit is for programs that use select(2), which none of ours does.
  @discardableResult package static func raiseDescriptorLimit() -> Int {
    Int(clinux_raise_descriptor_limit(mostDescriptors))
  }

  /// Throws unless the process can have so many more descriptors, and some threads.
  ///
  /// For libraries that abort the process where they get none: so it is asked before.
  ///
  /// - Throws: `PlatformError` that says how many there are.
  package static func check(descriptors count: Int, threads: Int) throws(PlatformError) {
    var probes: [CInt] = []
    defer { for probe in probes { close(probe) } }
    while probes.count < count {
      let probe = clinux_eventfd()
      guard probe >= 0 else {
        throw PlatformError(
          isMeant(by: errno) ? .scarce : .system,
          "needs \(count) descriptors beside those that are open and gets \(probes.count) "
            + "(\(unsafe String(cString: strerror(errno)))); the limit is \(raiseDescriptorLimit()), "
            + "see `ulimit -n`"
        )
      }
      probes.append(probe)
    }
    let gate = Lock(())
    var failure: PlatformError?
    var started: [Thread] = []
    gate.withLock { _ in
      do throws(PlatformError) {
        // All at once: they wait at the gate.
        for _ in 0..<threads { started.append(try Thread { gate.withLock { _ in } }) }
      } catch {
        failure = error
      }
    }
    for thread in started { thread.join() }
    if let failure { throw failure }
  }

  /// Does something, again and again while the system lacks what it takes.
  ///
  /// - Parameters:
  ///   - patience: How long to try.
  ///   - onWait: Told of the first refusal.
  ///   - body: What to do; only errors that are a scarcity are waited out.
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
