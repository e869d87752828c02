// Signals as a descriptor, for event loops and waits.

import CLinux
import Glibc

/// Takes SIGINT, SIGTERM and SIGHUP from now on and returns a descriptor that shows their arrival.
///
/// Call it before any other thread starts, so that none of them takes the signals.
func signalDescriptor() throws -> CInt {
  let signals = [SIGINT, SIGTERM, SIGHUP]
  let descriptor = unsafe clinux_signalfd(signals, CInt(signals.count))
  guard descriptor >= 0 else {
    throw CommandError("signalfd failed: \(unsafe String(cString: strerror(errno)))")
  }
  return descriptor
}
